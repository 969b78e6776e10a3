"""The judge's one step: `advance(state, interval) -> (state, verdict)`.

Read from `advance` downwards: check, learn, weigh, say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

from grayscale.judge.blame import Recent, with_mark
from grayscale.judge.checks import checked
from grayscale.judge.gates import Gate, GateSet, Given, HistoryGate, gate_set, rate_of
from grayscale.judge.health import NO_HEALTH, with_interval, without_absolute
from grayscale.judge.measures import Side, Sides, View
from grayscale.judge.past import Past
from grayscale.judge.state import NOTHING, Counts, GateState, Health, JudgeState
from grayscale.judge.values import Arm, Interval, Outcome, Settings, Verdict
from grayscale.judge.verdicts import judged, stale

_CONTROL_IS_SMALL_PERCENT = 50.0
_HISTORY_SUSPICION = 3.0


def start(settings: Settings | None = None) -> JudgeState:
    """The judge before a release's first interval."""
    chosen = settings or Settings()
    gates = tuple(gate.start() for gate in gate_set(chosen).gates)
    return JudgeState(settings=chosen, gates=gates, health=NO_HEALTH)


def advance(state: JudgeState, interval: Interval) -> tuple[JudgeState, Verdict]:
    """Judge one more interval; raises JudgeInputError for counters that cannot be true.

    A harmful verdict stays: nothing that comes after it can take it back.
    """
    sides = checked(state, interval)
    if state.harm is not None:
        return replace(state, last_id=interval.id), state.harm
    if not interval.fresh:
        return replace(state, last_id=interval.id), stale(interval)
    gates = gate_set(state.settings)
    learnt, recent = _learn(_entered(state, interval), interval, sides, gates)
    verdict = judged(learnt, interval, gates, recent)
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
        gates=tuple(
            gate._replace(before=gate.total, pending=NOTHING, pending_seconds=0.0)
            for gate in state.gates
        ),
        health=NO_HEALTH,
        marks=(),
    )


class _Look(NamedTuple):
    """One interval as everybody below needs it.

    `counted` and, of the independent requests alone, `apart` are by the places of gates.
    """

    interval: Interval
    gates: GateSet
    given: Given
    counted: Mapping[int, Counts]
    apart: Mapping[int, Counts]
    recent: Recent


def _learn(
    state: JudgeState, interval: Interval, sides: tuple[Sides, Sides], gates: GateSet
) -> tuple[JudgeState, Recent]:
    """The state with everything that the interval says, and its last two minutes."""
    everything, independent = sides
    its = interval.candidate
    candidate_total = max(its.requests - state.debt, its.errors)
    view = View(everything, independent, candidate_total, state.histograms)
    counted = _counted(enumerate(gates.gates), view)
    apart = counted if independent is everything else _apart(gates, view)
    marks = with_mark(state.marks, interval.seconds, _sums(view, gates, counted, apart))
    recent = Recent.of(marks, gates.absolute)
    look = _Look(interval, gates, _given(state, interval, view, recent), counted, apart, recent)
    errors, requests = interval.stable.errors, interval.stable.requests
    learnt = JudgeState(
        settings=state.settings,
        gates=_gates(state, look),
        health=_health(state, look),
        last_id=interval.id,
        step=state.step,
        weight_percent=state.weight_percent,
        seconds=state.seconds + interval.seconds,
        open_stable=_still_open(state.open_stable, independent[0]),
        open_candidate=_still_open(state.open_candidate, independent[1]),
        debt=state.debt + candidate_total - its.requests,
        histograms=_added(state.histograms, everything[0]),
        history=state.history.after(interval.seconds, errors, requests),
        marks=marks,
    )
    return learnt, recent


def _counted(gates: Iterable[tuple[int, Gate]], view: View) -> dict[int, Counts]:
    """What those gates count that have something to count, by their places."""
    return {at: counts for at, gate in gates if (counts := gate.measure.counts(view)) is not None}


def _apart(gates: GateSet, view: View) -> dict[int, Counts]:
    """What absolute gates count among the independent requests alone."""
    alone = view._replace(everything=view.independent)
    return _counted(((at, gates.gates[at]) for at in gates.absolute), alone)


def _sums(
    view: View, gates: GateSet, counted: Mapping[int, Counts], apart: Mapping[int, Counts]
) -> list[int]:
    """What is remembered of an interval for two minutes, laid out as Recent says."""
    stable, candidate = [side.arm for side in view.independent]
    sums = [_started(stable), _started(candidate), stable.requests, candidate.requests]
    for at in gates.absolute:
        sums += counted.get(at, NOTHING)
        sums += apart.get(at, NOTHING)
    return sums


def _started(arm: Arm) -> int:
    return arm.requests + arm.rejected + arm.client_gone


def _given(state: JudgeState, interval: Interval, view: View, recent: Recent) -> Given:
    in_force = state.weight_percent > _CONTROL_IS_SMALL_PERCENT
    return Given(
        view,
        at_risk=recent.requests,
        history_rate=state.history.limit_rate if in_force else None,
        warm=state.seconds + interval.seconds > state.settings.latency_warmup_seconds,
        sticky=interval.independent is not None,
    )


def _gates(state: JudgeState, look: _Look) -> tuple[GateState, ...]:
    """Every gate after the interval; those with something to say for the first time get a stake."""
    gates, given = look.gates.gates, look.given
    speaking = {
        at
        for at, counts in look.counted.items()
        if gates[at].speaks(state.gates[at], counts, given)
    }
    after = _staked(gates, state.gates, speaking)
    for at, counts in look.counted.items():
        gate, before = gates[at], after[at]
        if at not in speaking:
            after[at] = gate.counted(before, counts)
        elif gate.absolute:
            after[at] = _limited(state, look, at, before)
        else:
            after[at] = gate.weighed(before, counts, given)
    return tuple(after)


def _staked(
    gates: tuple[Gate, ...], states: tuple[GateState, ...], speaking: set[int]
) -> list[GateState]:
    """The capital, shared out anew by weight when gates speak for the first time.

    Shares are fixed before the interval is looked at, and add up to what there was: the capital
    stays a fair bet. What has been gained by then is not shared. The gate for what only shows at
    full weight gets its share with the first: later there would be less.
    """
    if all(states[at].stake is not None for at in speaking):
        return list(states)
    new = [
        state.stake is None and (at in speaking or gate.early)
        for at, (gate, state) in enumerate(zip(gates, states, strict=True))
    ]
    old_weight = sum(g.weight for g, s in zip(gates, states, strict=True) if s.stake is not None)
    weight = old_weight + sum(g.weight for g, is_new in zip(gates, new, strict=True) if is_new)
    capital = sum((s.stake or 0.0) * s.process.value for s in states) if old_weight else 1.0
    shared = min(capital, 1.0) / weight if weight else 0.0  # per unit of weight
    kept = (capital - shared * (weight - old_weight)) / capital
    return [
        state._replace(stake=shared * gate.weight)
        if is_new
        else (state if state.stake is None else state._replace(stake=state.stake * kept))
        for gate, state, is_new in zip(gates, states, new, strict=True)
    ]


def _limited(state: JudgeState, look: _Look, at: int, before: GateState) -> GateState:
    """An absolute gate after an interval; its evidence is dropped while stable is sick."""
    gate, counts = look.gates.gates[at], look.counted[at]
    if look.recent.near_limit(at, gate):
        return _dropped(gate, gate.counted(before, counts))
    after = gate.weighed(before, counts, look.given)
    if after.process.value < _suspicion(state, gate):
        return after
    return after._replace(
        pending=before.pending.plus(look.apart.get(at, NOTHING)),
        pending_seconds=before.pending_seconds + look.interval.seconds,
    )


def _suspicion(state: JudgeState, gate: Gate) -> float:
    """The evidence from which on stable is watched, to know whom to blame."""
    return _HISTORY_SUSPICION if isinstance(gate, HistoryGate) else 1 / state.settings.alpha


def _dropped(gate: Gate, state: GateState) -> GateState:
    """A gate without its evidence, which may have been against it."""
    stake = None if state.stake is None else state.stake * min(1.0, state.process.value)
    process = gate.start().process
    return GateState(process, stake, total=state.total, before=state.total, noise=state.noise)


def _health(state: JudgeState, look: _Look) -> Health:
    """Failures while stable is beyond the limit itself say nothing about the candidate."""
    stable, candidate = look.given.view.independent
    health = with_interval(
        state.health,
        candidate=look.interval.candidate,
        independent=(stable.arm, candidate.arm),
        at_risk=look.recent.requests,
        limit=rate_of(state.settings.error_threshold_percent),
    )
    at = look.gates.place["error_limit"]
    sick = look.recent.near_limit(at, look.gates.gates[at], share=1.0)
    return without_absolute(health) if sick else health


def _still_open(before: int, side: Side) -> int:
    answers = side.answers
    if answers is None:
        return 0
    return max(before + side.arm.requests - side.arm.errors - answers, 0)


def _added(past: Mapping[str, Past], stable: Side) -> Mapping[str, Past]:
    """Stable's histograms with one more interval."""
    new = {name: past.get(name, Past()).after(heights) for name, heights in stable.heights.items()}
    return {**past, **new}
