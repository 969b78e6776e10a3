"""Flow runs whose process died with the worker: said to Prefect, so that others follow at once.

Prefect itself would show them as pending or running for ever, and the relay, which cannot tell a
slow start from none, would wait a minute before it calls another conductor.
"""

from __future__ import annotations

from pathlib import Path

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter, WorkPoolFilter
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.states import Crashed

_PAGE = 200


async def give_up_abandoned(client: PrefectClient, pool: str) -> int:
    """Mark them as crashed, before there is a worker that could begin new ones; how many."""
    unfinished = {"type": {"any_": [StateType.PENDING, StateType.RUNNING]}}
    found = await client.read_flow_runs(
        flow_run_filter=FlowRunFilter.model_validate({"state": unfinished}),
        work_pool_filter=WorkPoolFilter.model_validate({"name": {"any_": [pool]}}),
        limit=_PAGE,
    )
    dead = [run for run in found if not _lives(run)]
    for run in dead:
        crashed: State[None] = Crashed(message="Its process died with the worker that began it.")
        await client.set_flow_run_state(run.id, crashed, force=True)
    return len(dead)


def _lives(run: FlowRun) -> bool:
    """Whether its process, `host:pid`, is still there: it outlives a worker that is killed alone."""
    _, _, pid = (run.infrastructure_pid or "").rpartition(":")
    try:
        command = Path(f"/proc/{int(pid)}/cmdline").read_bytes()
    except (ValueError, OSError):
        return False
    return b"prefect" in command
