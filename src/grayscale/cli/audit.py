"""`audit verify`: whether the event log is the one that was written."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from grayscale.cli.exits import ExitCode, UsageProblem
from grayscale.cli.options import CONFIG, DATA_DIR, AsJson, DataDir
from grayscale.cli.output import put, put_json, say

if TYPE_CHECKING:
    from grayscale.control import Control
    from grayscale.plane.audit import AuditReport

audit = typer.Typer(no_args_is_help=True, help="The event log: append-only, hash-chained.")
_SHORTEST_HEAD = 8
_AS_AFTER_A_BACKUP = ("cut off", "written anew")
_BACKUP = """\
A store that was put back from a backup looks the same. If that is what happened: write down when, and
who did it; move audit-heads.log out of the data directory, and restart the relay. What was lost stays
in the notices and in that file; from then on the log is compared anew."""


@audit.callback()
def _audit() -> None:
    """Keeps `verify` a word of its own: typer would drop it while it is the only one."""


@audit.command("verify")
def verify(
    *,
    config: Annotated[Path, typer.Option("--config", help="Settings, for store_url.")] = CONFIG,
    data_dir: DataDir = DATA_DIR,
    head: Annotated[
        list[str] | None,
        typer.Option("--head", help="A head kept elsewhere, from a notice or /readyz."),
    ] = None,
    remote: Annotated[
        bool, typer.Option("--remote", help="Read the log from the relay, not from the store.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Recompute the event log's hash chain, and compare it with the heads noted outside of it."""
    heads = [_checked(one) for one in head or []]
    report = _from_relay(heads) if remote else _from_store(config, data_dir, heads)
    if as_json:
        put_json({"ok": report.ok, **asdict(report)})
    elif report.ok:
        put(f"{report.records} records are as they were written; head {report.head}")
        say("Keep the head elsewhere: with --head it shows later that nothing was cut off.")
    else:
        put(f"broken at {report.broken_at}: {report.problem} ({report.records} records before it)")
        if any(word in str(report.problem) for word in _AS_AFTER_A_BACKUP):
            say(_BACKUP)
    if not report.ok:
        raise typer.Exit(ExitCode.FAILED)


def _checked(head: str) -> str:
    if len(head) < _SHORTEST_HEAD or not set(head) <= set("0123456789abcdef"):
        raise UsageProblem(f"--head: '{head}' is no hash; give {_SHORTEST_HEAD} digits or more")
    return head


def _from_store(config: Path, data_dir: Path, heads: list[str]) -> AuditReport:
    import asyncio

    from grayscale.plane import audit as log
    from grayscale.settings import Settings, load_settings
    from grayscale.store.database import Database
    from grayscale.store.log_heads import noted

    settings = load_settings(config) if config.exists() else Settings()
    database = Database(data_dir, settings.store_url)
    if database.path is not None and not database.path.exists():
        raise UsageProblem(
            f"no {database.path}; name a relay's data directory with --data-dir, or use --remote"
        )
    before = noted(data_dir)  # first: what is written meanwhile has more records, not fewer
    kept = [*heads, *_of_snapshot(data_dir)]

    async def look() -> AuditReport:
        try:
            return await log.verify(database, noted=before, kept_elsewhere=kept)
        finally:
            await database.close()

    return asyncio.run(look())


def _from_relay(heads: list[str]) -> AuditReport:
    from grayscale.cli.relay_client import with_relay
    from grayscale.plane.audit import verify_records

    return with_relay(lambda control: verify_records(_records(control), kept_elsewhere=heads))


async def _records(control: Control) -> AsyncIterator[dict[str, Any]]:
    after = 0
    while page := await control.audit_log(after=after):
        for record in page:
            yield record
        after = int(page[-1]["seq"])


def _of_snapshot(data_dir: Path) -> list[str]:
    """The head in the workers' snapshot file."""
    from grayscale.relay import snapshot_file

    if not (data_dir / snapshot_file.NAME).exists():
        return []
    stored = snapshot_file.load(data_dir)
    return [stored.audit_head] if stored is not None and stored.audit_head else []
