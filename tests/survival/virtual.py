"""Virtual time: an event loop that jumps to its next timer instead of waiting for it."""

import asyncio
import selectors
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

T = TypeVar("T")
_START = datetime(2026, 1, 1, tzinfo=UTC)


class VirtualLoop(asyncio.SelectorEventLoop):
    """Nothing in it waits for the outside world: the same inputs give the same run."""

    def __init__(self) -> None:
        self.now_seconds = 0.0
        super().__init__(_Jump(self))

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self.now_seconds


class _Jump(selectors.DefaultSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Jump over the time in which nothing would happen."""
        if timeout is None:
            raise RuntimeError("every task waits for another one: this world stands still")
        self._loop.now_seconds += max(timeout, 0.0)
        return []


class VirtualClock:
    """The loop's time as `grayscale.clock.Clock`; the wall alone can be set forward and back."""

    def __init__(self) -> None:
        self.wall_shift_seconds = 0.0

    def now(self) -> datetime:
        """The wall time in UTC."""
        return _START + timedelta(seconds=self.monotonic() + self.wall_shift_seconds)

    def monotonic(self) -> float:
        """Virtual seconds."""
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        """Wait without waiting."""
        await asyncio.sleep(seconds)


def run_virtually(story: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine, and whatever it starts, in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(story)
