"""`release`, `get`, `status`, `list`: begin releases and look at them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from grayscale.cli.exits import ExitCode, exit_code_of_state
from grayscale.cli.options import AsJson, DryRun, ReleaseName
from grayscale.cli.output import columns, put, put_json, say
from grayscale.cli.plans import Plans, read_plan
from grayscale.release.phases import State

if TYPE_CHECKING:
    from grayscale.control import Control
    from grayscale.release.record import ReleaseRecord

Watch = Annotated[bool, typer.Option("--watch", "-w", help="Follow it to its end.")]
Timeout = Annotated[
    float | None, typer.Option("--timeout", min=0, help="Seconds to wait at most; 0 looks once.")
]
OnlyState = Annotated[State | None, typer.Option("--state", help="Only releases in this state.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=100, help="How many, newest first.")]


def release(
    plan: Plans, *, watch: Watch = False, dry_run: DryRun = False, as_json: AsJson = False
) -> None:
    """Begin a release. While Prefect is away it is queued, and starts by itself later."""
    from grayscale.cli.relay_client import with_relay

    read = read_plan(plan)
    opened = with_relay(
        lambda control: control.open_release(read), dry_run=dry_run, as_json=as_json
    )
    if watch:
        say(f"Release {opened['id']} of {opened.get('version', read.version_name)}")
        _follow_to_end(opened["id"], as_json=as_json)
    if as_json:
        put_json(opened)
        return
    put(opened["id"])
    say(f"Follow it with: grayscale get {opened['id']} --watch")


def get(name: ReleaseName, *, watch: Watch = False, as_json: AsJson = False) -> None:
    """Show a release: state, step, weights, verdict."""
    from grayscale.cli.relay_client import find_release, with_relay
    from grayscale.cli.watch import show

    record = with_relay(lambda control: find_release(control, name))
    if watch:
        _follow_to_end(record.id, as_json=as_json)
    if as_json:
        put_json(record.model_dump(mode="json"))
        return
    show(record)
    _suggest(record)


def status(name: ReleaseName, *, timeout: Timeout = None, as_json: AsJson = False) -> None:
    """Wait for a release to end or to ask a person.

    0 promoted, 1 ended otherwise or time is up, 3 a person is asked.
    """
    from grayscale.cli.relay_client import find_release, with_relay
    from grayscale.cli.release_view import line
    from grayscale.cli.watch import wait_for_person, waits_for_person

    async def wait(control: Control) -> ReleaseRecord:
        record = await find_release(control, name)
        return await wait_for_person(control, record, timeout_seconds=timeout)

    record = with_relay(wait)
    if as_json:
        put_json(record.model_dump(mode="json"))
    else:
        put(line(record))
    _suggest(record)
    if record.state.final or waits_for_person(record):
        raise typer.Exit(exit_code_of_state(record.state))
    say(f"Neither over nor waiting for a person after {timeout:g} s.")
    raise typer.Exit(ExitCode.FAILED)


def list_releases(*, state: OnlyState = None, limit: Limit = 20, as_json: AsJson = False) -> None:
    """List releases, newest first."""
    from grayscale.cli.relay_client import with_relay

    page = with_relay(lambda control: control.releases(state=state, limit=limit))
    if as_json:
        put_json(page)
        return
    heads = ("VERSION", "RELEASE", "STATE", "STEP", "CREATED", "REASON")
    put(columns(heads, [_row(release) for release in page["data"]]))
    if page.get("has_more"):
        say(f"There are more than {limit}: add --limit.")


def _row(release: dict[str, Any]) -> tuple[object, ...]:
    reached = -1 if release["current_step"] is None else release["current_step"]
    return (
        release["version"],
        release["id"],
        release["state"],
        f"{reached + 1}/{len(release['steps_percent'])}",
        release["created_at"],
        release["reason"],
    )


def _follow_to_end(release_id: str, *, as_json: bool) -> None:
    """Follow it, and end the command with the exit code of its end."""
    from grayscale.cli.relay_client import with_relay
    from grayscale.cli.watch import follow, screen

    with screen(as_json=as_json) as on:
        record = with_relay(lambda control: follow(control, release_id, on))
    raise typer.Exit(exit_code_of_state(record.state))


def _suggest(record: ReleaseRecord) -> None:
    from grayscale.cli.watch import decided

    match record.state:
        case State.AWAITING_APPROVAL if decided(record):
            say("Decided already; a conductor goes on with it in a moment.")
        case State.AWAITING_APPROVAL:
            say(f"Decide with: grayscale approve {record.id}, or grayscale reject {record.id}")
        case State.PAUSED:
            say(f"Go on with: grayscale resume {record.id}, or grayscale abort {record.id}")
        case State.ROLLED_BACK | State.FAILED:
            say(f"The same plan once more: grayscale retry {record.id}")
