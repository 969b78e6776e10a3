"""What a gate counts: which requests are bad, among how many, in both arms.

Measures that compare the versions look at requests that are independent of each other; those
that hold an absolute limit look at all.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

from grayscale.judge.past import Histogram, Spread
from grayscale.judge.state import Counts
from grayscale.judge.values import LATENCY_EDGES_MS, Arm

LATENCY = "latency"
_NO_ANSWERS = Histogram((), 0)
_TOLERATED_BUCKETS = 2  # of 5 % each: a candidate 10 % slower than stable is as good as stable


class Side(NamedTuple):
    """One arm of an interval as measures see it.

    `asked` are its requests, or its failures if they are more; `histograms` those that it reports.
    """

    arm: Arm
    asked: int
    histograms: Mapping[str, Histogram]

    @property
    def answers(self) -> int | None:
        """Its requests that succeeded; None if it does not report latencies."""
        latencies = self.histograms.get(LATENCY)
        return None if latencies is None else latencies.total


Sides = tuple[Side, Side]
"""(stable, candidate)"""


class Graded(NamedTuple):
    """Independent answers in classes of stable's past answers, and how many there are.

    The candidate's classes reach 10 % higher, as its quantiles may.
    """

    spread: Spread
    stable: Sequence[int]
    candidate: Sequence[int]
    totals: tuple[int, int]

    @classmethod
    def of(cls, spread: Spread, stable: Histogram, candidate: Histogram) -> Graded:
        """The answers of an interval."""
        return cls(
            spread,
            stable.classes(spread.cuts),
            candidate.classes(spread.cuts, raised=_TOLERATED_BUCKETS),
            (stable.total, candidate.total),
        )

    def beyond(self, level: float) -> Counts:
        """Answers beyond a quantile of stable's past, among all."""
        first = self.spread.first_class_beyond(level)
        stable, candidate = self.totals
        return Counts(sum(self.stable[first:]), stable, sum(self.candidate[first:]), candidate)


class View(NamedTuple):
    """One interval as measures see it, beside what was before it.

    `candidate_total` are the candidate's requests that failures are counted against; `graded` are
    the independent answers by histogram, where stable's past is known.
    """

    everything: Sides
    independent: Sides
    candidate_total: int
    graded: Mapping[str, Graded]

    @property
    def sources(self) -> Mapping[str, object]:
        """The histograms and signals that either version reports, by their names."""
        (stable, _, histograms), (candidate, _, others) = self.everything
        return {**histograms, **others, **stable.signals, **candidate.signals}


class Measure(Protocol):
    """One way to count."""

    @property
    def source(self) -> str:
        """The histogram or signal that it reads; "" if it reads what every interval has."""
        ...

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
    source = ""

    def counts(self, view: View) -> Counts | None:
        """See Measure."""
        stable, candidate = view.independent
        return Counts(stable.arm.errors, stable.asked, candidate.arm.errors, candidate.asked)


@dataclass(frozen=True, slots=True)
class AllFailures:
    """Requests that failed, except where stable could not answer them either."""

    bad: str = "failed"
    source = ""

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
    source = ""

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
    source = ""

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
    source = ""

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

    source: str
    bad: str
    independent: bool = True

    def counts(self, view: View) -> Counts | None:
        """See Measure."""
        stable, candidate = view.independent if self.independent else view.everything
        of_stable, of_candidate = stable.arm.signals, candidate.arm.signals
        if self.source not in of_stable and self.source not in of_candidate:
            return None
        return Counts(*of_stable.get(self.source, (0, 0)), *of_candidate.get(self.source, (0, 0)))


@dataclass(frozen=True, slots=True)
class Above:
    """Answers beyond a fixed bound, in the histogram's unit; `bucket` is the one it falls into."""

    source: str
    bound: float
    bad: str
    bucket: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "bucket", bisect_left(LATENCY_EDGES_MS, self.bound))

    def counts(self, view: View) -> Counts | None:
        """See Measure."""
        stable, candidate = [
            side.histograms.get(self.source, _NO_ANSWERS) for side in view.everything
        ]
        if stable is candidate:
            return None
        beyond = self.bucket
        return Counts(
            stable.beyond(beyond), stable.total, candidate.beyond(beyond), candidate.total
        )


@dataclass(frozen=True, slots=True)
class AbovePast:
    """Independent answers beyond a quantile of stable's past, and 10 % more for the candidate."""

    source: str
    quantile: float
    bad: str

    def counts(self, view: View) -> Counts | None:
        """See Measure."""
        graded = view.graded.get(self.source)
        return None if graded is None else graded.beyond(self.quantile)
