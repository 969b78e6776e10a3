"""What happens when somebody cancels a release in Prefect's UI.

The hook runs in the worker, if that is alive, and at once. If it is not, the relay's own look at
the run does the same some seconds later: safety does not depend on this.
"""

from __future__ import annotations

import os
from typing import Any

from prefect import Flow
from prefect.client.schemas.objects import FlowRun, State

from grayscale.control import Control, OnBehalf, connection_from
from tasks.runs import release_of

_SOMEBODY = "somebody"  # Prefect does not tell who


async def take_candidate_away(
    flow: Flow[..., Any],  # noqa: ARG001 - Prefect passes all three by these names
    flow_run: FlowRun,
    state: State[Any],  # noqa: ARG001
) -> None:
    """Abort the release, if the cancelled run is the one that conducts it."""
    release_id = release_of(flow_run.tags)
    if release_id is None:
        return
    connection = connection_from(os.environ)
    async with Control(connection.base_url, connection.api_key) as control:
        record = await control.release(release_id)
        if record.conductor.flow_run_id == str(flow_run.id) and not record.state.final:
            await control.abort(
                release_id,
                note=f"its run {flow_run.name!r} was cancelled in Prefect",
                on_behalf=OnBehalf(_SOMEBODY, via="prefect"),
            )
