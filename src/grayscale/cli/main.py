"""`grayscale`: every command, in the order in which a newcomer meets them.

Command modules import what they need when they run: `--help` is instant, and `grayscale relay`
never imports Prefect.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from grayscale import __version__
from grayscale.cli import (
    audit,
    decisions,
    doctor,
    explain,
    keys,
    plans,
    project,
    releases,
    replay,
    servers,
    simulate,
    traffic,
    versions,
)
from grayscale.cli.exits import exit_code_of_error
from grayscale.cli.output import say
from grayscale.errors import GrayscaleError

app = typer.Typer(
    name="grayscale",
    help="Release changes to an LLM API step by step, judged at every step.",
    epilog="Exit codes: 0 ok, 1 rolled back or failed, 2 usage, 3 waiting for a person, "
    "4 conflict, 5 unreachable.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

app.command()(project.init)
app.command()(servers.demo)
app.command()(servers.up)
app.command()(servers.relay)

app.command()(plans.lint)
app.command()(simulate.simulate)
app.command()(releases.release)
app.command()(releases.get)
app.command()(releases.status)
app.command("list")(releases.list_releases)
app.command()(explain.explain)
app.command()(replay.replay)

app.command()(decisions.approve)
app.command()(decisions.reject)
app.command()(decisions.pause)
app.command()(decisions.resume)
app.command()(decisions.abort)
app.command()(decisions.retry)
app.command()(decisions.promote)

app.command()(traffic.rollback)
app.command()(traffic.undo)
app.add_typer(traffic.split, name="split")
app.add_typer(versions.versions, name="versions")

app.add_typer(keys.keys, name="keys")
app.add_typer(audit.audit, name="audit")
app.command()(doctor.doctor)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"grayscale {__version__}")
        raise typer.Exit


@app.callback()
def _grayscale(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    pass


def main(args: Sequence[str] | None = None) -> None:
    """Run the command that the shell was given; expected errors are lines, not tracebacks."""
    try:
        app(args, prog_name="grayscale")
    except GrayscaleError as error:
        say(str(error))
        raise SystemExit(exit_code_of_error(error)) from None


if __name__ == "__main__":
    main()
