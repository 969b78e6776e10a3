"""A breaker on a bench, and what is asked of it."""

from __future__ import annotations

from collections.abc import Iterable

from grayscale.relay.breaker import Breaker, Trip, Witness
from grayscale.testing.clock import FakeClock
from grayscale.traffic.outcomes import Outcome

STABLE, CANDIDATE = "v1", "v2"
OK, ERROR = Outcome.OK, Outcome.UPSTREAM_ERROR


class Bench:
    """A breaker over one candidate, and a second of time per request."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.trips: list[Trip] = []
        self.breaker = Breaker(self.clock.monotonic, self.trips.append)
        self.breaker.guard(STABLE, [CANDIDATE], salt="rel_1")

    def begin(
        self, version: str = CANDIDATE, caller: int | None = None, *, seconds: float = 1.0
    ) -> Witness:
        """A request that runs."""
        self.clock.advance(seconds)
        return self.breaker.start(version, caller)

    def ask(self, *outcomes: Outcome, version: str = CANDIDATE, caller: int | None = None) -> None:
        """Requests that end at once, one after the other."""
        for outcome in outcomes:
            self.begin(version, caller).settle(outcome)

    def side_by_side(self, outcomes: Iterable[Outcome], *, stable: Outcome = OK) -> None:
        """Requests of the candidate, each with two of stable's, as if one were its retry."""
        for outcome in outcomes:
            for _ in range(2):
                self.begin(STABLE, seconds=0.5).settle(stable)
            self.ask(outcome)
