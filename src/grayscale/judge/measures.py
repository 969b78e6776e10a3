"""What a gate counts: which requests are bad, among how many, in both arms.

Measures that compare the versions look at requests that are independent of each other; those
that hold an absolute limit look at all.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from grayscale.judge.past import Cumulated, Past, Spread, classes_of
from grayscale.judge.state import Counts
from grayscale.judge.values import LATENCY_EDGES_MS, Arm

LATENCY = "latency"
_TOLERATED_BUCKETS = 2  # of 5 % each: a candidate 10 % slower than stable is as good as stable


class Side(NamedTuple):
    """One arm of an interval as measures see it.

    `asked` are its requests, or its failures if they are more; `heights` are the histograms that
    it reports, cumulated.
    """

    arm: Arm
    asked: int
    heights: Mapping[str, Cumulated]

    def cumulated(self, histogram: str) -> Cumulated:
        """One of its histograms."""
        return self.heights.get(histogram, ())

    @property
    def answers(self) -> int | None:
        """Its requests that succeeded; None if it does not report latencies."""
        latencies = self.heights.get(LATENCY)
        return None if latencies is None else latencies[-1]


Sides = tuple[Side, Side]
"""(stable, candidate)"""


class View(NamedTuple):
    """One interval as measures see it, beside what was before it.

    `candidate_total` are the candidate's requests that failures are counted against; `past` are
    stable's histograms before the interval.
    """

    everything: Sides
    independent: Sides
    candidate_total: int
    past: Mapping[str, Past]

    def spread(self, histogram: str) -> Spread | None:
        """How stable's past answers lie; None before there are enough."""
        past = self.past.get(histogram)
        return None if past is None else past.spread


class Measure(Protocol):
    """One way to count."""

    @property
    def bad(self) -> str:
        """What a bad request did, in words that follow "11 of 158 candidate requests"."""
        ...

    def counts(self, view: View) -> Counts | None:
        """Bad ones and all; None if there is nothing to count."""
        ...


@dataclass(frozen=True, slots=True)
class Failures:
    """Independent requests that failed."""

    bad: str = "failed"

    def counts(self, view: View) -> Counts | None:
        """See Measure."""
        stable, candidate = view.independent
        return Counts(stable.arm.errors, stable.asked, candidate.arm.errors, candidate.asked)


@dataclass(frozen=True, slots=True)
class AllFailures:
    """Requests that failed, except where stable could not answer them either."""

    bad: str = "failed"

    def counts(self, view: View) -> Counts | None:
        """See Measure."""
        stable, candidate = view.everything
        shared = candidate.arm.shared_errors
        own_errors = max(candidate.arm.errors - shared, 0)
        total = max(view.candidate_total - shared, own_errors)
        return Counts(stable.arm.errors, stable.asked, own_errors, total)


@dataclass(frozen=True, slots=True)
class Callers:
    """Callers who failed for the first time, among those who had not failed before."""

    bad: str = "failed for the first time"

    def counts(self, view: View) -> Counts | None:
        """See Measure."""
        stable, candidate = [side.arm for side in view.everything]
        if not stable.callers + candidate.callers:
            return None
        return Counts(
            stable.failed_callers, stable.callers, candidate.failed_callers, candidate.callers
        )


@dataclass(frozen=True, slots=True)
class Codes:
    """Independent requests that were answered with one of these HTTP statuses."""

    codes: tuple[int, ...]

    @property
    def bad(self) -> str:
        """See Measure."""
        return f"answered {', '.join(map(str, self.codes))}"

    def counts(self, view: View) -> Counts | None:
        """See Measure."""
        stable, candidate = view.independent
        by_code = stable.arm.by_code, candidate.arm.by_code
        if by_code[0] is None or by_code[1] is None:
            return None
        return Counts(
            self._bad(by_code[0]),
            stable.asked + stable.arm.rejected,
            self._bad(by_code[1]),
            candidate.asked + candidate.arm.rejected,
        )

    def _bad(self, by_code: Mapping[int, int]) -> int:
        return sum(by_code.get(code, 0) for code in self.codes)


@dataclass(frozen=True, slots=True)
class Beside:
    """Independent requests that ended outside the error rate, among all."""

    outcome: Literal["rejected", "client_gone"]
    bad: str

    def counts(self, view: View) -> Counts | None:
        """See Measure."""
        stable, candidate = view.independent
        by_stable = getattr(stable.arm, self.outcome)
        by_candidate = getattr(candidate.arm, self.outcome)
        return Counts(
            by_stable, stable.asked + by_stable, by_candidate, candidate.asked + by_candidate
        )


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers with something wrong in them, by the name of the signal."""

    signal: str
    bad: str
    independent: bool = True

    def counts(self, view: View) -> Counts | None:
        """See Measure."""
        stable, candidate = view.independent if self.independent else view.everything
        of_stable, of_candidate = stable.arm.signals, candidate.arm.signals
        if self.signal not in of_stable and self.signal not in of_candidate:
            return None
        return Counts(*of_stable.get(self.signal, (0, 0)), *of_candidate.get(self.signal, (0, 0)))


@dataclass(frozen=True, slots=True)
class Above:
    """Answers beyond a fixed bound, in the histogram's unit."""

    histogram: str
    bound: float
    bad: str

    def counts(self, view: View) -> Counts | None:
        """See Measure."""
        cut = bisect_left(LATENCY_EDGES_MS, self.bound)
        return _above(view.everything, self.histogram, cut, cut)


@dataclass(frozen=True, slots=True)
class AbovePast:
    """Independent answers beyond a quantile of stable's past, and 10 % more for the candidate."""

    histogram: str
    quantile: float
    bad: str

    def counts(self, view: View) -> Counts | None:
        """See Measure."""
        spread = view.spread(self.histogram)
        if spread is None:
            return None
        cut = spread.quantile(self.quantile)
        raised = cut + _TOLERATED_BUCKETS
        return _above(view.independent, self.histogram, cut, raised)


@dataclass(frozen=True, slots=True)
class Shape(AbovePast):
    """The whole histogram against stable's past: counted above one quantile, judged in classes."""

    def classes(self, view: View) -> tuple[list[int], list[int], tuple[float, ...]] | None:
        """(stable, candidate) by class of stable's past, and its shares; None before enough past.

        The candidate's classes reach 10 % higher, as its quantiles may.
        """
        spread = view.spread(self.histogram)
        stable, candidate = [side.cumulated(self.histogram) for side in view.independent]
        if spread is None or not (stable and candidate):
            return None
        highest = len(candidate) - 1
        raised = [min(cut + _TOLERATED_BUCKETS, highest) for cut in spread.cuts]
        return classes_of(stable, spread.cuts), classes_of(candidate, raised), spread.shares


def _above(sides: Sides, histogram: str, stable_cut: int, candidate_cut: int) -> Counts | None:
    stable, candidate = [side.cumulated(histogram) for side in sides]
    if not (stable or candidate):
        return None
    return Counts(*_beyond(stable, stable_cut), *_beyond(candidate, candidate_cut))


def _beyond(cumulated: Cumulated, cut: int) -> tuple[int, int]:
    """How many are above a bucket, and how many there are."""
    if not cumulated:
        return 0, 0
    total = cumulated[-1]
    return (total - cumulated[cut] if cut < len(cumulated) else 0), total
