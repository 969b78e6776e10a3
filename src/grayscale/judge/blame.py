"""Whom an absolute limit's violation is to be blamed on: the candidate, or what both depend on."""

from __future__ import annotations

import math
from typing import NamedTuple

from grayscale.judge.evidence import split_e_value, upper_tail
from grayscale.judge.gates import GateSet, HistoryGate
from grayscale.judge.state import Counts, JudgeState, Mark, Totals, counts_in

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
_MIN_WINDOW = 50
_MIN_HISTORY = 200
_LOWEST_LIMIT = 0.003
_HIGHEST_LIMIT = 0.99


class Recent(NamedTuple):
    """The last two minutes of a step: the totals `before` them, a minute ago, and now."""

    gates: GateSet
    before: Totals
    a_minute_ago: Totals
    now: Mark

    @classmethod
    def of(cls, gates: GateSet, marks: tuple[Mark, ...], *, entered_seconds: float) -> Recent:
        """What happened between these marks, as far as it was in the step."""
        first = 0
        while marks[first].seconds < entered_seconds:
            first += 1
        minute = max(first, _place_before(marks, _COMPARED_SECONDS))
        return cls(gates, marks[first].totals, marks[minute].totals, marks[-1])

    @property
    def started(self) -> tuple[int, int]:
        """All independent requests, (stable, candidate)."""
        before, now = self.before, self.now.totals
        return now[0] - before[0], now[1] - before[1]

    @property
    def requests(self) -> tuple[int, int]:
        """Independent requests that could fail, (stable, candidate)."""
        before, now = self.before, self.now.totals
        return now[2] - before[2], now[3] - before[3]

    def everything(self, at: int) -> Counts:
        """An absolute gate's counts of two minutes."""
        return counts_in(self.gates.slots[at], self.now.totals, self.before)

    def near_limit(self, at: int, *, share: float = _NEAR_LIMIT) -> bool:
        """Whether stable itself is beyond this share of an absolute limit."""
        limit_rate = self.gates.gates[at].limit_rate
        if limit_rate is None:
            return False
        slot, before, now = self.gates.slots[at], self.before, self.now.totals
        bad, stable = now[slot] - before[slot], now[slot + 1] - before[slot + 1]
        return stable >= _MIN_STABLE and bad > share * limit_rate * stable

    def candidate_to_blame(self, at: int, state: JudgeState, *, sticky: float | None) -> bool:
        """Whether stable, over the same time, was so much better that the candidate is at fault.

        Where callers stick to a version, one of them may be what is beyond the limit: there
        `sticky`, the evidence of the gates that compare callers, must point the same way.
        Where stable has too few requests to tell, half its rate must do after two minutes. What
        only shows at full weight leaves stable next to none: there stable, since the suspicion
        began, must have had a few requests without any failure, or be surely well.
        """
        suspected, apart = state.gates[at].suspected, self.gates.apart[self.gates.slots[at]]
        seconds = 0.0 if suspected is None else self.now.seconds - suspected.seconds
        if isinstance(self.gates.gates[at], HistoryGate):
            if suspected is None or seconds < _SEEN_SECONDS:
                return False
            meanwhile = counts_in(apart, self.now.totals, suspected.totals)
            return _looks_well(meanwhile, *history(self.gates, state))
        if sticky is not None:
            return sticky >= _POINTS_THE_SAME_WAY
        counts = counts_in(apart, self.now.totals, self.a_minute_ago)
        if upper_tail(counts[0::2], counts[1::2]) <= _SIGNIFICANT:
            return True
        return seconds >= _WAIT_SECONDS and counts.stable_rate <= counts.candidate_rate / 2

    def other_split(self, weight_percent: float) -> bool:
        """Whether the requests surely follow another split than the intended one."""
        e_value = split_e_value(*self.started, weight_percent)
        return e_value >= _SURELY_ANOTHER_SPLIT


def with_mark(marks: tuple[Mark, ...], now: Mark) -> tuple[Mark, ...]:
    """The marks of the last two minutes with one more, a few seconds from each other."""
    if len(marks) > 1 and now.seconds - marks[-2].seconds <= _SPACING_SECONDS:
        return (*marks[:-1], now)
    marks = (*marks, now)
    return marks[_place_before(marks, _MEMORY_SECONDS) :]


def worst_rate(gates: GateSet, marks: tuple[Mark, ...]) -> float:
    """Stable's failure rate in the time of these marks; 0 where it has had few requests."""
    slot = gates.slots[gates.place["error_limit"]]
    before, now = marks[0].totals, marks[-1].totals
    requests = now[slot + 1] - before[slot + 1]
    return (now[slot] - before[slot]) / requests if requests >= _MIN_WINDOW else 0.0


def history(gates: GateSet, state: JudgeState) -> tuple[int, int]:
    """Stable's failures and requests in this release."""
    slot = gates.slots[gates.place["error_limit"]]
    return state.totals[slot], state.totals[slot + 1]


def history_rate(gates: GateSet, state: JudgeState) -> float | None:
    """The failure rate that would be news: twice the mean, or more than the worst; if known."""
    errors, requests = history(gates, state)
    if requests < _MIN_HISTORY:
        return None
    return min(max(2 * errors / requests, state.worst_rate, _LOWEST_LIMIT), _HIGHEST_LIMIT)


def _looks_well(counts: Counts, past_errors: int, past_requests: int) -> bool:
    """Whether stable's own counts are much likelier at its past rate than at the candidate's."""
    if counts.stable < _MIN_WELL:
        return False
    if not counts.stable_bad:
        return True
    past = min(max(past_errors / max(past_requests, 1), 0.001), 0.5)
    shared = min(max(counts.candidate_rate, past), 0.999)
    good = counts.stable - counts.stable_bad
    log_ratio = counts.stable_bad * math.log(past / shared)
    log_ratio += good * math.log((1 - past) / (1 - shared))
    return log_ratio >= math.log(_WELL_RATIO)


def _place_before(marks: tuple[Mark, ...], seconds: float) -> int:
    """The place of the last mark that is at least so many seconds old, or else of the first."""
    latest, place = marks[-1].seconds - seconds, len(marks) - 2
    while place > 0 and marks[place].seconds > latest:
        place -= 1
    return max(place, 0)
