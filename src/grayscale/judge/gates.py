"""The gates: which requests are bad by each, and what the counts say against the candidate."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import accumulate
from typing import Literal

from grayscale.judge.evidence import (
    WORSE_RATIOS,
    absolute_log_ratios,
    fresh,
    rates_above,
    relative_log_ratios,
)
from grayscale.judge.state import Counts, GateState
from grayscale.judge.values import LATENCY_EDGES_MS, Interval, Rule, Settings

Measure = Literal["errors", "codes", "rejected", "client_gone", "slower", "past_quantile", "none"]

ERROR_LIMIT = 3
"""The place of the gate that holds the plan's error limit."""

_TOLERATED_BUCKETS = 2  # of 5 % each: a candidate 10 % slower than stable is as good as stable
_MIN_PAST_LATENCIES = 200
_HIGHEST_LIMIT = 0.99
_RULE_WEIGHT = 0.1
_TAIL_BY_METRIC = {"p50_latency_ms": 0.5, "p95_latency_ms": 0.05, "p99_latency_ms": 0.01}


@dataclass(frozen=True, slots=True)
class Gate:
    """One question about the candidate.

    A gate with a `limit_rate` is absolute: the share of bad requests must not exceed it. One
    without compares with stable. `bound` is the latency limit in ms, or the quantile of stable's
    past; `weight` is the gate's share in the combined evidence.
    """

    name: str
    measure: Measure
    weight: float
    limit_rate: float | None = None
    bound: float = 0.0
    codes: tuple[int, ...] = ()

    @property
    def about_latency(self) -> bool:
        """Whether a version's warm-up may mislead this gate."""
        return self.measure in {"slower", "past_quantile"}

    @property
    def among_own(self) -> bool:
        """Whether its counts hold all requests at risk, and not only those that have ended."""
        return self.about_latency or self.measure in {"rejected", "client_gone"}

    def start(self) -> GateState:
        """The gate before any counts."""
        alternatives = len(self._rates()) if self.limit_rate is not None else len(WORSE_RATIOS)
        return GateState(fresh(alternatives))

    def _rates(self) -> tuple[float, ...]:
        return rates_above(self.limit_rate or 0.0)

    def weighed(self, state: GateState, counts: Counts, exposed: tuple[float, float]) -> GateState:
        """The state after one interval's counts; `exposed` are (stable, candidate) at risk."""
        if self.limit_rate is not None:
            if not counts.candidate:
                return state
            ratios = absolute_log_ratios(
                counts.candidate_bad, counts.candidate, null=self.limit_rate, rates=self._rates()
            )
        else:
            if not counts.stable_bad + counts.candidate_bad:
                return state
            bad = (counts.stable_bad, counts.candidate_bad)
            ratios = relative_log_ratios(bad, exposed, null=1.0, ratios=WORSE_RATIOS)
        return replace(state, process=state.process.after(ratios))


@lru_cache(maxsize=64)
def gates_of(settings: Settings) -> tuple[Gate, ...]:
    """The gates that a release must pass."""
    return (
        Gate("errors", "errors", 0.4),
        Gate("p95", "past_quantile", 0.3, bound=0.95),
        Gate("p50", "past_quantile", 0.1, bound=0.5),
        Gate("error_limit", "errors", 0.1, rate_of(settings.error_threshold_percent)),
        Gate("latency_limit", "slower", 0.1, 0.05, settings.latency_threshold_ms),
        Gate("rejected", "rejected", 0.1),
        Gate("client_gone", "client_gone", 0.05),
        *(_rule_gate(rule) for rule in settings.rules),
    )


def counts_of(
    gate: Gate, interval: Interval, histogram: Sequence[int], *, candidate_total: int
) -> Counts | None:
    """A gate's counts of one interval, None if its signal is not there.

    `candidate_total` are the candidate's requests that failures are counted against; `histogram`
    are stable's latencies before this interval.
    """
    stable, candidate = interval.stable, interval.candidate
    stable_total = max(stable.requests, stable.errors)
    match gate.measure:
        case "errors":
            return Counts(stable.errors, stable_total, candidate.errors, candidate_total)
        case "codes" if stable.by_code is not None and candidate.by_code is not None:
            bad = [
                sum(codes.get(code, 0) for code in gate.codes)
                for codes in (stable.by_code, candidate.by_code)
            ]
            return Counts(bad[0], stable_total, bad[1], candidate_total)
        case "rejected" | "client_gone":
            return _beside(interval, gate.measure)
        case "slower":
            cut = bisect_left(LATENCY_EDGES_MS, gate.bound)
            return _slower(interval, cut, cut)
        case "past_quantile":
            past = _quantile_bucket(histogram, gate.bound)
            return None if past is None else _slower(interval, past, past + _TOLERATED_BUCKETS)
        case _:
            return None


def _beside(interval: Interval, what: Literal["rejected", "client_gone"]) -> Counts:
    """Requests that ended outside the error rate, among all."""
    stable, candidate = getattr(interval.stable, what), getattr(interval.candidate, what)
    return Counts(
        stable,
        max(interval.stable.requests, interval.stable.errors) + stable,
        candidate,
        max(interval.candidate.requests, interval.candidate.errors) + candidate,
    )


def _rule_gate(rule: Rule) -> Gate:
    name, weight = f"rule {rule.name}", _RULE_WEIGHT if rule.rolls_back else 0.0
    if rule.metric == "error_rate":
        return Gate(name, "errors", weight, rate_of(rule.limit))
    if rule.metric == "error_code":
        return Gate(name, "codes", weight, codes=rule.codes)
    tail = _TAIL_BY_METRIC.get(rule.metric)
    if tail is None:
        return Gate(name, "none", weight)
    return Gate(name, "slower", weight, tail, rule.limit)


def rate_of(percent: float) -> float:
    """A limit in percent as a rate that can be tested: "error_rate > 0" allows 1 in 1000."""
    return min(max(percent / 100, 0.001), _HIGHEST_LIMIT)


def _slower(interval: Interval, stable_cut: int, candidate_cut: int) -> Counts | None:
    stable, candidate = interval.stable.latency_counts, interval.candidate.latency_counts
    if not stable and not candidate:
        return None
    return Counts(
        sum(stable[stable_cut + 1 :]),
        sum(stable),
        sum(candidate[candidate_cut + 1 :]),
        sum(candidate),
    )


def _quantile_bucket(histogram: Sequence[int], quantile: float) -> int | None:
    """The bucket that stable's past quantile falls into; None before there is enough past."""
    cumulative = list(accumulate(histogram))
    if cumulative[-1] < _MIN_PAST_LATENCIES:
        return None
    return bisect_left(cumulative, quantile * cumulative[-1])
