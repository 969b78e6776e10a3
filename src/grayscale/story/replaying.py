"""Recorded intervals under a plan's judge: what it would have said, and where that differs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from grayscale.judge import Verdict, start
from grayscale.judge.recorded import look_once, verdict_json
from grayscale.judge.sentences import duration
from grayscale.plan.guard_rails import settings_of
from grayscale.plan.models import Plan
from grayscale.release.phases import State
from grayscale.release.record import VerdictView
from grayscale.story.history import History, Looked, clock_time, leading_gate


@dataclass(frozen=True, slots=True)
class Turn:
    """The interval in which something was first so, such as a harmful verdict."""

    interval: int
    at: str
    weight_percent: float
    what: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Difference:
    """Neighbouring intervals in which both judges differ in the same way."""

    first: int
    last: int
    at: str
    recorded: str
    would_be: str


@dataclass(frozen=True, slots=True)
class StepEnd:
    """A step's last verdict, recorded and again."""

    step: str
    recorded: str
    would_be: str


@dataclass(frozen=True, slots=True)
class Replay:
    """`identical`: every verdict, to the last number, is the recorded one."""

    intervals: int
    identical: bool
    conclusion: str
    harm: Turn | None
    recorded_harm: Turn | None
    differences: tuple[Difference, ...]
    steps: tuple[StepEnd, ...]
    rules: tuple[Turn, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Pair:
    """One look, with the other verdict beside the recorded one."""

    look: Looked
    would_be: VerdictView

    @property
    def outcomes(self) -> tuple[str, str]:
        return _outcome(self.look.verdict), _outcome(self.would_be)


def replay(history: History, plan: Plan | None = None) -> Replay:
    """Judge the recorded intervals by `plan`; by the release's own if none is given."""
    chosen = plan or history.record.plan
    pairs = list(_judged_again(history, chosen))
    harm = _first_harm([(pair.look, pair.would_be) for pair in pairs])
    acted = history.record.plan.health_check.enabled
    recorded = _first_harm([(pair.look, pair.look.verdict) for pair in pairs]) if acted else None
    return Replay(
        intervals=len(pairs),
        identical=all(pair.look.verdict == pair.would_be for pair in pairs),
        conclusion=_conclusion(history, chosen, harm, recorded),
        harm=harm,
        recorded_harm=recorded,
        differences=tuple(_differences(pairs)),
        steps=tuple(_step_ends(history, pairs)),
        rules=tuple(_broken_rules(chosen, pairs)),
        notes=tuple(_notes(history.record.plan, chosen)),
    )


def _judged_again(history: History, plan: Plan) -> Iterator[_Pair]:
    state = start(settings_of(plan))
    for look in history.looks:
        state, verdict = look_once(state, look.interval)
        yield _Pair(look, _view(verdict))


def _view(verdict: Verdict) -> VerdictView:
    """As the record would have it, so that both can be compared to the last digit."""
    return VerdictView.model_validate(json.loads(json.dumps(verdict_json(verdict))))


def _outcome(verdict: VerdictView) -> str:
    cause = f" ({verdict.cause.replace('_', ' ')})" if verdict.cause else ""
    return verdict.outcome if verdict.outcome == "harmful" else f"{verdict.outcome}{cause}"


def _first_harm(verdicts: list[tuple[Looked, VerdictView]]) -> Turn | None:
    for look, verdict in verdicts:
        if verdict.outcome == "harmful":
            gate = leading_gate(verdict) or "of none"
            return _turn(look, f"gate {gate}", verdict.sentence)
    return None


def _turn(look: Looked, what: str, sentence: str) -> Turn:
    return Turn(look.number, look.at, look.interval.weight_percent, what, sentence)


def _differences(pairs: list[_Pair]) -> Iterator[Difference]:
    for (recorded, would_be), group in groupby(pairs, key=lambda pair: pair.outcomes):
        run = list(group)
        if recorded != would_be:
            first, last = run[0].look, run[-1].look
            yield Difference(first.number, last.number, first.at, recorded, would_be)


def _step_ends(history: History, pairs: list[_Pair]) -> Iterator[StepEnd]:
    for step, group in groupby(pairs, key=lambda pair: pair.look.interval.step):
        *_, last = group
        yield StepEnd(history.step_name(step), *last.outcomes)


def _broken_rules(plan: Plan, pairs: list[_Pair]) -> Iterator[Turn]:
    """Rules that alert or pause, at the first interval in which they were broken."""
    acting = {r.name: r.action for r in plan.rollback_rules if r.action in ("alert", "pause")}
    for name, action in acting.items():
        for pair in pairs:
            if name in pair.would_be.evidence.get("rules_broken", ()):
                yield _turn(pair.look, f"rule {name} ({action})", pair.would_be.sentence)
                break


def _conclusion(history: History, plan: Plan, harm: Turn | None, recorded: Turn | None) -> str:
    if not history.looks:
        return "Nothing was judged yet: there is no interval on record."
    if not plan.health_check.enabled:
        return f"This plan judges nothing (health_check.enabled is false); {_ended(history)}."
    if harm is None:
        either = "" if recorded else " either"
        return f"This plan would not have rolled back{either}; {_ended(history, recorded)}."
    would = f"This plan would have rolled back at {clock_time(harm.at)}"
    when = _compared(history, harm, recorded)
    return (
        f"{would}{when}, at {harm.weight_percent:g} %, by {harm.what}; {_ended(history, recorded)}."
    )


def _compared(history: History, harm: Turn, recorded: Turn | None) -> str:
    """How much earlier, by the judge's own count of seconds."""
    if recorded is None:
        return ""
    first, last = sorted((harm.interval, recorded.interval))
    between = sum(k.interval.seconds for k in history.looks if first < k.number <= last)
    if not between:
        return ", in the same interval"
    return f", {duration(between)} {'earlier' if harm.interval < recorded.interval else 'later'}"


def _ended(history: History, recorded: Turn | None = None) -> str:
    """What is on record, in a few words."""
    record = history.record
    if recorded is not None:
        return f"recorded: rolled back at {clock_time(recorded.at)} by {recorded.what}"
    state = record.state.value.replace("_", " ")
    if record.state is State.ROLLED_BACK and record.cause:
        return f"recorded: rolled back ({record.cause.replace('_', ' ')})"
    return f"recorded: {state}"


def _notes(recorded: Plan, plan: Plan) -> Iterator[str]:
    """What a replay cannot show."""
    if plan.judge.interval_seconds != recorded.judge.interval_seconds:
        yield (
            f"The intervals are those that were recorded ({recorded.judge.interval_seconds:g} s), "
            f"not this plan's ({plan.judge.interval_seconds:g} s)."
        )
    if plan.judge.count_pinned != recorded.judge.count_pinned:
        yield "Pinned requests are counted as they were recorded, not as this plan asks."
    if plan.auto_promote != recorded.auto_promote or plan.bake != recorded.bake:
        yield "The weights and durations are those that were recorded: only the judge is another."
