"""When a kill is got over: what was killed is there again, and the release has its conductor."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import httpx

from tools.chaos.faults import Fault
from tools.chaos.stack import WORKERS, RunningStack, kill

_REPLACED: dict[Fault, tuple[str, ...]] = {
    Fault.FLOW: (),
    Fault.PREFECT_WORKER: ("conductors",),
    Fault.PREFECT_SERVER: ("prefect",),
    Fault.RELAY_WORKER: (),
    Fault.LEADER: (),
    Fault.PARENT: ("parent",),
    Fault.EVERYTHING: ("up", "conductors", "prefect", "parent"),
}
_OF_CONDUCTOR = frozenset({Fault.FLOW, Fault.PREFECT_WORKER, Fault.EVERYTHING})
_OF_LEADER = frozenset({Fault.LEADER, Fault.EVERYTHING})
_OF_PREFECT = frozenset({Fault.PREFECT_SERVER, Fault.EVERYTHING})
_OF_RELAY = frozenset({Fault.RELAY_WORKER, Fault.LEADER, Fault.PARENT, Fault.EVERYTHING})
_OVER = frozenset({"promoted", "rolled_back", "rejected", "superseded", "failed", "rolling_back"})
_LOOK_SECONDS = 0.3
_GIVE_UP_SECONDS = 300.0
_CUT_LINGERS_SECONDS = 1.0


@dataclass(slots=True)
class Kill:
    """One kill, as it happened; times are the event loop's."""

    fault: Fault
    at: float
    victims: list[int]
    overlapped: bool
    recovered_at: float | None = None
    recovered_after_last_kill_seconds: float | None = None

    @property
    def recovery_seconds(self) -> float | None:
        """Until it was got over; None if it never was."""
        return None if self.recovered_at is None else self.recovered_at - self.at

    @property
    def in_time(self) -> bool:
        """Whether it was got over in time, counted from the last kill that disturbed it."""
        seconds = self.recovered_after_last_kill_seconds
        return seconds is not None and seconds <= self.fault.bar_seconds


@dataclass(slots=True)
class Kills:
    """All kills so far; answers the callers' question why a connection was lost."""

    done: list[Kill] = field(default_factory=list)
    outages: list[tuple[float, float]] = field(default_factory=list)
    """Between the end of everything and the relay's return."""

    def cut(self, begun: float, ended: float) -> bool:
        """Whether a relay worker was killed in between."""
        return any(
            begun <= one.at + _CUT_LINGERS_SECONDS and one.at <= ended
            for one in self.done
            if one.fault.cuts_connections
        )

    def nobody_there(self, begun: float, ended: float) -> bool:
        """Whether everything was dead at some time in between."""
        return any(begun <= end and start <= ended for start, end in self.outages)

    @property
    def last_at(self) -> float:
        """When the last one was."""
        return max((one.at for one in self.done), default=0.0)


class Executioner:
    """Kills, and watches how each kill is got over."""

    def __init__(self, stack: RunningStack, kills: Kills) -> None:
        self._stack = stack
        self._kills = kills
        self._watching: set[asyncio.Task[None]] = set()
        self._http = httpx.AsyncClient(trust_env=False, timeout=2)

    @property
    def quiet(self) -> bool:
        """Whether every kill so far is got over, or given up."""
        return not self._watching

    async def strike(self, fault: Fault) -> Kill | None:
        """Kill; None if there is nobody to kill right now."""
        everything = fault is Fault.EVERYTHING
        victims = self._stack.stopped() if everything else self._stack.victims(fault)
        if not victims:
            return None
        before = self._conducted() if fault in _OF_CONDUCTOR else {}
        loop = asyncio.get_running_loop()
        done = Kill(fault, loop.time(), victims, overlapped=not self.quiet)
        self._kills.done.append(done)
        if fault is Fault.EVERYTHING:
            self._kills.outages.append((done.at, float("inf")))
        kill(victims)
        if fault is Fault.EVERYTHING:
            self._stack.start()
        task = asyncio.create_task(self._watch(done, before))
        self._watching.add(task)
        task.add_done_callback(self._watching.discard)
        return done

    async def settle(self) -> None:
        """Wait until every kill is got over."""
        await asyncio.gather(*self._watching)

    async def close(self) -> None:
        """Let go."""
        for task in self._watching:
            task.cancel()
        await self._http.aclose()

    async def _watch(self, done: Kill, before: dict[str, int]) -> None:
        loop = asyncio.get_running_loop()
        while loop.time() - max(done.at, self._kills.last_at) < _GIVE_UP_SECONDS:
            await asyncio.sleep(_LOOK_SECONDS)
            if done.fault is Fault.EVERYTHING:
                await self._end_outage(done)
            if await self._is_over(done, before):
                done.recovered_at = loop.time()
                last = max(one.at for one in self._kills.done if one.at <= done.recovered_at)
                done.recovered_after_last_kill_seconds = done.recovered_at - max(done.at, last)
                return

    async def _end_outage(self, done: Kill) -> None:
        outages = self._kills.outages
        index = next(i for i, (start, _) in enumerate(outages) if start == done.at)
        if outages[index][1] == float("inf") and await self._answers("/readyz"):
            outages[index] = (done.at, asyncio.get_running_loop().time())

    async def _is_over(self, done: Kill, before: dict[str, int]) -> bool:
        """Whether what was killed is there, and each release that it stopped goes on."""
        fault = done.fault
        there = all(self._has_new(part, done) for part in _REPLACED[fault])
        if there and fault in _OF_LEADER:
            there = self._stack.leader() is not None
        if there and fault in _OF_PREFECT:
            there = await self._prefect_answers()
        if there and fault in _OF_RELAY:
            there = await self._relay_serves()
        return there and self._is_conducted(before)

    def _has_new(self, part: str, done: Kill) -> bool:
        running = self._stack.parts().of[part]
        return bool(running) and not set(running) & set(done.victims)

    async def _relay_serves(self) -> bool:
        return len(self._stack.serving()) >= WORKERS and await self._answers("/readyz")

    async def _prefect_answers(self) -> bool:
        return await self._get(f"http://127.0.0.1:{self._stack.prefect_port}/api/ready")

    async def _answers(self, path: str) -> bool:
        return await self._get(f"{self._stack.origin}{path}")

    async def _get(self, url: str) -> bool:
        try:
            return (await self._http.get(url)).is_success
        except httpx.HTTPError:
            return False

    def _conducted(self) -> dict[str, int]:
        """The fences of the releases that a living process conducts, or is about to."""
        if self._stack.parts().any("flow") is None:
            return {}
        return {
            release_id: fence
            for release_id, fence, state in self._conductors()
            if not _goes_on(fence, state, fence)
        }

    def _is_conducted(self, before: dict[str, int]) -> bool:
        """Whether each release has another conductor, waits for a person, or is over."""
        now = {release_id: (fence, state) for release_id, fence, state in self._conductors()}
        return all(
            release_id in now and _goes_on(*now[release_id], fence)
            for release_id, fence in before.items()
        )

    def _conductors(self) -> list[tuple[str, int, str]]:
        """Releases, their fences and states."""
        found = self._stack.rows(
            "select c.release_id, c.fence, r.state from conductors c "
            "join releases r on r.id = c.release_id"
        )
        return [(str(release_id), int(fence), str(state)) for release_id, fence, state in found]


def _goes_on(fence: int, state: str, fence_before: int) -> bool:
    return fence > fence_before or state in _OVER or state == "awaiting_approval"
