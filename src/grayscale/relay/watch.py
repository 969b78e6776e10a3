"""One request's end by something other than itself: caller gone, a deadline, a cut.

uvicorn does not tell a raw ASGI callable that its caller left, and every upstream call needs three
deadlines that move with each chunk. `Watch` does both with one timer handle per request: moving a
deadline is one attribute, and the timer looks at it only when it fires.
"""

from __future__ import annotations

import asyncio
from enum import StrEnum
from types import TracebackType


class Cause(StrEnum):
    """Why a watch ended a request's work."""

    BODY = "body"
    CALLER_GONE = "caller_gone"
    CALLER_STALLED = "caller_stalled"
    FIRST_BYTE = "first_byte"
    IDLE = "idle"
    TOTAL = "total"
    CUT = "cut"


class Interrupted(Exception):
    """Raised by `with watch:` in place of the cancellation that the watch caused."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(cause.value)
        self.cause = cause


class Watch:
    """Ends what its task does inside `with watch:`, for a `Cause`, by `Interrupted`.

    Outside of such a block a cause waits for the next one, so that clean-up is never torn.
    """

    __slots__ = (
        "_armed_for",
        "_cause",
        "_closed",
        "_deadline",
        "_due",
        "_inside",
        "_loop",
        "_task",
        "_timer",
        "_total",
    )

    def __init__(self, *, total_seconds: float) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a Watch is made inside the task that it watches")
        self._task = task
        self._loop = asyncio.get_running_loop()
        self._total = self._loop.time() + total_seconds
        self._deadline = self._total
        self._due = Cause.TOTAL
        self._cause: Cause | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._armed_for = float("inf")
        self._closed = False
        self._inside = False

    def limit_total(self, seconds: float) -> None:
        """All of the work may take `seconds` from now."""
        self._total = self._loop.time() + seconds

    def expect(self, cause: Cause, seconds: float) -> None:
        """From now on the work has `seconds` to go on, or ends for `cause` (or the total time)."""
        deadline = self._loop.time() + seconds
        if deadline < self._total:
            self._deadline, self._due = deadline, cause
        else:
            self._deadline, self._due = self._total, Cause.TOTAL
        if self._deadline < self._armed_for:
            self._arm()

    def interrupt(self, cause: Cause) -> None:
        """End the work now; the first cause is the one that counts."""
        if self._cause is None and not self._closed:
            self._cause = cause
            if self._inside:
                self._task.cancel()

    def close(self) -> None:
        """Stop watching; interrupts that come later are ignored."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def __enter__(self) -> None:
        cause, self._cause = self._cause, None
        if cause is not None:
            raise Interrupted(cause)
        self._inside = True

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._inside = False
        cause, self._cause = self._cause, None
        if cause is not None and self._task.uncancel() == 0:
            raise Interrupted(cause) from None  # whatever a library made of our cancellation

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._armed_for = self._deadline
        self._timer = self._loop.call_at(self._deadline, self._fire)

    def _fire(self) -> None:
        self._timer, self._armed_for = None, float("inf")
        if self._loop.time() >= self._deadline:
            self.interrupt(self._due)
        else:
            self._arm()
