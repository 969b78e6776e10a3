"""What passed in an interval: both arms as counters tell of them, and the requests in order."""

from __future__ import annotations

import operator
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import NamedTuple

from grayscale.judge import Arm
from grayscale.relay.failover import FailoverBudget
from grayscale.simulation.draws import binomial
from grayscale.simulation.latency import NOTHING


class Rescue(Enum):
    """What became of a candidate's failure when it was to be tried again on stable."""

    NOT_TRIED = "not_tried"
    ANSWERED = "answered"
    FAILED_TOO = "failed_too"


class Request(NamedTuple):
    """One request: when it started within its interval (0 to 1), by whom, and its end.

    `caller` is the bucket of a sticky one; `rescue` is None for whatever is no failure of the
    candidate's.
    """

    at: float
    candidate: bool
    failed: bool
    caller: int | None = None
    rescue: Rescue | None = None


@dataclass(frozen=True, slots=True)
class Passed:
    """An interval: its arms, the places of the candidate's failures in the row of its requests.

    `in_order` makes the single requests, of which most intervals need no knowledge.
    """

    stable: Arm
    candidate: Arm
    independent: tuple[Arm, Arm] | None
    candidate_failed: Sequence[int]
    callers_failed: int
    in_order: Callable[[], Sequence[Request]]

    def cost(self, *, until: float = 1.0) -> tuple[int, int, int]:
        """The candidate's requests, its failures, and those that callers saw, up to a moment."""
        if until >= 1:
            return self.candidate.requests, self.candidate.errors, self.callers_failed
        early = [one for one in self.in_order() if one.candidate and one.at <= until]
        failed = [one for one in early if one.failed]
        return len(early), len(failed), sum(one.rescue is not Rescue.ANSWERED for one in failed)


class Failover:
    """Tries the candidate's failures again on stable, within the plan's budget."""

    def __init__(self, rng: Random, *, percent: float) -> None:
        self._rng = rng
        self._percent = percent
        self._budget = FailoverBudget()

    def rescue(self, *, requests: int, stable_rate: float) -> Rescue:
        """What becomes of a failure, the last of so many requests since the one before."""
        self._budget.earn(self._percent * requests)
        if not self._budget.spend(self._percent):
            return Rescue.NOT_TRIED
        return Rescue.FAILED_TOO if self._rng.random() < stable_rate else Rescue.ANSWERED

    def went_well(self, *, requests: int) -> None:
        """So many requests since the last failure needed no help."""
        self._budget.earn(self._percent * requests)


class UnderWay:
    """Good answers that are not known yet, by the interval that will hear of them."""

    def __init__(self, rng: Random, *, answer_seconds: float, interval_seconds: float) -> None:
        self._rng = rng
        whole, self._later_share = divmod(answer_seconds / interval_seconds, 1.0)
        self._waiting = deque([list(NOTHING)] * (int(whole) + 1))

    def forget(self) -> None:
        """What is under way now will never be told."""
        self._waiting = deque([list(NOTHING)] * len(self._waiting))

    def arrivals(self, good: int, histogram: Callable[[int], list[int]]) -> list[int]:
        """The answers that become known now, while so many new ones get under way."""
        later = binomial(self._rng, good, self._later_share)
        self._waiting.append(histogram(later) if later else list(NOTHING))
        sooner = histogram(good - later)
        self._waiting[-2] = list(map(operator.add, self._waiting[-2], sooner))
        return self._waiting.popleft()
