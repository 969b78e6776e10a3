"""Whom an absolute limit's violation is to be blamed on: the candidate, or what both depend on."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import NamedTuple

from grayscale.judge.evidence import split_e_value, upper_tail
from grayscale.judge.gates import Gate, HistoryGate
from grayscale.judge.state import Counts, GateState, History, Mark, since

_HEAD = 4
_SPACING_SECONDS = 5.0
_MEMORY_SECONDS = 120.0
_COMPARED_SECONDS = 60.0
_WAIT_SECONDS = 120.0
_MIN_STABLE = 20
_NEAR_LIMIT = 0.8
_SIGNIFICANT = 0.02
_POINTS_THE_SAME_WAY = 10.0
_SURELY_ANOTHER_SPLIT = 1e5
_MIN_WELL = 8
_SEEN_SECONDS = 15.0
_WELL_RATIO = 20.0


class Recent(NamedTuple):
    """The last two minutes of a step.

    A mark's sums, and so these, are laid out as (stable, candidate) requests started, those of
    them that could fail, and then for each of `limits` (the absolute gates, by their place) its
    counts over all requests and its counts over the independent ones.
    """

    limits: Sequence[int]
    marks: tuple[Mark, ...]
    two_minutes: tuple[int, ...]

    @classmethod
    def of(cls, marks: tuple[Mark, ...], limits: Sequence[int]) -> Recent:
        """What happened between the first and the last of these marks."""
        return cls(limits, marks, _between(marks))

    @property
    def started(self) -> tuple[int, int]:
        """All independent requests."""
        return self.two_minutes[0], self.two_minutes[1]

    @property
    def requests(self) -> tuple[int, int]:
        """Independent requests that could fail."""
        return self.two_minutes[2], self.two_minutes[3]

    def everything(self, at: int) -> Counts:
        """An absolute gate's counts of two minutes."""
        begin = _HEAD + 8 * self.limits.index(at)
        return Counts(*self.two_minutes[begin : begin + 4])

    def apart(self, at: int) -> Counts:
        """An absolute gate's counts of independent requests in the last minute."""
        begin = _HEAD + 8 * self.limits.index(at) + 4
        last_minute = _between(since(self.marks, _COMPARED_SECONDS))
        return Counts(*last_minute[begin : begin + 4])

    def near_limit(self, at: int, gate: Gate, *, share: float = _NEAR_LIMIT) -> bool:
        """Whether stable itself is beyond this share of an absolute limit."""
        if gate.limit_rate is None:
            return False
        begin = _HEAD + 8 * self.limits.index(at)
        bad, stable = self.two_minutes[begin], self.two_minutes[begin + 1]
        return stable >= _MIN_STABLE and bad > share * gate.limit_rate * stable

    def candidate_to_blame(
        self, at: int, gate: Gate, state: GateState, *, sticky: float | None, history: History
    ) -> bool:
        """Whether stable, over the same time, was so much better that the candidate is at fault.

        Where callers stick to a version, one of them may be what is beyond the limit: there
        `sticky`, the evidence of the gates that compare callers, must point the same way.
        Where stable has too few requests to tell, half its rate must do after two minutes. What
        only shows at full weight leaves stable next to none: there stable, since the suspicion
        began, must have had a few requests without any failure, or be surely well.
        """
        if isinstance(gate, HistoryGate):
            seen = state.pending_seconds >= _SEEN_SECONDS
            return seen and _looks_well(state.pending, history)
        if sticky is not None:
            return sticky >= _POINTS_THE_SAME_WAY
        counts = self.apart(at)
        if upper_tail(counts[0::2], counts[1::2]) <= _SIGNIFICANT:
            return True
        waited = state.pending_seconds >= _WAIT_SECONDS
        return waited and counts.stable_rate <= counts.candidate_rate / 2

    def other_split(self, weight_percent: float) -> bool:
        """Whether the requests surely follow another split than the intended one."""
        e_value = split_e_value(*self.started, weight_percent)
        return e_value >= _SURELY_ANOTHER_SPLIT


def with_mark(marks: tuple[Mark, ...], seconds: float, counts: Sequence[int]) -> tuple[Mark, ...]:
    """The marks of the last two minutes after one more interval, a few seconds from each other."""
    marks = marks or (Mark(0.0, (0,) * len(counts)),)
    before = marks[-1]
    now = Mark(before.seconds + seconds, tuple(map(operator.add, before.sums, counts)))
    if len(marks) > 1 and now.seconds - marks[-2].seconds <= _SPACING_SECONDS:
        return (*marks[:-1], now)
    return since((*marks, now), _MEMORY_SECONDS)


def _looks_well(counts: Counts, history: History) -> bool:
    """Whether stable's own counts are much likelier at its past rate than at the candidate's."""
    if counts.stable < _MIN_WELL:
        return False
    if not counts.stable_bad:
        return True
    past = min(max(history.errors / max(history.requests, 1), 0.001), 0.5)
    shared = min(max(counts.candidate_rate, past), 0.999)
    good = counts.stable - counts.stable_bad
    log_ratio = counts.stable_bad * math.log(past / shared)
    log_ratio += good * math.log((1 - past) / (1 - shared))
    return log_ratio >= math.log(_WELL_RATIO)


def _between(marks: tuple[Mark, ...]) -> tuple[int, ...]:
    return tuple(map(operator.sub, marks[-1].sums, marks[0].sums))
