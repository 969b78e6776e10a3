"""What people say to a release: approve, reject, pause, resume, abort, retry, promote."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated

import typer

from grayscale.cli.confirm import confirm
from grayscale.cli.exits import UsageProblem
from grayscale.cli.options import AsJson, DryRun, Note, ReleaseName, Yes
from grayscale.cli.output import put, put_json, say

if TYPE_CHECKING:
    from grayscale.control import Control
    from grayscale.release.record import ReleaseRecord

    Decision = Callable[[Control, ReleaseRecord], Awaitable[ReleaseRecord]]

Step = Annotated[
    int | None,
    typer.Option(
        "--step", min=0, help="Only if it still stands at this step, as `get` shows it (2 of 2/4)."
    ),
]


def approve(
    name: ReleaseName,
    *,
    step: Step = None,
    note: Note = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Open the gate that a release waits at."""
    _decide(
        name,
        lambda control, record: control.approve(
            record.id, step=_at_step(record, step), note=note or ""
        ),
        dry_run=dry_run,
        as_json=as_json,
    )


def reject(
    name: ReleaseName,
    *,
    step: Step = None,
    note: Note = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Close the gate for good: the release is rolled back."""
    _decide(
        name,
        lambda control, record: control.reject(
            record.id, step=_at_step(record, step), note=note or ""
        ),
        dry_run=dry_run,
        as_json=as_json,
    )


def pause(
    name: ReleaseName,
    *,
    at_stable: Annotated[
        bool, typer.Option("--at-stable", help="Meanwhile the candidate gets no traffic.")
    ] = False,
    note: Note = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Stop the soak clock. The weight stays, unless --at-stable."""
    _decide(
        name,
        lambda control, record: control.pause(record.id, at_stable=at_stable, note=note or ""),
        dry_run=dry_run,
        as_json=as_json,
    )


def resume(
    name: ReleaseName, *, note: Note = None, dry_run: DryRun = False, as_json: AsJson = False
) -> None:
    """Go on after a pause."""
    _decide(
        name,
        lambda control, record: control.resume(record.id, note=note or ""),
        dry_run=dry_run,
        as_json=as_json,
    )


def abort(
    name: ReleaseName, *, note: Note = None, dry_run: DryRun = False, as_json: AsJson = False
) -> None:
    """Take the candidate away now. Never asks: taking away is the safe direction."""
    from grayscale.cli.relay_client import find_release, with_relay
    from grayscale.errors import ControlRefused, NotRecorded

    async def take_away(control: Control) -> ReleaseRecord | NotRecorded:
        try:  # at once, without a look before: with its store gone the relay cannot be looked at
            return await control.abort(name, note=note or "")
        except NotRecorded as done:
            return done
        except ControlRefused as refused:
            if refused.code != "release_not_found":
                raise
            record = await find_release(control, name)  # says which there are
            return await control.abort(record.id, note=note or "")

    done = with_relay(take_away, dry_run=dry_run, as_json=as_json)
    if not isinstance(done, NotRecorded):
        _show(done, as_json=as_json)
    elif as_json:
        put_json({"recorded": False, "message": str(done)})
    else:
        say(str(done))


def retry(
    name: ReleaseName, *, note: Note = None, dry_run: DryRun = False, as_json: AsJson = False
) -> None:
    """Begin the same plan again, as a new release."""
    _decide(
        name,
        lambda control, record: control.retry(record.id, note=note or ""),
        dry_run=dry_run,
        as_json=as_json,
    )


def promote(
    name: ReleaseName,
    *,
    full: Annotated[
        bool, typer.Option("--full", help="Skip all soaks that are left; kept as your override.")
    ] = False,
    note: Note = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """End this soak now, if the judge permits."""
    if full and not dry_run:
        confirm(f"Give {name} all traffic without the soaks that are left?", yes=yes)
    _decide(
        name,
        lambda control, record: control.promote(record.id, full=full, note=note or ""),
        dry_run=dry_run,
        as_json=as_json,
    )


def _decide(name: str, decision: Decision, *, dry_run: bool, as_json: bool) -> None:
    """Find the release, say it, and show what became of it."""
    from grayscale.cli.relay_client import find_release, with_relay

    async def find_and_decide(control: Control) -> ReleaseRecord:
        return await decision(control, await find_release(control, name))

    _show(with_relay(find_and_decide, dry_run=dry_run, as_json=as_json), as_json=as_json)


def _show(record: ReleaseRecord, *, as_json: bool) -> None:
    from grayscale.cli.release_view import line
    from grayscale.cli.watch import decided

    if as_json:
        put_json(record.model_dump(mode="json"))
    else:
        put(f"{record.version} {record.id}: {line(record)}")
        if decided(record):
            say("Decided; a conductor goes on with it in a moment.")


def _at_step(record: ReleaseRecord, seen: int | None) -> int | None:
    """The API's step for what the person saw; by default where the release stands now.

    The relay refuses a step that has moved on, so that a late click never opens the next gate.
    """
    if seen is None:
        return record.current_step
    if seen > len(record.steps):
        raise UsageProblem(f"--step {seen}: {record.version} has {len(record.steps)} steps")
    return seen - 1 if seen else None
