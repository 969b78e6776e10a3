"""The judge's one step: `advance(state, interval) -> (state, verdict)`.

Read from `advance` downwards: check, learn, weigh, say.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from grayscale.judge.blame import Recent, with_slot
from grayscale.judge.checks import check_interval
from grayscale.judge.gates import Gate, GateSet, Given, gate_set, rate_of
from grayscale.judge.health import NO_HEALTH, with_interval, without_absolute
from grayscale.judge.measures import LATENCY, View
from grayscale.judge.state import NOTHING, Counts, GateState, Health, JudgeState, Slot
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
    check_interval(state, interval)
    if state.harm is not None:
        return replace(state, last_id=interval.id), state.harm
    if not interval.fresh:
        return replace(state, last_id=interval.id), stale(interval)
    gates = gate_set(state.settings)
    learnt, recent = _learn(_entered(state, interval), interval, gates)
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
        slots=(),
    )


class _Look(NamedTuple):
    """One interval as everybody below needs it; `counted` and `apart` go with the gates."""

    interval: Interval
    view: View
    gates: GateSet
    counted: Sequence[Counts | None]
    apart: Sequence[Counts | None]
    recent: Recent


def _learn(state: JudgeState, interval: Interval, gates: GateSet) -> tuple[JudgeState, Recent]:
    """The state with everything that the interval says, and its last two minutes."""
    view = _view(state, interval)
    counted = [gate.measure.counts(view) for gate in gates.gates]
    apart = _apart(interval, view, gates, counted)
    slots = with_slot(state.slots, _slot(interval, view, gates, counted, apart))
    recent = Recent.of(slots, gates.absolute)
    look = _Look(interval, view, gates, counted, apart, recent)
    stable, candidate = view.independent
    errors, requests = interval.stable.errors, interval.stable.requests
    learnt = replace(
        state,
        last_id=interval.id,
        slots=slots,
        seconds=state.seconds + interval.seconds,
        gates=_gates(state, look),
        health=_health(state, look),
        open_stable=_still_open(state.open_stable, stable),
        open_candidate=_still_open(state.open_candidate, candidate),
        debt=state.debt + view.candidate_total - interval.candidate.requests,
        histograms=_added(view, interval.stable),
        history=state.history.after(interval.seconds, errors, requests),
    )
    return learnt, recent


def _view(state: JudgeState, interval: Interval) -> View:
    stable, candidate = interval.independent or (interval.stable, interval.candidate)
    return View(
        everything=(interval.stable, interval.candidate),
        independent=(stable, candidate),
        candidate_total=max(interval.candidate.requests - state.debt, interval.candidate.errors),
        past=state.histograms,
    )


def _apart(
    interval: Interval, view: View, gates: GateSet, counted: Sequence[Counts | None]
) -> Sequence[Counts | None]:
    """What absolute gates count among the independent requests alone."""
    if interval.independent is None:
        return counted
    alone = replace(view, everything=view.independent)
    return [gate.measure.counts(alone) if gate.absolute else None for gate in gates.gates]


def _slot(
    interval: Interval,
    view: View,
    gates: GateSet,
    counted: Sequence[Counts | None],
    apart: Sequence[Counts | None],
) -> Slot:
    stable, candidate = view.independent
    sums = [_started(stable), _started(candidate), stable.requests, candidate.requests]
    for at in gates.absolute:
        sums += counted[at] or NOTHING
        sums += apart[at] or NOTHING
    return Slot(interval.seconds, tuple(sums))


def _started(arm: Arm) -> int:
    return arm.requests + arm.rejected + arm.client_gone


def _gates(state: JudgeState, look: _Look) -> tuple[GateState, ...]:
    """Every gate after the interval; those with something to say for the first time get a stake."""
    speaking = [
        counts is not None and _speaks(state, look, gate, before, counts)
        for gate, before, counts in zip(look.gates.gates, state.gates, look.counted, strict=True)
    ]
    staked = _staked(look.gates.gates, state.gates, speaking)
    return tuple(
        [
            before if look.counted[at] is None else _weighed(state, look, at, before, speaking[at])
            for at, before in enumerate(staked)
        ]
    )


def _speaks(state: JudgeState, look: _Look, gate: Gate, before: GateState, counts: Counts) -> bool:
    """Whether a gate's counts may be weighed: warmed up, its signal known, its limit in force."""
    seconds = state.seconds + look.interval.seconds
    if gate.settles and seconds <= state.settings.latency_warmup_seconds:
        return False
    if gate.kind == "history":
        in_force = state.weight_percent > _CONTROL_IS_SMALL_PERCENT
        return in_force and state.history.limit_rate is not None
    if gate.absolute:
        return counts.candidate > 0
    if before.stake is None and before.total.stable + counts.stable == 0:
        return False
    heard = before.stake is not None or counts.stable_bad + counts.candidate_bad > 0
    return heard or gate.name == "errors"


def _staked(
    gates: tuple[Gate, ...], states: tuple[GateState, ...], speaking: Sequence[bool]
) -> tuple[GateState, ...]:
    """The capital, shared out anew by weight when gates speak for the first time.

    Shares are fixed before the interval is looked at, and add up to what there was: the capital
    stays a fair bet. What has been gained by then is not shared. The gate for what only shows at
    full weight gets its share with the first: later there would be less.
    """
    if all(s.stake is not None for s, speaks in zip(states, speaking, strict=True) if speaks):
        return states
    new = [
        state.stake is None and (speaks or (gate.kind == "history" and any(speaking)))
        for gate, state, speaks in zip(gates, states, speaking, strict=True)
    ]
    old_weight = sum(g.weight for g, s in zip(gates, states, strict=True) if s.stake is not None)
    weight = old_weight + sum(g.weight for g, is_new in zip(gates, new, strict=True) if is_new)
    capital = sum((s.stake or 0.0) * s.process.value for s in states) if old_weight else 1.0
    shared = min(capital, 1.0) / weight if weight else 0.0  # per unit of weight
    kept = (capital - shared * (weight - old_weight)) / capital
    return tuple(
        state._replace(stake=shared * gate.weight)
        if is_new
        else (state if state.stake is None else state._replace(stake=state.stake * kept))
        for gate, state, is_new in zip(gates, states, new, strict=True)
    )


def _weighed(
    state: JudgeState,
    look: _Look,
    at: int,
    before: GateState,
    speaks: bool,  # noqa: FBT001
) -> GateState:
    """One gate after an interval; evidence for an absolute limit is dropped while stable is sick."""
    gate, counts = look.gates.gates[at], look.counted[at] or NOTHING
    total = before.total.plus(counts)
    noise = before.noise if gate.absolute else before.noise.after(counts.stable_bad, counts.stable)
    if not speaks:
        warming = before._replace(total=total, noise=noise)
        return warming._replace(before=total) if gate.settles else warming
    if gate.absolute and look.recent.near_limit(at, gate):
        return _dropped(gate, before._replace(total=total))
    given = Given(look.view, look.recent.requests, state.history.limit_rate)
    # The dispersion that counts is the past's: an interval must not choose its own weight.
    process = gate.process_after(before, counts, given)
    pending, pending_seconds = NOTHING, 0.0
    if gate.absolute and process.value >= _suspicion(state, gate):
        pending = before.pending.plus(look.apart[at] or NOTHING)
        pending_seconds = before.pending_seconds + look.interval.seconds
    return GateState(process, before.stake, total, before.before, pending_seconds, pending, noise)


def _suspicion(state: JudgeState, gate: Gate) -> float:
    """The evidence from which on stable is watched, to know whom to blame."""
    return _HISTORY_SUSPICION if gate.kind == "history" else 1 / state.settings.alpha


def _dropped(gate: Gate, state: GateState) -> GateState:
    """A gate without its evidence, which may have been against it."""
    stake = None if state.stake is None else state.stake * min(1.0, state.process.value)
    process = gate.start().process
    return GateState(process, stake, total=state.total, before=state.total, noise=state.noise)


def _health(state: JudgeState, look: _Look) -> Health:
    """Failures while stable is beyond the limit itself say nothing about the candidate."""
    health = with_interval(
        state.health,
        candidate=look.interval.candidate,
        independent=look.view.independent,
        at_risk=look.recent.requests,
        limit=rate_of(state.settings.error_threshold_percent),
    )
    at = look.gates.place["error_limit"]
    sick = look.recent.near_limit(at, look.gates.gates[at], share=1.0)
    return without_absolute(health) if sick else health


def _still_open(before: int, arm: Arm) -> int:
    if not arm.latency_counts:
        return 0
    return max(before + arm.requests - arm.errors - sum(arm.latency_counts), 0)


def _added(view: View, stable: Arm) -> Mapping[str, tuple[int, ...]]:
    added = {**view.past}
    for name in (LATENCY, *stable.histograms):
        cumulated = view.cumulated(stable, name)
        if cumulated:
            before = added.get(name)
            added[name] = tuple(
                cumulated if before is None else map(operator.add, before, cumulated)
            )
    return added
