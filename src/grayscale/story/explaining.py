"""A release told to whoever is woken up by it: the most important first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby

from grayscale.judge.sentences import duration
from grayscale.release.record import ReleaseRecord, StepView, VerdictView
from grayscale.release.soak_clock import IN_WORDS
from grayscale.story.evidence import Growth, growth_of
from grayscale.story.headlines import advice, headline, why
from grayscale.story.history import Event, History, Looked
from grayscale.story.words import decided_by_people, sentence_of


@dataclass(frozen=True, slots=True)
class Stop:
    """A stretch in which the soak's clock stood still."""

    what: str
    at: str
    seconds: float


@dataclass(frozen=True, slots=True)
class StepStory:
    """One weight of the ramp: its traffic, its clock, its verdict, who let it begin."""

    step: str
    state: str
    sentence: str
    stable_requests: int
    candidate_requests: int
    observed_percent: float | None
    watched_seconds: float
    required_seconds: float
    extensions: int
    stops: tuple[Stop, ...]
    verdict: VerdictView | None = None


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened."""

    at: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Story:
    """`headline` says what is, `why` why; then what to do, what accused it, and all the rest."""

    release_id: str
    version: str
    state: str
    headline: str
    why: str
    advice: str | None
    evidence: Growth | None
    decisions: tuple[Moment, ...]
    steps: tuple[StepStory, ...]
    timeline: tuple[Moment, ...] = field(default=())


def explain(history: History) -> Story:
    """The story of a release that is over, or of one that is under way."""
    record = history.record
    return Story(
        release_id=record.id,
        version=record.version,
        state=record.state.value,
        headline=headline(history),
        why=why(history),
        advice=advice(record),
        evidence=growth_of(history),
        decisions=tuple(_moments(history, filter(decided_by_people, history.events))),
        steps=tuple(_steps(history)),
        timeline=tuple(_moments(history, history.events, known=why(history))),
    )


def _moments(history: History, events: Iterable[Event], *, known: str = "") -> Iterator[Moment]:
    for event in events:
        sentence = sentence_of(event, history.record.plan, known=known)
        if sentence is not None:
            yield Moment(event.at, sentence)


def _steps(history: History) -> Iterator[StepStory]:
    record = history.record
    stages = [*record.steps, *([record.bake] if record.bake else [])]
    for stage in stages:
        if stage.state == "pending" and stage.approval is None:
            continue
        stops = tuple(_stops(look for look in history.looks if look.interval.step == stage.index))
        yield StepStory(
            step=history.step_name(stage.index),
            state="ended" if record.state.final and stage.state == "running" else stage.state,
            sentence=_step_sentence(record, stage, known=why(history)),
            stable_requests=stage.stable_requests,
            candidate_requests=stage.candidate_requests,
            observed_percent=stage.observed_percent,
            watched_seconds=stage.watched_seconds,
            required_seconds=stage.required_seconds,
            extensions=stage.extensions,
            stops=stops,
            verdict=stage.verdict,
        )


def _step_sentence(record: ReleaseRecord, stage: StepView, *, known: str) -> str:
    parts = []
    if stage.approval is not None:
        parts.append(_approval(record, stage))
    if stage.state != "pending":
        parts.append(_traffic(stage))
    if stage.unwatched:
        parts.append(f"The clock stood still: {stopped(stage.unwatched)}.")
    if stage.verdict is not None and stage.verdict.sentence != known:
        parts.append(stage.verdict.sentence or stage.verdict.outcome)
    return " ".join(parts)


def _traffic(stage: StepView) -> str:
    total = stage.stable_requests + stage.candidate_requests
    share = "" if stage.observed_percent is None else f" ({stage.observed_percent:g} %)"
    extended = f", extended {_times(stage.extensions)}" if stage.extensions else ""
    return (
        f"{stage.candidate_requests:,} of {total:,} requests{share}, "
        f"{duration(stage.watched_seconds)} of {duration(stage.required_seconds)} watched"
        f"{extended}."
    )


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def stopped(unwatched: dict[str, float]) -> str:
    """`the split was not verified 30 s, paused 2 m 0 s`: longest first."""
    longest = sorted(unwatched.items(), key=lambda item: -item[1])
    return ", ".join(f"{IN_WORDS.get(what, what)} {duration(seconds)}" for what, seconds in longest)


def _approval(record: ReleaseRecord, stage: StepView) -> str:
    gate = stage.approval
    if gate is None or gate.state == "waiting":
        return "A person is asked first." if not record.state.final else "Nobody answered."
    claim = "" if gate.verified else " (name not verified)"
    note = f": {gate.note}" if gate.note else ""
    return f"{gate.state.capitalize()} by {gate.decided_by}{claim}{note}."


def _stops(looks: Iterator[Looked]) -> Iterator[Stop]:
    for what, group in groupby(looks, key=lambda look: look.stopped_by):
        run = list(group)
        if what is not None:
            yield Stop(what, run[0].at, sum(look.interval.seconds for look in run))
