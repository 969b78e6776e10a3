"""From evidence to one of three answers, with its cause."""

from __future__ import annotations

from typing import Any, NamedTuple

from grayscale.judge import sentences
from grayscale.judge.blame import Recent
from grayscale.judge.gates import RULE, Gate
from grayscale.judge.health import NEEDED_E_VALUE, below_limit, hanging, not_doubled
from grayscale.judge.layout import GateSet
from grayscale.judge.state import Counts, JudgeState, counts_in
from grayscale.judge.values import Cause, Interval, Outcome, Verdict

_SUSPICION = 0.25  # of the evidence that makes harmful: more than that is not healthy either


class Weighed(NamedTuple):
    """What all gates say together, which of them says most, and the numbers of each.

    `combined` is the weighted mean of the gates' e-values: an e-value, however they depend on each
    other (Vovk & Wang, 2021).
    """

    combined: float
    leading: int
    gates: dict[str, Any]
    rules_broken: list[str]


def judged(state: JudgeState, interval: Interval, gates: GateSet, recent: Recent) -> Verdict:
    """The verdict on what the state has learnt, this interval included."""
    weighed = _weighed(state, gates, recent)
    combined = weighed.combined
    absolute, relative = below_limit(state.health), not_doubled(state.health)
    healthy = max(absolute, relative)
    evidence = _evidence(state, weighed, healthy)
    if combined * state.settings.alpha >= 1:
        gate, slot = gates.gates[weighed.leading], gates.slots[weighed.leading]
        sentence = sentences.harmful(state, gate, slot, combined)
        return Verdict(Outcome.HARMFUL, Cause.CANDIDATE, sentence, evidence)
    obstacle = _split_or_upstream(state, interval, gates, recent)
    if obstacle is not None:
        cause, sentence = obstacle
        return Verdict(Outcome.INCONCLUSIVE, cause, sentence, evidence)
    failures = state.in_step(gates.slots[gates.place["error_limit"]])
    lacking = _lacking(state, gates, failures, combined, healthy)
    if lacking is not None:
        return Verdict(Outcome.INCONCLUSIVE, Cause.NOT_ENOUGH_DATA, lacking, evidence)
    sentence = sentences.healthy(state, failures, absolute, relative)
    return Verdict(Outcome.HEALTHY, None, sentence, evidence)


def stale(interval: Interval) -> Verdict:
    """The verdict on an interval whose counters are not complete."""
    sentence = sentences.stale(interval)
    return Verdict(Outcome.INCONCLUSIVE, Cause.STALE_METRICS, sentence, {})


def _weighed(state: JudgeState, gates: GateSet, recent: Recent) -> Weighed:
    """The gates that have ever had something to say, and all of the plan's.

    Relative evidence blames by itself; absolute evidence does after a comparison. While the
    candidate is not to blame its e-value counts as 1.
    """
    combined = most = 0.0
    leading, found, broken = 0, {}, []
    for at, (process, stake, _, _) in enumerate(state.gates):
        gate = gates.gates[at]
        if stake is None and not gate.of_plan:
            continue
        share, e_value = stake or 0.0, process.value
        blamed = not gate.absolute or e_value <= 1 or _to_blame(state, gates, recent, at)
        capital = share * e_value if blamed else share
        combined += capital
        if capital > most:
            most, leading = capital, at
        if gate.of_plan and blamed and e_value * state.settings.alpha >= 1:
            broken.append(gate.name[len(RULE) :])
        found[gate.name] = _numbers(state, gate, gates.slots[at], e_value, share, blamed=blamed)
    return Weighed(combined, leading, found, broken)


def _numbers(
    state: JudgeState, gate: Gate, slot: int, e_value: float, share: float, *, blamed: bool
) -> dict[str, Any]:
    """A gate's evidence, as JSON: what it has counted in the release and in this step, too."""
    entered = state.entered_totals
    stable_bad, stable, candidate_bad, candidate = state.totals[slot : slot + 4]
    return {
        "e_value": e_value,
        "blamed": blamed,
        "share": share,
        "limit_percent": None if gate.limit_rate is None else gate.limit_rate * 100,
        "measured": stable > 0 or candidate > 0,
        "step": {
            "stable": {"bad": stable_bad - entered[slot], "all": stable - entered[slot + 1]},
            "candidate": {
                "bad": candidate_bad - entered[slot + 2],
                "all": candidate - entered[slot + 3],
            },
        },
        "total": {
            "stable": {"bad": stable_bad, "all": stable},
            "candidate": {"bad": candidate_bad, "all": candidate},
        },
    }


def _to_blame(state: JudgeState, gates: GateSet, recent: Recent, at: int) -> bool:
    """Whether what an absolute gate has seen is the candidate's fault."""
    if state.weight_percent >= 100:
        return True
    sticky = _among_callers(state, gates, gates.gates[at])
    return recent.candidate_to_blame(at, state, sticky=sticky)


def _among_callers(state: JudgeState, gates: GateSet, gate: Gate) -> float | None:
    """What the comparison of callers says of a limit on failures or latencies; None without any."""
    callers = counts_in(gates.slots[gates.place["callers"]], state.totals)
    if not any(callers):
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
        if recent.near_limit(at, share=1.0):
            counts = recent.everything(at)
            return Cause.UPSTREAM, sentences.upstream(state, gates.gates[at], counts)
    return None


def _lacking(
    state: JudgeState, gates: GateSet, failures: Counts, combined: float, healthy: float
) -> str | None:
    """The evidence that is still missing, as a sentence."""
    if state.health.resolved < state.settings.min_requests:
        return sentences.too_few(state)
    if hanging(state.health):
        return sentences.hanging(state)
    for at in gates.rules:
        if not any(counts_in(gates.slots[at], state.totals)):
            return sentences.unmeasured(state, gates.gates[at])
    if combined * state.settings.alpha >= _SUSPICION:
        return sentences.suspicious(state, failures, combined)
    for at in gates.absolute:
        gate = gates.gates[at]
        if gate.limit_rate is None or not gate.weight:
            continue
        slot, totals, entered = gates.slots[at], state.totals, state.entered_totals
        bad, requests = totals[slot + 2] - entered[slot + 2], totals[slot + 3] - entered[slot + 3]
        if bad > gate.limit_rate * requests:
            return sentences.above_limit(state, gate, state.in_step(slot))
    return sentences.not_excluded(state, failures) if healthy < NEEDED_E_VALUE else None


def _evidence(state: JudgeState, weighed: Weighed, healthy: float) -> dict[str, Any]:
    """All numbers behind a verdict, as JSON."""
    return {
        "e_value": weighed.combined,
        "needed_e_value": 1 / state.settings.alpha,
        "health_e_value": healthy,
        "needed_health_e_value": NEEDED_E_VALUE,
        "candidate_requests": state.health.resolved,
        "needed_requests": state.settings.min_requests,
        "rules_broken": weighed.rules_broken,
        "gates": weighed.gates,
    }
