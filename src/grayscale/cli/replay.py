"""`replay`: the recorded intervals of a release under the judge of another plan."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from grayscale.cli.exits import ExitCode
from grayscale.cli.options import AsJson, ReleaseName
from grayscale.cli.output import columns, put, put_json, say

if TYPE_CHECKING:
    from grayscale.story.replaying import Difference, Replay

OtherPlan = Annotated[
    list[Path] | None,
    typer.Option("--plan", help="A plan file whose judge looks; may be given several times."),
]


def replay(name: ReleaseName, *, plan: OtherPlan = None, as_json: AsJson = False) -> None:
    """Judge what is on record once more, by another plan; without one, by the release's own.

    By its own plan every verdict must come out as recorded; if one does not, this exits with 1.
    """
    from dataclasses import asdict

    from grayscale.cli.plans import read_plan
    from grayscale.cli.recorded import read_history
    from grayscale.cli.relay_client import with_relay
    from grayscale.story import replay as judge_again

    other = read_plan(plan) if plan else None
    history = with_relay(lambda control: read_history(control, name))
    again = judge_again(history, other)
    if as_json:
        put_json({"release_id": history.record.id, **asdict(again)})
    else:
        put("\n".join(_lines(again, own=other is None)))
    if other is None and not again.identical:
        say("The verdicts differ: the judge of this version is not the one that judged then.")
        raise typer.Exit(ExitCode.FAILED)


def _lines(again: Replay, *, own: bool) -> Iterator[str]:
    if own:
        same = "exactly as" if again.identical else "not as"
        yield f"{again.intervals} intervals judged again: {same} recorded."
    else:
        yield again.conclusion
        if again.harm is not None:
            yield again.harm.sentence
        yield f"{again.intervals} intervals judged again; the outcome differs in {_differing(again)}."
    yield from (f"{rule.what} would have acted at {_time(rule.at)}." for rule in again.rules)
    if again.differences:
        heads = ("INTERVALS", "FROM", "RECORDED", "WOULD BE")
        yield columns(heads, [_row(one) for one in again.differences])
    yield from (
        f"{step.step} would have ended {step.would_be} instead of {step.recorded}."
        for step in again.steps
        if step.recorded != step.would_be
    )
    yield from again.notes


def _differing(again: Replay) -> str:
    count = sum(one.last - one.first + 1 for one in again.differences)
    return str(count) if count else "none"


def _row(one: Difference) -> tuple[object, ...]:
    numbers = str(one.first) if one.first == one.last else f"{one.first}-{one.last}"
    return numbers, _time(one.at), one.recorded, one.would_be


def _time(at: str) -> str:
    from grayscale.story.history import clock_time

    return clock_time(at)
