"""`explain`: what a release did and why, the most important first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from grayscale.cli.options import AsJson, ReleaseName
from grayscale.cli.output import put, put_json

if TYPE_CHECKING:
    from grayscale.story.explaining import Moment, StepStory, Story

_STEP_MARKS = {"pending": "·", "running": "◌", "done": "✔", "ended": "✖"}


def explain(name: ReleaseName, *, as_json: AsJson = False) -> None:
    """Tell a release's story: how it stands and why, its evidence, steps, decisions, events."""
    from dataclasses import asdict

    from grayscale.cli.recorded import read_history
    from grayscale.cli.relay_client import with_relay
    from grayscale.story import explain as story_of

    story = story_of(with_relay(lambda control: read_history(control, name)))
    if as_json:
        put_json({**asdict(story), "steps": [_plain(step) for step in story.steps]})
        return
    put("\n".join(_lines(story)))


def _plain(step: StepStory) -> dict[str, object]:
    from dataclasses import asdict

    verdict = step.verdict.model_dump(mode="json") if step.verdict else None
    return {**asdict(step), "verdict": verdict}


def _lines(story: Story) -> Iterator[str]:
    yield story.headline
    if story.why:
        yield story.why
    if story.evidence is not None:
        yield story.evidence.sentence
    if story.advice:
        yield story.advice
    yield from _section("Decisions of people", _timed(story.decisions))
    yield from _section("Steps", [_step(step) for step in story.steps])
    yield from _section("What happened (UTC)", _timed(story.timeline))
    yield ""
    yield f"Release {story.release_id}; by another plan: grayscale replay {story.release_id} --plan …"


def _section(title: str, lines: Sequence[str]) -> Iterator[str]:
    if lines:
        yield ""
        yield title
        yield from (f"  {line}" for line in lines)


def _timed(moments: Sequence[Moment]) -> list[str]:
    """Times, under their day where it changes."""
    from grayscale.clock import from_rfc3339

    lines, day = [], ""
    for moment in moments:
        at = from_rfc3339(moment.at)
        if f"{at:%Y-%m-%d}" != day:
            day = f"{at:%Y-%m-%d}"
            lines.append(day)
        lines.append(f"{at:%H:%M:%S}  {moment.sentence}")
    return lines


def _step(step: StepStory) -> str:
    return f"{_STEP_MARKS.get(step.state, '?')} {step.step:<8} {step.sentence}"
