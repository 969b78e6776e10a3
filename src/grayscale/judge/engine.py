"""The judge's one step: `advance(state, interval) -> (state, verdict)`.

Read from `advance` downwards: check, learn, weigh, say.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import replace

from grayscale.judge.blame import stable_near_limit, with_slot
from grayscale.judge.checks import check_interval
from grayscale.judge.gates import ERROR_LIMIT, Gate, counts_of, gates_of, rate_of
from grayscale.judge.health import NO_HEALTH, with_interval, without_absolute
from grayscale.judge.state import NOTHING, Counts, GateState, Health, JudgeState
from grayscale.judge.values import Arm, Interval, Outcome, Settings, Verdict
from grayscale.judge.verdicts import judged, stale


def start(settings: Settings | None = None) -> JudgeState:
    """The judge before a release's first interval."""
    chosen = settings or Settings()
    gates = tuple(gate.start() for gate in gates_of(chosen))
    return JudgeState(settings=chosen, gates=gates, health=NO_HEALTH)


def advance(state: JudgeState, interval: Interval) -> tuple[JudgeState, Verdict]:
    """Judge one more interval; raises JudgeInputError for counters that cannot be true.

    A harmful verdict stays: nothing that comes after it can take it back.
    """
    check_interval(state, interval)
    if state.harm is not None:
        return replace(state, last_id=interval.id), state.harm
    if not interval.fresh:
        return replace(state, last_id=interval.id), stale(interval)
    gates = gates_of(state.settings)
    learnt = _learn(_entered(state, interval), interval, gates)
    verdict = judged(learnt, interval, gates)
    if verdict.outcome is Outcome.HARMFUL:
        learnt = replace(learnt, harm=verdict)
    return learnt, verdict


def _entered(state: JudgeState, interval: Interval) -> JudgeState:
    """At a new weight health is shown anew, and only the same weight's minutes are compared."""
    if (state.step, state.weight_percent) == (interval.step, interval.weight_percent):
        return state
    return replace(
        state,
        step=interval.step,
        weight_percent=interval.weight_percent,
        gates=tuple(replace(gate, step=NOTHING, pending_seconds=0.0) for gate in state.gates),
        health=NO_HEALTH,
        slots=(),
    )


def _learn(state: JudgeState, interval: Interval, gates: tuple[Gate, ...]) -> JudgeState:
    """The state with everything that the interval says."""
    candidate = interval.candidate
    exposed = _exposed(state, interval)
    candidate_total = max(candidate.requests - state.debt, candidate.errors)
    counted = [
        counts_of(gate, interval, state.histogram, candidate_total=candidate_total)
        for gate in gates
    ]
    slots = with_slot(state.slots, interval, tuple(counts or NOTHING for counts in counted))
    moved = replace(state, slots=slots, seconds=state.seconds + interval.seconds)
    return replace(
        moved,
        last_id=interval.id,
        gates=tuple(
            _weighed(moved, index, gate, counts, exposed=exposed, seconds=interval.seconds)
            for index, (gate, counts) in enumerate(zip(gates, counted, strict=True))
        ),
        health=_health(moved, interval, gates[ERROR_LIMIT], exposed),
        open_stable=_still_open(state.open_stable, interval.stable),
        open_candidate=_still_open(state.open_candidate, interval.candidate),
        debt=state.debt + candidate_total - candidate.requests,
        histogram=_added(state.histogram, interval.stable.latency_counts),
    )


def _weighed(
    state: JudgeState,
    index: int,
    gate: Gate,
    counts: Counts | None,
    *,
    exposed: tuple[float, float],
    seconds: float,
) -> GateState:
    """One gate after an interval; evidence for an absolute limit is dropped while stable is sick."""
    before = state.gates[index]
    if counts is None:
        return before
    seen = replace(before, total=before.total.plus(counts), measured=True)
    if gate.about_latency and state.seconds <= state.settings.latency_warmup_seconds:
        return seen
    if stable_near_limit(gate, index, state.slots):
        return replace(seen, process=gate.start().process, step=NOTHING, pending_seconds=0.0)
    at_risk = (counts.stable, counts.candidate) if gate.among_own else exposed
    after = gate.weighed(replace(seen, step=seen.step.plus(counts)), counts, at_risk)
    enough = after.process.value >= 1 / state.settings.alpha
    return replace(after, pending_seconds=after.pending_seconds + seconds if enough else 0.0)


def _health(
    state: JudgeState, interval: Interval, gate: Gate, exposed: tuple[float, float]
) -> Health:
    """Failures while stable is beyond the limit itself say nothing about the candidate."""
    health = with_interval(
        state.health,
        stable=interval.stable,
        candidate=interval.candidate,
        exposed=exposed,
        limit=rate_of(state.settings.error_threshold_percent),
    )
    sick = stable_near_limit(gate, ERROR_LIMIT, state.slots, share=1.0)
    return without_absolute(health) if sick else health


def _exposed(state: JudgeState, interval: Interval) -> tuple[float, float]:
    """(stable, candidate) requests that could fail in this interval: new ones, and open ones."""
    stable = sum(slot.stable for slot in state.slots)
    candidate = sum(slot.candidate for slot in state.slots)
    return (
        interval.stable.requests + min(state.open_stable, stable),
        interval.candidate.requests + min(state.open_candidate, candidate),
    )


def _still_open(before: int, arm: Arm) -> int:
    if not arm.latency_counts:
        return 0
    return before + arm.requests - arm.errors - sum(arm.latency_counts)


def _added(histogram: tuple[int, ...], latencies: Sequence[int]) -> tuple[int, ...]:
    if not latencies:
        return histogram
    return tuple(map(operator.add, histogram, latencies))
