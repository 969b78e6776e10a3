"""The yardstick: the engine of the study that Grayscale's judge began with, after its formulas.

Six e-processes (relative errors, p95 and p50 by conditional likelihood ratios, two absolute
limits, history) as a weighted mean, with a mixture over start times, tempered by over-dispersion;
absolute evidence needs blame, promotion needs evidence. Kept as the study has it, faults included.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import NamedTuple

from grayscale.judge import LATENCY_EDGES_MS, Interval, Outcome, Verdict
from grayscale.judge.values import Cause
from grayscale.plan.models import Plan

_RATIOS = (1.3, 1.6, 2.0, 3.0, 5.0, 10.0, 30.0)
_WEIGHTS = {
    "errors": 0.4,
    "p95": 0.3,
    "p50": 0.1,
    "error_limit": 0.1,
    "latency_limit": 0.1,
    "history": 0.15,
}
_QUANTILES = {"p95": 0.95, "p50": 0.5}
_ABSOLUTE = ("error_limit", "latency_limit", "history")
_LATER_START = 1 / 800
_TOLERATED_BUCKETS = 2
_WARM_UP_SECONDS = 60.0
_MIN_PAST = 200
_WINDOW, _BLAME = 12, 6  # intervals: two minutes, one minute
_LARGEST_LOG = 500.0


class Counts(NamedTuple):
    """Bad ones and all of both arms."""

    stable_bad: int
    stable: int
    candidate_bad: int
    candidate: int


class EProcess:
    """Capital on each alternative, and what is left for later starts."""

    def __init__(self, alternatives: int) -> None:
        self._capital = [0.0] * alternatives
        self._left = 1.0
        self._begun = False

    @property
    def value(self) -> float:
        """The e-value."""
        return sum(self._capital) + self._left

    def bet(self, log_ratios: Sequence[float], temper: float = 1.0) -> None:
        """One more interval."""
        stake = min(_LATER_START if self._begun else 0.5, self._left)
        self._begun, self._left = True, self._left - stake
        share = stake / len(self._capital)
        self._capital = [
            min((capital + share) * math.exp(min(temper * log, _LARGEST_LOG)), 1e200)
            for capital, log in zip(self._capital, log_ratios, strict=True)
        ]


def relative(counts: Counts, null: float, ratios: Sequence[float]) -> list[float]:
    """Log likelihood ratios of the candidate's odds, given how many were bad in both arms."""
    at_null = null * counts.candidate / (null * counts.candidate + counts.stable)
    found = []
    for ratio in ratios:
        share = ratio * counts.candidate / (ratio * counts.candidate + counts.stable)
        found.append(
            counts.candidate_bad * math.log(share / at_null)
            + counts.stable_bad * math.log((1 - share) / (1 - at_null))
        )
    return found


def absolute(bad: int, count: int, null: float, rates: Sequence[float]) -> list[float]:
    """Log likelihood ratios of one arm's rate."""
    return [
        bad * math.log(rate / null) + (count - bad) * math.log((1 - rate) / (1 - null))
        for rate in rates
    ]


def rates_above(limit: float) -> list[float]:
    """The alternatives to a limit."""
    near = [min(limit * factor, 0.99) for factor in (1.3, 1.6, 2.5, 5.0)]
    return [*near, limit + (1 - limit) * 0.5, limit + (1 - limit) * 0.9]


@dataclass(slots=True)
class Health:
    """What a step has shown in favour of the candidate."""

    requests: int = 0
    bad: int = 0
    stable_requests: int = 0
    stable_bad: int = 0
    below_limit: tuple[float, ...] = (0.0, 0.0, 0.0)
    not_doubled: tuple[float, ...] = (0.0, 0.0)

    @property
    def shown(self) -> bool:
        """Whether the limit is excluded, or a doubling is, at 1 in 20."""
        values = (_mean_exp(self.below_limit), _mean_exp(self.not_doubled))
        return self.requests >= 60 and max(values) >= 20

    def add(self, counts: Counts, limit: float) -> None:
        """One more interval."""
        self.requests += counts.candidate
        self.bad += counts.candidate_bad
        self.stable_requests += counts.stable
        self.stable_bad += counts.stable_bad
        rates = [limit * share for share in (0.1, 0.3, 0.6)]
        below = absolute(counts.candidate_bad, counts.candidate, limit, rates)
        self.below_limit = tuple(map(sum, zip(self.below_limit, below, strict=True)))
        if counts.stable and counts.candidate:
            better = relative(counts, 2.0, (1.0, 0.7))
            self.not_doubled = tuple(map(sum, zip(self.not_doubled, better, strict=True)))


class ReferenceEngine:
    """See the module; has the face of a Judge."""

    def __init__(self, plan: Plan) -> None:
        self._alpha = plan.judge.alpha
        self._limit = plan.health_check.error_threshold_percent / 100
        self._slow_from = bisect_left(LATENCY_EDGES_MS, plan.health_check.latency_threshold_ms) + 1
        self._gates = {
            name: EProcess(6 if name in _ABSOLUTE else len(_RATIOS)) for name in _WEIGHTS
        }
        self._past = [0] * (len(LATENCY_EDGES_MS) + 1)
        self._recent: deque[Counts] = deque(maxlen=_WINDOW)
        self._slow: deque[Counts] = deque(maxlen=_WINDOW)
        self._beyond = {name: deque[Counts](maxlen=_WINDOW) for name in _QUANTILES}
        self._stable_bad = self._stable_all = 0
        self._worst_window = 0.0
        self._health, self._step = Health(), -1
        self._seconds = self._pending = 0.0

    def look(self, interval: Interval) -> Verdict:
        """See Judge."""
        stable, candidate = interval.stable, interval.candidate
        if interval.step != self._step:
            self._step, self._health = interval.step, Health()
        self._seconds += interval.seconds
        errors = Counts(stable.errors, stable.requests, candidate.errors, candidate.requests)
        slow = self._above(interval, self._slow_from, self._slow_from)
        hold = self._watch_stable(errors, slow)
        self._weigh(errors, slow, interval, hold=hold)
        self._health.add(errors, self._limit)
        self._remember(errors, stable.latency_counts)
        return self._verdict(interval, hold=hold)

    def _watch_stable(self, errors: Counts, slow: Counts) -> bool:
        """Whether stable itself is near a limit; absolute evidence is then dropped."""
        self._recent.append(errors)
        self._slow.append(slow)
        hold = False
        for window, limit in ((self._recent, self._limit), (self._slow, 0.05)):
            bad, count = sum(one[0] for one in window), sum(one[1] for one in window)
            hold = hold or (count >= 20 and bad > 0.8 * limit * count)
        if hold:
            for name in _ABSOLUTE:
                self._gates[name] = EProcess(6)
        return hold

    def _weigh(self, errors: Counts, slow: Counts, interval: Interval, *, hold: bool) -> None:
        warm = self._seconds > _WARM_UP_SECONDS
        self._bet_relative("errors", errors, list(self._recent)[:-1])
        if warm:
            for name, quantile in _QUANTILES.items():
                cut = self._cut(quantile)
                if cut is not None:
                    counts = self._above(interval, cut + 1, cut + 1 + _TOLERATED_BUCKETS)
                    self._bet_relative(name, counts, self._beyond[name])
                    self._beyond[name].append(counts)
        if hold:
            return
        self._bet_absolute("error_limit", errors, self._limit)
        if warm:
            self._bet_absolute("latency_limit", slow, 0.05)
        if self._stable_all >= _MIN_PAST:
            mean = self._stable_bad / self._stable_all
            self._bet_absolute(
                "history", errors, min(max(2 * mean, self._worst_window, 0.003), 0.9)
            )

    def _bet_relative(self, name: str, counts: Counts, past: Sequence[Counts]) -> None:
        if counts.stable and counts.candidate and counts.stable_bad + counts.candidate_bad:
            temper = 1 / max(1.0, _dispersion(past))
            self._gates[name].bet(relative(counts, 1.0, _RATIOS), temper)

    def _bet_absolute(self, name: str, counts: Counts, limit: float) -> None:
        if counts.candidate:
            bad, count = counts.candidate_bad, counts.candidate
            self._gates[name].bet(absolute(bad, count, limit, rates_above(limit)))

    def _above(self, interval: Interval, stable_from: int, candidate_from: int) -> Counts:
        stable, candidate = interval.stable.latency_counts, interval.candidate.latency_counts
        return Counts(
            sum(stable[stable_from:]), sum(stable), sum(candidate[candidate_from:]), sum(candidate)
        )

    def _cut(self, quantile: float) -> int | None:
        cumulated = list(accumulate(self._past))
        if cumulated[-1] < _MIN_PAST:
            return None
        return bisect_left(cumulated, quantile * cumulated[-1])

    def _remember(self, errors: Counts, latencies: Sequence[int]) -> None:
        self._past = [one + other for one, other in zip(self._past, latencies, strict=True)]
        self._stable_bad += errors.stable_bad
        self._stable_all += errors.stable
        if len(self._recent) == _WINDOW:
            bad, count = (sum(one[index] for one in self._recent) for index in (0, 1))
            self._worst_window = max(self._worst_window, bad / count if count >= 20 else 0.0)

    def _verdict(self, interval: Interval, *, hold: bool) -> Verdict:
        values = {name: gate.value for name, gate in self._gates.items()}
        total = sum(_WEIGHTS.values())
        combined = sum(_WEIGHTS[name] * value for name, value in values.items()) / total
        evidence = {"e_value": combined, "gates": values}
        if combined * self._alpha >= 1 and self._blamed(values, interval):
            return Verdict(Outcome.HARMFUL, Cause.CANDIDATE, self._sentence(combined), evidence)
        if hold:
            sentence = "Both versions suffer: promotion is on hold."
            return Verdict(Outcome.INCONCLUSIVE, Cause.UPSTREAM, sentence, evidence)
        sentence = self._sentence(combined)
        if self._health.shown:
            return Verdict(Outcome.HEALTHY, None, sentence, evidence)
        return Verdict(Outcome.INCONCLUSIVE, Cause.NOT_ENOUGH_DATA, sentence, evidence)

    def _blamed(self, values: dict[str, float], interval: Interval) -> bool:
        """Absolute evidence alone needs a comparison over the same minute, or two minutes."""
        others = sum(
            _WEIGHTS[name] * value for name, value in values.items() if name not in _ABSOLUTE
        )
        if others / sum(_WEIGHTS.values()) * self._alpha >= 1 or interval.weight_percent >= 100:
            return True
        self._pending += interval.seconds
        window = list(self._recent)[-_BLAME:]
        stable_bad, stable, bad, count = (sum(one[index] for one in window) for index in range(4))
        if not count or self._pending >= 120:
            return True
        return _lower_tail(stable_bad, stable, bad / count) <= 0.05

    def _sentence(self, combined: float) -> str:
        health = self._health
        return (
            f"{health.bad} of {health.requests:,} candidate requests failed "
            f"({_percent(health.bad, health.requests)}) against {health.stable_bad} of "
            f"{health.stable_requests:,} on stable "
            f"({_percent(health.stable_bad, health.stable_requests)}); a version as good as stable "
            f"would look this bad at most once in {combined:,.0f} releases."
        )


def _dispersion(past: Sequence[Counts]) -> float:
    """How much more stable's counts vary between neighbouring intervals than by chance."""
    terms = []
    for one, other in pairwise(past):
        if one.stable and other.stable and one.stable_bad + other.stable_bad:
            rate = (one.stable_bad + other.stable_bad) / (one.stable + other.stable)
            difference = one.stable_bad / one.stable - other.stable_bad / other.stable
            variance = rate * (1 - rate) * (1 / one.stable + 1 / other.stable)
            terms.append(difference**2 / variance if variance else 0.0)
    return sum(terms) / len(terms) if terms else 1.0


def _mean_exp(logs: Sequence[float]) -> float:
    return sum(math.exp(min(log, _LARGEST_LOG)) for log in logs) / len(logs)


def _lower_tail(count: int, trials: int, chance: float) -> float:
    """P(Binomial(trials, chance) <= count)."""
    if chance <= 0 or trials <= count:
        return 1.0
    if chance >= 1:
        return 0.0
    term = trials * math.log1p(-chance)
    total = math.exp(term)
    for k in range(1, count + 1):
        term += math.log((trials - k + 1) / k * chance / (1 - chance))
        total += math.exp(term)
    return min(total, 1.0)


def _percent(bad: int, count: int) -> str:
    return f"{100 * bad / count:.1f} %" if count else "none"
