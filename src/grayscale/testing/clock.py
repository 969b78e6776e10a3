"""A clock that jumps instead of waiting."""

from __future__ import annotations

import asyncio
import heapq
from datetime import UTC, datetime, timedelta
from itertools import count

_START = datetime(2026, 1, 1, tzinfo=UTC)
_TURNS_BEFORE_A_JUMP = 10


class FakeClock:
    """Time that moves when told to, or by itself to the earliest sleeper's end.

    With `auto_jump`, a sleep takes as many turns of the event loop as it takes the other tasks to
    fall asleep too, and no real time. Real I/O is not seen: while a task waits for a socket, the
    others' sleeps go on jumping.
    """

    def __init__(self, *, start: datetime = _START, auto_jump: bool = True) -> None:
        self._wall = start
        self._monotonic = 0.0
        self._auto_jump = auto_jump
        self._sleepers: list[tuple[float, int, asyncio.Event]] = []
        self._tickets = count()
        self.slept_seconds: list[float] = []

    def __repr__(self) -> str:
        """Show what time it is and who waits."""
        return f"<FakeClock {self._wall.isoformat()} sleepers={len(self._sleepers)}>"

    def now(self) -> datetime:
        """The wall time in UTC."""
        return self._wall

    def monotonic(self) -> float:
        """Seconds since the clock was made."""
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Move both clocks forward and wake whoever is due."""
        if seconds < 0:
            raise ValueError(f"time does not go back: {seconds} s; see shift_wall")
        self._monotonic += seconds
        self._wall += timedelta(seconds=seconds)
        for until, _, woken in self._sleepers:
            if until <= self._monotonic:
                woken.set()

    def shift_wall(self, seconds: float) -> None:
        """Set the wall clock alone forward or back, as an administrator or NTP would."""
        self._wall += timedelta(seconds=seconds)

    async def sleep(self, seconds: float) -> None:
        """Return when the clock has moved that far."""
        self.slept_seconds.append(seconds)
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        sleeper = (self._monotonic + seconds, next(self._tickets), asyncio.Event())
        heapq.heappush(self._sleepers, sleeper)
        try:
            await self._wait(sleeper)
        finally:
            self._sleepers.remove(sleeper)
            heapq.heapify(self._sleepers)
            self._let_next_jump()

    async def _wait(self, sleeper: tuple[float, int, asyncio.Event]) -> None:
        until, _, woken = sleeper
        while self._monotonic < until:
            if not self._auto_jump or self._sleepers[0] is not sleeper:
                await woken.wait()
                woken.clear()
                continue
            for _ in range(_TURNS_BEFORE_A_JUMP):
                await asyncio.sleep(0)
            if self._sleepers[0] is sleeper:
                self.advance(max(0.0, until - self._monotonic))

    def _let_next_jump(self) -> None:
        if self._sleepers:
            self._sleepers[0][2].set()
