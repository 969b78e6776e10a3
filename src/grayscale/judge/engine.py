"""The judge's one step: `advance(state, interval) -> (state, verdict)`.

Read from `advance` downwards: check, learn, weigh, say.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from grayscale.judge.blame import Recent, with_slot
from grayscale.judge.checks import check_interval
from grayscale.judge.gates import Gate, Given, gates_of, rate_of
from grayscale.judge.health import NO_HEALTH, with_interval, without_absolute
from grayscale.judge.measures import LATENCY, Past, View, histogram_of
from grayscale.judge.state import NOTHING, Counts, GateState, Health, JudgeState, Slot
from grayscale.judge.values import Arm, Interval, Outcome, Settings, Verdict
from grayscale.judge.verdicts import judged, stale

_CONTROL_IS_SMALL_PERCENT = 50.0
_SUSPICION = 3.0  # the evidence from which on stable is watched for what only shows at full weight


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
            replace(gate, step=NOTHING, pending=NOTHING, pending_seconds=0.0)
            for gate in state.gates
        ),
        health=NO_HEALTH,
        slots=(),
    )


@dataclass(frozen=True, slots=True)
class _Look:
    """One interval as everybody below needs it; `counted` goes with `gates`, `apart` is a slot's."""

    interval: Interval
    view: View
    gates: tuple[Gate, ...]
    counted: Sequence[Counts | None]
    apart: Mapping[str, Counts]
    recent: Recent


def _learn(
    state: JudgeState, interval: Interval, gates: tuple[Gate, ...]
) -> tuple[JudgeState, Recent]:
    """The state with everything that the interval says, and its last two minutes."""
    view = _view(state, interval)
    counted = [gate.measure.counts(view) for gate in gates]
    slot = _slot(interval, view, gates, counted)
    slots = with_slot(state.slots, slot)
    look = _Look(interval, view, gates, counted, slot.apart, Recent.of(slots))
    moved = replace(state, slots=slots, seconds=state.seconds + interval.seconds)
    stable, candidate = view.independent
    errors, requests = interval.stable.errors, interval.stable.requests
    learnt = replace(
        moved,
        last_id=interval.id,
        gates=_gates(moved, look),
        health=_health(moved, look),
        open_stable=_still_open(state.open_stable, stable),
        open_candidate=_still_open(state.open_candidate, candidate),
        debt=state.debt + view.candidate_total - interval.candidate.requests,
        histograms=_added(state.histograms, interval.stable),
        history=state.history.after(interval.seconds, errors, requests),
    )
    return learnt, look.recent


def _view(state: JudgeState, interval: Interval) -> View:
    stable, candidate = interval.independent or (interval.stable, interval.candidate)
    return View(
        everything=(interval.stable, interval.candidate),
        independent=(stable, candidate),
        candidate_total=max(interval.candidate.requests - state.debt, interval.candidate.errors),
        past=Past(state.histograms),
    )


def _slot(
    interval: Interval, view: View, gates: tuple[Gate, ...], counted: Sequence[Counts | None]
) -> Slot:
    limits = {
        gate.name: counts
        for gate, counts in zip(gates, counted, strict=True)
        if gate.absolute and counts is not None
    }
    apart = limits
    if interval.independent is not None:
        alone = replace(view, everything=view.independent)
        alone_counts = {gate.name: gate.measure.counts(alone) for gate in gates if gate.absolute}
        apart = {name: counts for name, counts in alone_counts.items() if counts is not None}
    stable, candidate = view.independent
    started = (_started(stable), _started(candidate))
    return Slot(interval.seconds, started, (stable.requests, candidate.requests), limits, apart)


def _started(arm: Arm) -> int:
    return arm.requests + arm.rejected + arm.client_gone


def _gates(state: JudgeState, look: _Look) -> tuple[GateState, ...]:
    """Every gate after the interval; those with something to say for the first time get a stake."""
    speaking = [
        counts is not None and _speaks(state, gate, before, counts)
        for gate, before, counts in zip(look.gates, state.gates, look.counted, strict=True)
    ]
    staked = _staked(look.gates, state.gates, speaking)
    return tuple(
        before if counts is None else _weighed(state, look, gate, before, counts, speaks=speaks)
        for gate, before, counts, speaks in zip(
            look.gates, staked, look.counted, speaking, strict=True
        )
    )


def _speaks(state: JudgeState, gate: Gate, before: GateState, counts: Counts) -> bool:
    """Whether a gate's counts may be weighed: warmed up, its signal known, its limit in force."""
    if gate.settles and state.seconds <= state.settings.latency_warmup_seconds:
        return False
    if gate.kind == "history":
        in_force = state.weight_percent > _CONTROL_IS_SMALL_PERCENT
        return in_force and state.history.limit_rate is not None
    if gate.absolute:
        return counts.candidate > 0
    core = gate.name == "errors"
    heard = before.stake is not None or counts.stable_bad + counts.candidate_bad > 0
    return before.total.stable + counts.stable > 0 and (core or heard)


def _staked(
    gates: tuple[Gate, ...], states: tuple[GateState, ...], speaking: Sequence[bool]
) -> tuple[GateState, ...]:
    """The capital, shared out anew by weight when gates speak for the first time.

    Shares are fixed before the interval is looked at, and add up to what there was: the capital
    stays a fair bet. What has been gained by then is not shared. The gate for what only shows at
    full weight gets its share with the first: later there would be less.
    """
    new = [
        state.stake is None and (speaks or (gate.kind == "history" and any(speaking)))
        for gate, state, speaks in zip(gates, states, speaking, strict=True)
    ]
    if not any(new):
        return states
    old_weight = sum(g.weight for g, s in zip(gates, states, strict=True) if s.stake is not None)
    weight = old_weight + sum(g.weight for g, is_new in zip(gates, new, strict=True) if is_new)
    capital = sum((s.stake or 0.0) * s.process.value for s in states) if old_weight else 1.0
    shared = min(capital, 1.0) / weight if weight else 0.0  # per unit of weight
    kept = (capital - shared * (weight - old_weight)) / capital
    return tuple(
        replace(state, stake=shared * gate.weight)
        if is_new
        else (state if state.stake is None else replace(state, stake=state.stake * kept))
        for gate, state, is_new in zip(gates, states, new, strict=True)
    )


def _weighed(
    state: JudgeState, look: _Look, gate: Gate, before: GateState, counts: Counts, *, speaks: bool
) -> GateState:
    """One gate after an interval; evidence for an absolute limit is dropped while stable is sick."""
    noise = before.noise.after(counts.stable_bad, counts.stable)
    seen = replace(before, total=before.total.plus(counts), noise=noise)
    if not speaks and gate.settles:
        return seen
    seen = replace(seen, step=before.step.plus(counts))
    if not speaks:
        return seen
    if look.recent.near_limit(gate):
        return _dropped(gate, seen)
    given = Given(look.view, look.recent.requests, state.history.limit_rate)
    # The dispersion that counts is the past's: an interval must not choose its own weight.
    after = gate.weighed(replace(seen, noise=before.noise), counts, given)
    suspect = _SUSPICION if gate.kind == "history" else 1 / state.settings.alpha
    if after.process.value < suspect:
        return replace(after, noise=noise, pending=NOTHING, pending_seconds=0.0)
    return replace(
        after,
        noise=noise,
        pending=after.pending.plus(look.apart.get(gate.name, NOTHING)),
        pending_seconds=after.pending_seconds + look.interval.seconds,
    )


def _dropped(gate: Gate, state: GateState) -> GateState:
    """A gate without its evidence, which may have been against it."""
    stake = None if state.stake is None else state.stake * min(1.0, state.process.value)
    process = gate.start().process
    return GateState(process, stake=stake, total=state.total, noise=state.noise)


def _health(state: JudgeState, look: _Look) -> Health:
    """Failures while stable is beyond the limit itself say nothing about the candidate."""
    health = with_interval(
        state.health,
        candidate=look.interval.candidate,
        independent=look.view.independent,
        at_risk=look.recent.requests,
        limit=rate_of(state.settings.error_threshold_percent),
    )
    limit = next(gate for gate in look.gates if gate.name == "error_limit")
    return without_absolute(health) if look.recent.near_limit(limit, share=1.0) else health


def _still_open(before: int, arm: Arm) -> int:
    if not arm.latency_counts:
        return 0
    return max(before + arm.requests - arm.errors - sum(arm.latency_counts), 0)


def _added(histograms: Mapping[str, tuple[int, ...]], stable: Arm) -> Mapping[str, tuple[int, ...]]:
    new = {name: histogram_of(stable, name) for name in (LATENCY, *stable.histograms)}
    added = dict(histograms)
    for name, counts in new.items():
        if counts:
            before = histograms.get(name)
            added[name] = tuple(counts if before is None else map(operator.add, before, counts))
    return added
