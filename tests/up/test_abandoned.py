"""Flow runs that died with the worker are given up before the next worker begins."""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, State

from grayscale.up.abandoned import give_up_abandoned


class FakePrefect:
    """Unfinished runs, and what became of them."""

    def __init__(self, *runs: FlowRun) -> None:
        self.runs = runs
        self.ended: dict[UUID, str] = {}

    async def read_flow_runs(self, **filters: Any) -> list[FlowRun]:
        """Those of the pool that are pending or running."""
        assert filters["work_pool_filter"].name.any_ == ["pool"]
        assert filters["flow_run_filter"].state.type.any_ == ["PENDING", "RUNNING"]
        return list(self.runs)

    async def set_flow_run_state(self, run_id: UUID, state: State[Any], *, force: bool) -> None:
        """Remember the end."""
        assert force
        self.ended[run_id] = state.type.value


def run_of(infrastructure_pid: str | None) -> FlowRun:
    """A run with its process."""
    return FlowRun(id=uuid4(), flow_id=uuid4(), infrastructure_pid=infrastructure_pid)


@pytest.mark.parametrize("process", [None, "host", "host:4194999"])
async def test_a_run_without_a_process_is_given_up(process: str | None) -> None:
    """A run that never got a process, or whose process is gone, has crashed."""
    run = run_of(process)
    prefect = FakePrefect(run)
    assert await give_up_abandoned(cast("PrefectClient", prefect), "pool") == 1
    assert prefect.ended == {run.id: "CRASHED"}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_a_run_that_outlived_its_worker_goes_on() -> None:
    """A flow process that is still there is left alone, whoever began it."""
    command = [sys.executable, "-S", "-c", "import sys; sys.stdin.read()", "prefect.engine"]
    alive = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.PIPE)
    prefect = FakePrefect(run_of(f"{socket.gethostname()}:{alive.pid}"))
    assert await give_up_abandoned(cast("PrefectClient", prefect), "pool") == 0
    assert prefect.ended == {}
    await alive.communicate(b"")
