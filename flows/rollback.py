"""Take the traffic back to a version."""

from __future__ import annotations

from typing import Annotated, Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import Field

from tasks.rollback import Gradual, begin_rollback, see_through
from tasks.runs import this_run_id


@flow(name="rollback", flow_run_name="roll back to {to}")
async def rollback(
    to: str = "stable",
    reason: Annotated[str, Field(max_length=500)] = "not given",
    requested_by: Annotated[str, Field(max_length=128)] = "",
    gradual: Gradual | None = None,
) -> State[Any]:
    """Send all traffic back to a version, at once or in steps.

    Args:
        to: Where the traffic goes: stable, previous or the name of a version.
        reason: Why, for the record and the notices.
        requested_by: Your name, for the record (as a claim: nobody checks it).
        gradual: In steps of this size instead of at once. New requests otherwise switch at once.
    """
    begun = await begin_rollback(
        to=to,
        reason=reason,
        requested_by=requested_by,
        gradual=gradual,
        flow_run_id=this_run_id(),
    )
    status = await see_through(begun.get("rollback_id"))
    return Completed(message=f"Traffic is on {to} ({status['state']}): {reason}")
