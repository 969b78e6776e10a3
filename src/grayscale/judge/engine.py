"""The judge's one step: `advance(state, interval) -> (state, verdict)`.

Read from `advance` downwards: check, learn, weigh, say.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from grayscale.judge.blame import Recent, history_rate, with_mark, worst_rate
from grayscale.judge.checks import checked
from grayscale.judge.gates import Gate, Given, HistoryGate, rate_of
from grayscale.judge.health import NO_HEALTH, with_interval, without_absolute
from grayscale.judge.layout import Counted, GateSet, gate_set
from grayscale.judge.measures import Graded, Side, Sides, View
from grayscale.judge.past import NO_PAST, Past
from grayscale.judge.state import (
    Counts,
    GateState,
    Health,
    JudgeState,
    Mark,
    Totals,
    counts_in,
)
from grayscale.judge.values import Arm, Interval, Outcome, Settings, Verdict
from grayscale.judge.verdicts import judged, stale

_CONTROL_IS_SMALL_PERCENT = 50.0
_HISTORY_SUSPICION = 3.0


def start(settings: Settings | None = None) -> JudgeState:
    """The judge before a release's first interval."""
    chosen = settings or Settings()
    gates = gate_set(chosen)
    nothing = (0,) * gates.length
    return JudgeState(
        settings=chosen,
        gates=tuple(gate.start() for gate in gates.gates),
        health=NO_HEALTH,
        totals=nothing,
        entered_totals=nothing,
        marks=(Mark(0.0, nothing[: gates.remembered]),),
    )


def advance(state: JudgeState, interval: Interval) -> tuple[JudgeState, Verdict]:
    """Judge one more interval; raises JudgeInputError for counters that cannot be true.

    A harmful verdict stays: nothing that comes after it can take it back.
    """
    sides = checked(state, interval)
    if state.harm is not None:
        return state._replace(last_id=interval.id), state.harm
    if not interval.fresh:
        return state._replace(last_id=interval.id), stale(interval)
    gates = gate_set(state.settings)
    learnt, recent = _learn(_entered(state, interval), interval, sides, gates)
    verdict = judged(learnt, interval, gates, recent)
    if verdict.outcome is Outcome.HARMFUL:
        learnt = learnt._replace(harm=verdict)
    return learnt, verdict


def _entered(state: JudgeState, interval: Interval) -> JudgeState:
    """At a new weight health is shown anew, and only the same weight's minutes are compared."""
    if (state.step, state.weight_percent) == (interval.step, interval.weight_percent):
        return state
    return state._replace(
        step=interval.step,
        weight_percent=interval.weight_percent,
        gates=tuple(gate._replace(suspected=None) for gate in state.gates),
        health=NO_HEALTH,
        entered_totals=state.totals,
        entered_seconds=state.seconds,
    )


_Answer = tuple[Counted, Counts]
"""Who counts, and what there was to count."""


class _Look(NamedTuple):
    """One interval as everybody below needs it; `counted` is what there was to count."""

    gates: GateSet
    given: Given
    counted: Sequence[_Answer]
    totals: Totals
    recent: Recent
    before: JudgeState


def _learn(
    state: JudgeState, interval: Interval, sides: tuple[Sides, Sides], gates: GateSet
) -> tuple[JudgeState, Recent]:
    """The state with everything that the interval says, and its last two minutes."""
    everything, independent = sides
    its, seconds = everything[1].arm, state.seconds + interval.seconds
    candidate_total = max(its.requests - state.debt, its.errors)
    view = View(everything, independent, candidate_total, _graded(state.histograms, independent))
    warm = seconds > state.settings.latency_warmup_seconds
    counted = _counted(_asking(gates, view), view)
    totals = _added_up(state.totals, gates, view, counted)
    marks = with_mark(state.marks, Mark(seconds, totals[: gates.remembered]))
    recent = Recent.of(gates, marks, entered_seconds=state.entered_seconds)
    given = _given(state, interval, gates, recent, view=view, warm=warm)
    look = _Look(gates, given, counted, totals, recent, state)
    learnt = JudgeState(
        settings=state.settings,
        gates=_gates(look),
        health=_health(look),
        totals=totals,
        entered_totals=state.entered_totals if warm else _settling(state, gates, totals),
        marks=marks,
        entered_seconds=state.entered_seconds,
        last_id=interval.id,
        step=state.step,
        weight_percent=state.weight_percent,
        worst_rate=max(state.worst_rate, worst_rate(gates, marks)),
        open_stable=_still_open(state.open_stable, independent[0]),
        open_candidate=_still_open(state.open_candidate, independent[1]),
        debt=state.debt + candidate_total - its.requests,
        histograms=_added(state.histograms, everything[0]),
    )
    return learnt, recent


def _graded(past: Mapping[str, Past], independent: Sides) -> dict[str, Graded]:
    """Independent answers in classes of stable's past, by histogram."""
    stable, candidate = [side.histograms for side in independent]
    return {
        name: Graded.of(answers.spread, stable[name], candidate[name])
        for name, answers in past.items()
        if answers.spread is not None and name in stable and name in candidate
    }


def _asking(gates: GateSet, view: View) -> list[Counted]:
    """What is counted: all whose histogram or signal is there."""
    asking = [*gates.always]
    for source in view.sources:
        asking += gates.reading.get(source, ())
    return asking


def _counted(asking: Iterable[Counted], view: View) -> list[_Answer]:
    """What there is to count, by who counts it."""
    return [(one, counts) for one in asking if (counts := one.measure.counts(view)) is not None]


def _added_up(totals: Totals, gates: GateSet, view: View, counted: Sequence[_Answer]) -> Totals:
    """The running totals with an interval's counts, as GateSet says."""
    stable, candidate = [side.arm for side in view.independent]
    after = list(totals)
    _add(after, 0, (_started(stable), _started(candidate), stable.requests, candidate.requests))
    for (_, slot, _), counts in counted:
        _add(after, slot, counts)
    for (_, slot, _), counts in _alone(gates, view, counted):
        _add(after, gates.apart[slot], counts)
    return tuple(after)


def _add(totals: list[int], slot: int, counts: tuple[int, int, int, int]) -> None:
    """In place."""
    stable_bad, stable, candidate_bad, candidate = counts
    totals[slot] += stable_bad
    totals[slot + 1] += stable
    totals[slot + 2] += candidate_bad
    totals[slot + 3] += candidate


def _alone(gates: GateSet, view: View, counted: Iterable[_Answer]) -> list[_Answer]:
    """What absolute gates count among the independent requests alone."""
    absolute = [answer for answer in counted if answer[0].slot in gates.apart]
    if view.independent is view.everything:
        return absolute
    return _counted([one for one, _ in absolute], view._replace(everything=view.independent))


def _settling(state: JudgeState, gates: GateSet, totals: Totals) -> Totals:
    """The totals at the step's begin; what may mislead counts for it from the warm-up's end on."""
    entered = list(state.entered_totals)
    for slot in gates.settling:
        entered[slot : slot + 4] = totals[slot : slot + 4]
    return tuple(entered)


def _started(arm: Arm) -> int:
    return arm.requests + arm.rejected + arm.client_gone


def _given(
    state: JudgeState, interval: Interval, gates: GateSet, recent: Recent, *, view: View, warm: bool
) -> Given:
    in_force = state.weight_percent > _CONTROL_IS_SMALL_PERCENT
    stable, candidate = view.independent
    return Given(
        view,
        shares=recent.shares(stable.arm.requests, candidate.arm.requests),
        history_rate=history_rate(gates, state) if in_force else None,
        warm=warm,
        sticky=interval.independent is not None,
    )


def _gates(look: _Look) -> tuple[GateState, ...]:
    """Every gate after the interval; those with something to say for the first time get a stake."""
    gates, states, given = look.gates.gates, look.before.gates, look.given
    speaking = {
        at: counts
        for (_, slot, places), counts in look.counted
        for at in places
        if gates[at].may_speak(counts, given)
        and (states[at].stake is not None or gates[at].has_signal(look.totals[slot : slot + 4]))
    }
    if any(states[at].stake is None for at in speaking):
        states = _staked(gates, states, speaking)
    after = list(states)
    for at, counts in speaking.items():
        gate = gates[at]
        if gate.absolute:
            after[at] = _limited(look, at, counts, states[at])
        else:
            after[at] = gate.weighed(states[at], _heard(look, at, counts), given)
    return tuple(after)


def _heard(look: _Look, at: int, counts: Counts) -> Counts:
    """What of the counts is evidence: one caller who sticks to the candidate proves nothing."""
    if not (look.given.sticky and look.gates.gates[at].forgives and counts.candidate_bad):
        return counts
    in_all = counts_in(look.gates.slots[at], look.totals).candidate_bad
    its_first = in_all == counts.candidate_bad
    return counts._replace(candidate_bad=counts.candidate_bad - 1) if its_first else counts


def _staked(
    gates: tuple[Gate, ...], states: tuple[GateState, ...], speaking: Collection[int]
) -> tuple[GateState, ...]:
    """The capital, shared out anew by weight when gates speak for the first time.

    Shares are fixed before the interval is looked at, and add up to what there was: the capital
    stays a fair bet. What has been gained by then is not shared. The gate for what only shows at
    full weight gets its share with the first: later there would be less.
    """
    new = [
        state.stake is None and (at in speaking or gate.early)
        for at, (gate, state) in enumerate(zip(gates, states, strict=True))
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


def _limited(look: _Look, at: int, counts: Counts, before: GateState) -> GateState:
    """An absolute gate after an interval; its evidence is dropped while stable is sick."""
    gate = look.gates.gates[at]
    if look.recent.near_limit(at):
        return _dropped(gate, before)
    after = gate.weighed(before, counts, look.given)
    if after.process.value < _suspicion(look.before, gate):
        return after
    return after._replace(suspected=before.suspected or look.before.marks[-1])


def _suspicion(state: JudgeState, gate: Gate) -> float:
    """The evidence from which on stable is watched, to know whom to blame."""
    return _HISTORY_SUSPICION if isinstance(gate, HistoryGate) else 1 / state.settings.alpha


def _dropped(gate: Gate, state: GateState) -> GateState:
    """A gate without its evidence, which may have been against it."""
    stake = None if state.stake is None else state.stake * min(1.0, state.process.value)
    return GateState(gate.start().process, stake, state.noise)


def _health(look: _Look) -> Health:
    """Failures while stable is beyond the limit itself say nothing about the candidate."""
    view, state = look.given.view, look.before
    health = with_interval(
        state.health,
        everything=view.everything,
        independent=view.independent,
        least_share=look.given.shares.least,
        limit=rate_of(state.settings.error_threshold_percent),
    )
    sick = look.recent.near_limit(look.gates.place["error_limit"], share=1.0)
    return without_absolute(health) if sick else health


def _still_open(before: int, side: Side) -> int:
    answers = side.answers
    if answers is None:
        return 0
    return max(before + side.arm.requests - side.arm.errors - answers, 0)


def _added(past: Mapping[str, Past], stable: Side) -> Mapping[str, Past]:
    """Stable's histograms with one more interval."""
    after = dict(past)
    for name, answers in stable.histograms.items():
        after[name] = past.get(name, NO_PAST).after(answers)
    return after
