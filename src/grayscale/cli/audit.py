"""`audit verify`: whether the event log is the one that was written."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from grayscale.cli.exits import ExitCode, UsageProblem
from grayscale.cli.options import CONFIG, DATA_DIR, AsJson, DataDir
from grayscale.cli.output import put, put_json, say

if TYPE_CHECKING:
    from grayscale.plane.audit import AuditReport
    from grayscale.store.database import Database

audit = typer.Typer(no_args_is_help=True, help="The event log: append-only, hash-chained.")


@audit.callback()
def _audit() -> None:
    """Keeps `verify` a word of its own: typer would drop it while it is the only one."""


@audit.command("verify")
def verify(
    *,
    config: Annotated[Path, typer.Option("--config", help="Settings, for store_url.")] = CONFIG,
    data_dir: DataDir = DATA_DIR,
    head: Annotated[
        str | None,
        typer.Option("--head", help="A head noted earlier: finds a log that was cut off."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Recompute the hash chain of the event log. Reads the store itself; needs no relay."""
    import asyncio

    from grayscale.settings import Settings, load_settings
    from grayscale.store.database import Database

    settings = load_settings(config) if config.exists() else Settings()
    database = Database(data_dir, settings.store_url)
    if database.path is not None and not database.path.exists():
        raise UsageProblem(f"no {database.path}; name a relay's data directory with --data-dir")
    report = asyncio.run(_report(database, head))
    if as_json:
        put_json({"ok": report.ok, **asdict(report)})
    elif report.ok:
        put(f"{report.records} records are as they were written; head {report.head}")
        say("Keep the head elsewhere: with --head it shows later that nothing was cut off.")
    else:
        put(f"broken at {report.broken_at}: {report.problem} ({report.records} records read)")
    if not report.ok:
        raise typer.Exit(ExitCode.FAILED)


async def _report(database: Database, head: str | None) -> AuditReport:
    from grayscale.plane.audit import verify as verify_chain

    try:
        return await verify_chain(database, expected_head=head)
    finally:
        await database.close()
