"""A worker that counts and a leader that looks, one second after the other."""

from typing import Any

from grayscale.plane import configs, workers
from grayscale.plane.plane import Plane
from grayscale.relay.leader.watch import Watcher
from grayscale.testing.clock import FakeClock
from grayscale.traffic.counters import Cell, CellKey, Cells

FAST: dict[str, Any] = {
    "auto_promote": {"step_duration_seconds": 5.0},
    "bake": {"duration_seconds": 3.0},
    "judge": {"interval_seconds": 1.0},
}


class Watch:
    """One worker that counts, and a leader that looks."""

    def __init__(self, plane: Plane, clock: FakeClock) -> None:
        self.plane = plane
        self.clock = clock
        self.watcher = Watcher(plane)

    async def second(
        self,
        config_id: str | None,
        *,
        errors: float = 0.0,
        stable: float = 0.0,
        requests: int = 20,
        in_flight: dict[str, int] | None = None,
        bucket: int = 80,
        lagging: bool = False,
    ) -> None:
        """One second passes: the worker flushes its counters, the leader looks.

        A `lagging` worker does not run the split yet; the candidate's latencies are in `bucket`.
        """
        cells: Cells = {}
        if config_id is not None:
            cells[_key(config_id, "v1")] = _cell(requests * 9, round(requests * 9 * stable))
            cells[_key(config_id, "v2")] = _cell(requests, round(requests * errors), bucket)
        async with self.plane.read() as tx:
            seq = (await configs.current(tx)).state_seq
        await workers.flush(
            self.plane,
            worker_id="w",
            pid=1,
            applied_seq=seq - 1 if lagging else seq,
            cells=cells,
            in_flight=in_flight or {},
        )
        await self.silent_second()

    async def silent_second(self) -> None:
        """One second passes in which no worker reports; the leader looks."""
        self.clock.advance(1.0)
        async with self.plane.write() as tx:
            await self.watcher.tick(tx)


def _key(config_id: str, version: str) -> CellKey:
    return CellKey(config_id, version, "gpt-4.1", "main", "weighted", stream=False)


def _cell(requests: int, errors: int, bucket: int = 80) -> Cell:
    return Cell(
        started=requests,
        ok=requests - errors,
        upstream_error=errors,
        by_code={"500": errors} if errors else {},
        latency={bucket: requests - errors},
    )


async def start(story: Any, **changes: Any) -> str:
    """A release at its first step; returns its config."""
    await story.create(story.plan(**{**FAST, **changes}))
    await story.claim()
    await story.act("create_version")
    await story.act("set_split", 0)
    config_id: str = (await story.record()).config_id
    return config_id
