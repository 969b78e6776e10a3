"""Whom an absolute limit's violation is to be blamed on: the candidate, or what both depend on."""

from __future__ import annotations

import math
from typing import NamedTuple

from grayscale.judge.evidence import relative_e_value, split_e_value
from grayscale.judge.gates import HistoryGate, Shares
from grayscale.judge.layout import GateSet
from grayscale.judge.likelihood import log_likelihood
from grayscale.judge.state import Counts, JudgeState, Mark, Totals, counts_in

_SPACING_SECONDS = 5.0
_MEMORY_SECONDS = 120.0
_MIN_STABLE = 20
_NEAR_LIMIT = 0.8
_SURE = 50.0
_POINTS_THE_SAME_WAY = 30.0
_SURELY_ANOTHER_SPLIT = 1e5
_WELL_REQUESTS, _WELL_SECONDS = 7, 15.0
_MIN_WINDOW = 50
_MIN_HISTORY = 200
_LOWEST_LIMIT = 0.003
_HIGHEST_LIMIT = 0.99
_MARGIN = 1.5  # standard errors by which an interval's own share must differ to be believed
_WINDOW_REQUESTS = 2  # how many requests' worth the window's share counts in an interval's


class Recent(NamedTuple):
    """The last two minutes: the totals `before` them, as far as they were `in_step`, and now."""

    gates: GateSet
    before: Totals
    in_step: Totals
    now: Mark

    @classmethod
    def of(cls, gates: GateSet, marks: tuple[Mark, ...], *, entered_seconds: float) -> Recent:
        """What happened between these marks."""
        first = 0
        while marks[first].seconds < entered_seconds:
            first += 1
        return cls(gates, marks[0].totals, marks[first].totals, marks[-1])

    @property
    def started(self) -> tuple[int, int]:
        """All independent requests of the step, (stable, candidate)."""
        before, now = self.in_step, self.now.totals
        return now[0] - before[0], now[1] - before[1]

    def shares(self, stable: int, candidate: int) -> Shares:
        """The candidate's share of the independent requests that the interval's failures are of.

        They may have started in the interval, which had so many, or in the two minutes before it,
        under this split or the one before. Where these differ, nothing tells which it was.
        """
        now, found = self.now.totals, []
        for before in (self.in_step, self.before):
            its, others = now[3] - before[3], now[2] - before[2]
            if its + others:
                found.append(its / (its + others))
        if not found:
            return Shares(0.0, 0.0)
        count = stable + candidate + _WINDOW_REQUESTS
        own = (candidate + _WINDOW_REQUESTS * found[0]) / count
        margin = _MARGIN * math.sqrt(own * (1 - own) / count)
        return Shares(max(*found, own - margin), min(*found, own + margin))

    def everything(self, at: int) -> Counts:
        """An absolute gate's counts of two minutes."""
        return counts_in(self.gates.slots[at], self.now.totals, self.in_step)

    def near_limit(self, at: int, *, share: float = _NEAR_LIMIT) -> bool:
        """Whether stable itself is beyond this share of an absolute limit."""
        limit_rate = self.gates.gates[at].limit_rate
        if limit_rate is None:
            return False
        slot, before, now = self.gates.slots[at], self.in_step, self.now.totals
        bad, stable = now[slot] - before[slot], now[slot + 1] - before[slot + 1]
        return stable >= _MIN_STABLE and bad > share * limit_rate * stable

    def candidate_to_blame(self, at: int, state: JudgeState, *, sticky: float | None) -> bool:
        """Whether it is the candidate's fault: stable, since the suspicion began, was surely better.

        Where callers stick to a version, one of them may be what is beyond the limit: there
        `sticky`, the evidence of the gates that compare callers, must point the same way.
        What only shows at full weight leaves stable next to none. There it must be much likelier
        that stable is as it was and the candidate sick alone, than that both are; or, if the
        candidate is beyond the plan's limit, a few of stable's must have had no failure at all.
        """
        suspected, apart = state.gates[at].suspected, self.gates.apart[self.gates.slots[at]]
        if suspected is None:
            return False
        counts = counts_in(apart, self.now.totals, suspected.totals)
        past = counts_in(apart, suspected.totals)
        if isinstance(self.gates.gates[at], HistoryGate):
            limit = state.settings.error_threshold_percent / 100
            seen = self.now.seconds - suspected.seconds >= _WELL_SECONDS
            few = counts.stable >= _WELL_REQUESTS and not counts.stable_bad
            return _only_candidate(counts, past) or (seen and few and counts.candidate_rate > limit)
        if sticky is not None:
            return sticky >= _POINTS_THE_SAME_WAY
        return relative_e_value(counts) >= _SURE or _only_candidate(counts, past)

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


def history_rate(gates: GateSet, state: JudgeState) -> float | None:
    """The failure rate that would be news: twice the mean, or more than the worst; if known."""
    slot = gates.slots[gates.place["error_limit"]]
    errors, requests = state.totals[slot : slot + 2]
    if requests < _MIN_HISTORY:
        return None
    return min(max(2 * errors / requests, state.worst_rate, _LOWEST_LIMIT), _HIGHEST_LIMIT)


def _only_candidate(counts: Counts, past: Counts) -> bool:
    """Whether stable at its past rate, and the candidate sick alone, is much likelier than both.

    A ratio of likelihoods: each at its own rate, against the one rate that fits both best.
    """
    stable_bad, stable, candidate_bad, candidate = counts
    usual = min(max(past.stable_rate, 0.001), 0.5)
    apart = log_likelihood(stable_bad, stable, usual)
    apart += log_likelihood(candidate_bad, candidate, counts.candidate_rate)
    bad, requests = stable_bad + candidate_bad, stable + candidate
    together = log_likelihood(bad, requests, max(bad / max(requests, 1), usual))
    return counts.candidate_rate > usual and apart - together >= math.log(_SURE)


def _place_before(marks: tuple[Mark, ...], seconds: float) -> int:
    """The place of the last mark that is at least so many seconds old, or else of the first."""
    latest, place = marks[-1].seconds - seconds, len(marks) - 2
    while place > 0 and marks[place].seconds > latest:
        place -= 1
    return max(place, 0)
