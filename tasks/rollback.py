"""Taking traffic back by a person's word."""

from __future__ import annotations

import asyncio
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from tasks.house import relay, relay_task

_LOOK_SECONDS = 1.0
_OVER = frozenset({"completed", "aborted", "idle"})


class Gradual(BaseModel):
    """A rollback in steps instead of at once."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    step_size: float = Field(gt=0, le=100, description="Percent taken away at each step.")
    step_delay_seconds: float = Field(gt=0, le=3600, description="Seconds between the steps.")


@relay_task("roll back")
async def begin_rollback(
    *, to: str, reason: str, requested_by: str, gradual: Gradual | None, flow_run_id: str
) -> dict[str, Any]:
    """Send the traffic back; the same flow run does so once."""
    person = {"via": "prefect-form", "by": requested_by}
    steps = {"gradual": gradual.model_dump()} if gradual else {}
    async with relay() as control:
        return await control.roll_back(
            target=to,
            reason=reason,
            options={**person, **steps},
            idempotency_key=f"flow-run:{flow_run_id}",
        )


@relay_task("watch the rollback")
async def see_through(rollback_id: str | None) -> dict[str, Any]:
    """The rollback's end, which the relay brings about alone; or the one that overtook it."""
    async with relay() as control:
        while True:
            status = await control.rollback_status()
            overtaken = rollback_id is not None and status.get("rollback_id") != rollback_id
            if overtaken or status["state"] in _OVER:
                return status
            await asyncio.sleep(_LOOK_SECONDS)
