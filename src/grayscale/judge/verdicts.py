"""From evidence to one of three answers, with its cause."""

from __future__ import annotations

import operator
from typing import Any, NamedTuple

from grayscale.judge import sentences
from grayscale.judge.blame import Recent
from grayscale.judge.gates import RULE, Gate, GateSet
from grayscale.judge.health import NEEDED_E_VALUE, below_limit, not_doubled
from grayscale.judge.state import GateState, JudgeState
from grayscale.judge.values import Cause, Interval, Outcome, Verdict

_SUSPICION = 0.25  # of the evidence that makes harmful: more than that is not healthy either


class Weighed(NamedTuple):
    """A gate with what it says, and its part of the combined evidence.

    While the candidate is not to blame the e-value counts as 1.
    """

    gate: Gate
    state: GateState
    e_value: float
    blamed: bool
    capital: float


def judged(state: JudgeState, interval: Interval, gates: GateSet, recent: Recent) -> Verdict:
    """The verdict on what the state has learnt, this interval included.

    The evidence is the weighted mean of the gates' e-values: an e-value, however they depend on
    each other (Vovk & Wang, 2021).
    """
    weighed = _all_weighed(state, gates, recent)
    combined = sum([one.capital for one in weighed])
    absolute, relative = below_limit(state.health), not_doubled(state.health)
    healthy = max(absolute, relative)
    evidence = _evidence(state, weighed, combined, healthy)
    if combined * state.settings.alpha >= 1:
        leading = max(weighed, key=lambda one: one.capital)
        sentence = sentences.harmful(state, leading.gate, leading.state, combined)
        return Verdict(Outcome.HARMFUL, Cause.CANDIDATE, sentence, evidence)
    obstacle = _split_or_upstream(state, interval, gates, recent)
    if obstacle is not None:
        cause, sentence = obstacle
        return Verdict(Outcome.INCONCLUSIVE, cause, sentence, evidence)
    lacking = _lacking(state, gates, combined, healthy)
    if lacking is not None:
        return Verdict(Outcome.INCONCLUSIVE, Cause.NOT_ENOUGH_DATA, lacking, evidence)
    return Verdict(Outcome.HEALTHY, None, sentences.healthy(state, absolute, relative), evidence)


def stale(interval: Interval) -> Verdict:
    """The verdict on an interval whose counters are not complete."""
    sentence = sentences.stale(interval)
    return Verdict(Outcome.INCONCLUSIVE, Cause.STALE_METRICS, sentence, {})


def _all_weighed(state: JudgeState, gates: GateSet, recent: Recent) -> list[Weighed]:
    """The gates that have counted anything, and all of the plan's."""
    return [
        _weighed(state, gates, recent, at)
        for at, (gate, own) in enumerate(zip(gates.gates, state.gates, strict=True))
        if own.measured or gate.of_plan
    ]


def _weighed(state: JudgeState, gates: GateSet, recent: Recent, at: int) -> Weighed:
    """Relative evidence blames by itself; absolute evidence does after a comparison."""
    gate, own = gates.gates[at], state.gates[at]
    e_value, stake = own.process.value, own.stake or 0.0
    blamed = (
        not gate.absolute
        or e_value <= 1
        or state.weight_percent >= 100
        or recent.candidate_to_blame(
            at, gate, own, sticky=_among_callers(state, gates, gate), history=state.history
        )
    )
    return Weighed(gate, own, e_value, blamed, capital=stake * e_value if blamed else stake)


def _among_callers(state: JudgeState, gates: GateSet, gate: Gate) -> float | None:
    """What the comparison of callers says of a limit on failures or latencies; None without any."""
    if not state.gates[gates.place["callers"]].measured:
        return None
    compared = ("latency", "p95") if gate.settles else ("errors", "callers")
    return max(state.gates[gates.place[name]].process.value for name in compared)


def _split_or_upstream(
    state: JudgeState, interval: Interval, gates: GateSet, recent: Recent
) -> tuple[Cause, str] | None:
    """What makes the comparison worthless for now, the gravest first."""
    if not interval.split_verified:
        return Cause.SPLIT_MISMATCH, sentences.unverified(state)
    if recent.other_split(state.weight_percent):
        sentence = sentences.other_split(state, *recent.started)
        return Cause.SPLIT_MISMATCH, sentence
    for at in gates.absolute:
        gate = gates.gates[at]
        if recent.near_limit(at, gate, share=1.0):
            return Cause.UPSTREAM, sentences.upstream(state, gate, recent.everything(at))
    return None


def _lacking(state: JudgeState, gates: GateSet, combined: float, healthy: float) -> str | None:
    """The evidence that is still missing, as a sentence."""
    if state.health.resolved < state.settings.min_requests:
        return sentences.too_few(state)
    for at in gates.rules:
        if not state.gates[at].measured:
            return sentences.unmeasured(state, gates.gates[at])
    if combined * state.settings.alpha >= _SUSPICION:
        return sentences.suspicious(state, combined)
    for at in gates.absolute:
        gate, step = gates.gates[at], state.gates[at].step
        limit = gate.limit_rate
        if limit is not None and gate.weight and step.candidate_rate > limit:
            return sentences.above_limit(state, gate, step)
    return sentences.not_excluded(state) if healthy < NEEDED_E_VALUE else None


def _evidence(
    state: JudgeState, weighed: list[Weighed], combined: float, healthy: float
) -> dict[str, Any]:
    """All numbers behind a verdict, as JSON."""
    needed = 1 / state.settings.alpha
    return {
        "e_value": combined,
        "needed_e_value": needed,
        "health_e_value": healthy,
        "needed_health_e_value": NEEDED_E_VALUE,
        "candidate_requests": state.health.resolved,
        "needed_requests": state.settings.min_requests,
        "rules_broken": [
            one.gate.name[len(RULE) :]
            for one in weighed
            if one.gate.of_plan and one.blamed and one.e_value >= needed
        ],
        "gates": {one.gate.name: _gate_evidence(one) for one in weighed},
    }


def _gate_evidence(one: Weighed) -> dict[str, Any]:
    gate, own, e_value, blamed, _ = one
    limit_rate = gate.limit_rate
    return {
        "e_value": e_value,
        "blamed": blamed,
        "measured": own.measured,
        "share": own.stake or 0.0,
        "limit_percent": None if limit_rate is None else limit_rate * 100,
        "step": _counts(*map(operator.sub, own.total, own.before)),
        "total": _counts(*own.total),
    }


def _counts(
    stable_bad: int, stable: int, candidate_bad: int, candidate: int
) -> dict[str, dict[str, int]]:
    return {
        "stable": {"bad": stable_bad, "all": stable},
        "candidate": {"bad": candidate_bad, "all": candidate},
    }
