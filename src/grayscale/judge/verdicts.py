"""From evidence to one of three answers, with its cause."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from grayscale.judge import sentences
from grayscale.judge.blame import Recent
from grayscale.judge.gates import Gate
from grayscale.judge.health import NEEDED_E_VALUE, below_limit, not_doubled
from grayscale.judge.state import NOTHING, Counts, GateState, JudgeState
from grayscale.judge.values import Cause, Interval, Outcome, Verdict

_SUSPICION = 0.25  # of the evidence that makes harmful: more than that is not healthy either


@dataclass(frozen=True, slots=True)
class Weighed:
    """A gate with what it says: its e-value, as far as the candidate is to blame."""

    gate: Gate
    state: GateState
    e_value: float
    blamed: bool

    @property
    def capital(self) -> float:
        """Its part of the combined evidence."""
        return (self.state.stake or 0.0) * self.e_value

    @property
    def is_rule(self) -> bool:
        """Whether the plan wrote it."""
        return self.gate.name.startswith("rule ")


def judged(
    state: JudgeState, interval: Interval, gates: tuple[Gate, ...], recent: Recent
) -> Verdict:
    """The verdict on what the state has learnt, this interval included.

    The evidence is the weighted mean of the gates' e-values: an e-value, however they depend on
    each other (Vovk & Wang, 2021).
    """
    weighed = _all_weighed(state, gates, recent)
    combined = sum(one.capital for one in weighed)
    evidence = _evidence(state, weighed, combined)
    if combined * state.settings.alpha >= 1:
        leading = max(weighed, key=lambda one: one.capital)
        sentence = sentences.harmful(state, leading.gate, leading.state, combined)
        return Verdict(Outcome.HARMFUL, Cause.CANDIDATE, sentence, evidence)
    obstacle = _obstacle(state, interval, weighed, combined, recent)
    if obstacle is not None:
        cause, sentence = obstacle
        return Verdict(Outcome.INCONCLUSIVE, cause, sentence, evidence)
    return Verdict(Outcome.HEALTHY, None, sentences.healthy(state), evidence)


def stale(interval: Interval) -> Verdict:
    """The verdict on an interval whose counters are not complete."""
    sentence = sentences.stale(interval)
    return Verdict(Outcome.INCONCLUSIVE, Cause.STALE_METRICS, sentence, {})


def _all_weighed(state: JudgeState, gates: tuple[Gate, ...], recent: Recent) -> list[Weighed]:
    """Relative evidence blames by itself; absolute evidence does after a comparison."""
    by_name = {gate.name: own for gate, own in zip(gates, state.gates, strict=True)}
    callers = by_name["callers"].step if "callers" in by_name else NOTHING
    weighed = []
    for gate, own in zip(gates, state.gates, strict=True):
        value = own.process.value
        blamed = (
            not gate.absolute
            or value <= 1
            or state.weight_percent >= 100
            or recent.candidate_to_blame(gate, own, callers=callers, history=state.history)
        )
        weighed.append(Weighed(gate, own, value if blamed else 1.0, blamed))
    return weighed


def _obstacle(
    state: JudgeState,
    interval: Interval,
    weighed: list[Weighed],
    combined: float,
    recent: Recent,
) -> tuple[Cause, str] | None:
    """What stands between the candidate and `healthy`, the gravest first."""
    if not interval.split_verified:
        return Cause.SPLIT_MISMATCH, sentences.unverified(state)
    if recent.other_split(state.weight_percent):
        sentence = sentences.other_split(state, *recent.started)
        return Cause.SPLIT_MISMATCH, sentence
    for one in weighed:
        if recent.near_limit(one.gate, share=1.0):
            counts = recent.all[one.gate.name]
            return Cause.UPSTREAM, sentences.upstream(state, one.gate, counts)
    lacking = _lacking(state, weighed, combined)
    return None if lacking is None else (Cause.NOT_ENOUGH_DATA, lacking)


def _lacking(state: JudgeState, weighed: list[Weighed], combined: float) -> str | None:
    """The evidence that is still missing, as a sentence."""
    if state.health.resolved < state.settings.min_requests:
        return sentences.too_few(state)
    for one in weighed:
        if one.is_rule and not one.state.measured:
            return sentences.unmeasured(state, one.gate)
    if combined * state.settings.alpha >= _SUSPICION:
        return sentences.suspicious(state, combined)
    for one in weighed:
        rate, limit = one.state.step.candidate_rate, one.gate.limit_rate
        if limit is not None and one.gate.weight and rate > limit:
            return sentences.above_limit(state, one.gate, one.state.step)
    if max(below_limit(state.health), not_doubled(state.health)) < NEEDED_E_VALUE:
        return sentences.not_excluded(state)
    return None


def _evidence(state: JudgeState, weighed: list[Weighed], combined: float) -> dict[str, Any]:
    """All numbers behind a verdict, as JSON."""
    broken = [
        one.gate.name.removeprefix("rule ")
        for one in weighed
        if one.is_rule and one.e_value * state.settings.alpha >= 1
    ]
    return {
        "e_value": _rounded(combined),
        "needed_e_value": _rounded(1 / state.settings.alpha),
        "health_e_value": _rounded(max(below_limit(state.health), not_doubled(state.health))),
        "needed_health_e_value": NEEDED_E_VALUE,
        "candidate_requests": state.health.resolved,
        "needed_requests": state.settings.min_requests,
        "rules_broken": broken,
        "gates": {
            one.gate.name: _gate_evidence(one)
            for one in weighed
            if one.state.measured or one.is_rule
        },
    }


def _gate_evidence(one: Weighed) -> Mapping[str, Any]:
    return {
        "e_value": _rounded(one.state.process.value),
        "blamed": one.blamed,
        "measured": one.state.measured,
        "share": _rounded(one.state.stake or 0.0),
        "limit_percent": None if one.gate.limit_rate is None else one.gate.limit_rate * 100,
        "step": _counts(one.state.step),
        "total": _counts(one.state.total),
    }


def _counts(counts: Counts) -> dict[str, dict[str, int]]:
    return {
        "stable": {"bad": counts.stable_bad, "all": counts.stable},
        "candidate": {"bad": counts.candidate_bad, "all": counts.candidate},
    }


def _rounded(value: float) -> float:
    """Six significant digits are more than anybody reads."""
    return float(f"{value:.6g}")
