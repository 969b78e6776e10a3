"""What a gate counts: which requests are bad, among how many, in both arms.

Measures that compare the versions look at requests that are independent of each other; those
that hold an absolute limit look at all.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Literal, Protocol

from grayscale.judge.state import Counts
from grayscale.judge.values import LATENCY_EDGES_MS, Arm

Arms = tuple[Arm, Arm]
"""(stable, candidate)"""

LATENCY = "latency"
_TOLERATED_BUCKETS = 2  # of 5 % each: a candidate 10 % slower than stable is as good as stable
_MIN_PAST = 200
_PRIOR = 0.5
_LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)


Cumulated = Sequence[int]
"""Counts up to each bucket of LATENCY_EDGES_MS; empty if nothing reports them."""


@dataclass(frozen=True, slots=True)
class View:
    """One interval as measures see it, beside what was before it.

    `candidate_total` are the candidate's requests that failures are counted against; `past` holds
    stable's cumulated histograms before the interval.
    """

    everything: Arms
    independent: Arms
    candidate_total: int
    past: Mapping[str, tuple[int, ...]]
    _cumulated: dict[int, Cumulated] = field(default_factory=dict)

    def cumulated(self, arm: Arm, histogram: str) -> Cumulated:
        """An arm's histogram, summed up once."""
        counts = histogram_of(arm, histogram)
        found = self._cumulated.get(id(counts))
        if found is None:
            found = self._cumulated[id(counts)] = list(accumulate(counts))
        return found

    def cut(self, histogram: str, quantile: float) -> int | None:
        """The bucket that stable's past quantile falls into; None before there is enough past."""
        past = self.past.get(histogram)
        if past is None or past[-1] < _MIN_PAST:
            return None
        return bisect_left(past, quantile * past[-1])


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
        return Counts(
            stable.errors,
            max(stable.requests, stable.errors),
            candidate.errors,
            max(candidate.requests, candidate.errors),
        )


@dataclass(frozen=True, slots=True)
class AllFailures:
    """Requests that failed, except where stable could not answer them either."""

    bad: str = "failed"

    def counts(self, view: View) -> Counts | None:
        """See Measure."""
        stable, candidate = view.everything
        own_errors = max(candidate.errors - candidate.shared_errors, 0)
        total = max(view.candidate_total - candidate.shared_errors, own_errors)
        return Counts(stable.errors, max(stable.requests, stable.errors), own_errors, total)


@dataclass(frozen=True, slots=True)
class Callers:
    """Callers who failed for the first time, among those who had not failed before."""

    bad: str = "failed for the first time"

    def counts(self, view: View) -> Counts | None:
        """See Measure."""
        stable, candidate = view.everything
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
        if stable.by_code is None or candidate.by_code is None:
            return None
        return Counts(
            self._bad(stable.by_code),
            max(stable.requests, stable.errors) + stable.rejected,
            self._bad(candidate.by_code),
            max(candidate.requests, candidate.errors) + candidate.rejected,
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
        beside: tuple[int, int] = (getattr(stable, self.outcome), getattr(candidate, self.outcome))
        return Counts(
            beside[0],
            max(stable.requests, stable.errors) + beside[0],
            beside[1],
            max(candidate.requests, candidate.errors) + beside[1],
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
        if self.signal not in stable.signals and self.signal not in candidate.signals:
            return None
        return Counts(
            *stable.signals.get(self.signal, (0, 0)), *candidate.signals.get(self.signal, (0, 0))
        )


@dataclass(frozen=True, slots=True)
class Above:
    """Answers beyond a fixed bound, in the histogram's unit."""

    histogram: str
    bound: float
    bad: str

    def counts(self, view: View) -> Counts | None:
        """See Measure."""
        cut = bisect_left(LATENCY_EDGES_MS, self.bound)
        return _above(view, view.everything, self.histogram, cut, cut)


@dataclass(frozen=True, slots=True)
class AbovePast:
    """Independent answers beyond a quantile of stable's past, and 10 % more for the candidate."""

    histogram: str
    quantile: float
    bad: str

    def counts(self, view: View) -> Counts | None:
        """See Measure."""
        cut = view.cut(self.histogram, self.quantile)
        if cut is None:
            return None
        raised = cut + _TOLERATED_BUCKETS
        return _above(view, view.independent, self.histogram, cut, raised)


@dataclass(frozen=True, slots=True)
class Shape(AbovePast):
    """The whole histogram against stable's past: counted above one quantile, judged in classes."""

    def classes(self, view: View) -> tuple[list[int], list[int], list[float]] | None:
        """(stable, candidate) by class of stable's past, and its shares; None before enough past.

        The candidate's classes reach 10 % higher, as its quantiles may.
        """
        found = [view.cut(self.histogram, level) for level in _LEVELS]
        cuts = sorted({cut for cut in found if cut is not None})
        if not cuts:
            return None
        stable, candidate = (view.cumulated(arm, self.histogram) for arm in view.independent)
        if not stable or not candidate:
            return None
        raised = [min(cut + _TOLERATED_BUCKETS, len(candidate) - 1) for cut in cuts]
        past = [count + _PRIOR for count in _classes(view.past[self.histogram], cuts)]
        total = sum(past)
        shares = [count / total for count in past]
        return _classes(stable, cuts), _classes(candidate, raised), shares


def histogram_of(arm: Arm, name: str) -> Sequence[int]:
    """One of an arm's histograms; empty if nothing reports it."""
    return arm.latency_counts if name == LATENCY else arm.histograms.get(name, ())


def _above(
    view: View, arms: Arms, histogram: str, stable_cut: int, candidate_cut: int
) -> Counts | None:
    stable, candidate = (view.cumulated(arm, histogram) for arm in arms)
    if not stable and not candidate:
        return None
    return Counts(*_beyond(stable, stable_cut), *_beyond(candidate, candidate_cut))


def _beyond(cumulated: Cumulated, cut: int) -> tuple[int, int]:
    """How many are above a bucket, and how many there are."""
    if not cumulated:
        return 0, 0
    total = cumulated[-1]
    return total - (cumulated[cut] if cut < len(cumulated) else total), total


def _classes(cumulated: Cumulated, cuts: Sequence[int]) -> list[int]:
    """Counts up to each cut, and above the last."""
    heights = [0, *[cumulated[cut] for cut in cuts], cumulated[-1]]
    return [up - below for below, up in pairwise(heights)]
