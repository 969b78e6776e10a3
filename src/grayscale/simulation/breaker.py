"""The relay's breaker over simulated requests, fed only while it could trip.

It trips at a run of failures; as long as among any eight successive requests of the candidate
there are fewer than five failures, no run is long enough, whatever came before. Most intervals of
most releases are like that, and their single requests need not be looked at.
"""

from __future__ import annotations

from collections import deque

from grayscale.relay.breaker import Breaker, Trip, Witness
from grayscale.simulation.requests import Passed, Request, Rescue
from grayscale.traffic.outcomes import Outcome

_STABLE, _CANDIDATE = "stable", "candidate"
_NEAR, _AMONG = 5, 8
_REMEMBERED_SECONDS = 60.0
"""Longer than the breaker's veto, and than any run of failures that is worth the name."""


class BreakerWatch:
    """One worker's breaker; remembers what passed lately, for when it matters.

    It is fed from the first time on that `near` of eight successive requests have failed.
    """

    def __init__(self, *, near: int = _NEAR) -> None:
        self._near = near
        self._passed: deque[tuple[float, float, Passed]] = deque()
        self._last_failures: deque[int] = deque(maxlen=near)
        self._candidate_requests = 0
        self._breaker: _Fed | None = None
        self._fed_until = 0.0

    def look(self, passed: Passed, *, began: float, seconds: float) -> tuple[Trip, float] | None:
        """The trip in this interval, and when it was."""
        self._passed.append((began, seconds, passed))
        while self._passed[0][0] < began - _REMEMBERED_SECONDS:
            self._passed.popleft()
        if self._is_close(passed):
            self._fed_until = began + _REMEMBERED_SECONDS
        if began > self._fed_until:
            self._breaker = None
            return None
        if self._breaker is None:
            self._breaker = _Fed()
            for before in list(self._passed)[:-1]:
                self._breaker.feed(*before)
        return self._breaker.feed(began, seconds, passed)

    def _is_close(self, passed: Passed) -> bool:
        close = False
        for place in passed.candidate_failed:
            self._last_failures.append(self._candidate_requests + place)
            failures = self._last_failures
            close = close or (len(failures) == self._near and failures[-1] - failures[0] < _AMONG)
        self._candidate_requests += passed.candidate.requests
        return close


class _Fed:
    """A breaker with the clock of the simulation."""

    def __init__(self) -> None:
        self._now = 0.0
        self._trips: list[Trip] = []
        self._breaker = Breaker(lambda: self._now, self._trips.append)
        self._breaker.guard(_STABLE, [_CANDIDATE], salt="")

    def feed(self, began: float, seconds: float, passed: Passed) -> tuple[Trip, float] | None:
        """The first trip in this interval, and when it was."""
        for request in passed.in_order():
            self._now = began + request.at * seconds
            self._serve(request)
            if self._trips:
                return self._trips[0], self._now
        return None

    def _serve(self, request: Request) -> None:
        version = _CANDIDATE if request.candidate else _STABLE
        witness = self._breaker.start(version, request.caller)
        if not request.failed:
            witness.settle(Outcome.OK)
            return
        witness.settle(Outcome.UPSTREAM_ERROR)
        if request.rescue in {Rescue.ANSWERED, Rescue.FAILED_TOO}:
            self._try_on_stable(witness, request)

    def _try_on_stable(self, failed: Witness, request: Request) -> None:
        retry = self._breaker.start(_STABLE, request.caller)
        if request.rescue is Rescue.FAILED_TOO:
            retry.settle(Outcome.UPSTREAM_ERROR)
            failed.excuse()
        else:
            retry.settle(Outcome.OK)
