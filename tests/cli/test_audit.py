"""`audit verify` on the store's own files: no relay, exit codes, what is printed."""

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from grayscale.clock import SystemClock
from grayscale.plane import events
from grayscale.plane.actor import RELAY
from grayscale.store.database import Database
from tests.cli.conftest import Cli


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory whose log has five records, each with its own transaction."""
    folder = tmp_path / "data"
    folder.mkdir()

    async def write() -> None:
        database = Database(folder)
        for number in range(5):
            async with database.write() as tx:
                await events.append(
                    tx, event_type="split.changed", now=SystemClock().now(), actor=RELAY,
                    data={"reason": f"number {number}"},
                )  # fmt: skip
        await database.close()

    asyncio.run(write())
    return folder


def change(data: Path, statement: str) -> None:
    """Change the store behind the log's back."""
    with closing(sqlite3.connect(data / "grayscale.db")) as store, store:
        store.execute(statement)


def test_a_whole_log_is_told_with_its_head(cli: Cli, data: Path) -> None:
    """Exit code 0, the number of records, and the head to keep elsewhere."""
    shown = cli("audit", "verify", "--data-dir", str(data))
    report = json.loads(cli("audit", "verify", "--data-dir", str(data), "--json").out)
    assert shown.code == 0
    assert shown.out.startswith("5 records are as they were written; head ")
    assert report["head"] in shown.out
    assert (report["ok"], report["broken_at"], report["seq"]) == (True, None, None)


@pytest.mark.parametrize(
    ("statement", "seq", "problem"),
    [
        ("UPDATE events SET envelope = replace(envelope, '2', '3') WHERE seq = 3", 3, "edited"),
        ("DELETE FROM events WHERE seq = 2", 2, "removed"),
        ("DELETE FROM events WHERE seq > 3", 4, "cut off"),
    ],
)
def test_the_first_record_that_is_not_as_it_was_is_named(
    cli: Cli, data: Path, statement: str, seq: int, problem: str
) -> None:
    """Exit code 1, and the record's id, number and fate, read from the files alone."""
    with closing(sqlite3.connect(data / "grayscale.db")) as store:
        ids = dict(store.execute("SELECT seq, id FROM events").fetchall())
    change(data, statement)
    shown = cli("audit", "verify", "--data-dir", str(data))
    report = json.loads(cli("audit", "verify", "--data-dir", str(data), "--json").out)
    assert shown.code == 1
    assert shown.out.startswith(f"broken at {ids[seq]}: ")
    assert (report["ok"], report["broken_at"], report["seq"]) == (False, ids[seq], seq)
    assert problem in report["problem"]
    assert ("put back from a backup" in shown.err) == (problem == "cut off")


def test_after_a_backup_the_log_is_compared_anew(cli: Cli, data: Path) -> None:
    """What the advice says works: without the file of heads the older log is whole again."""
    change(data, "DELETE FROM events WHERE seq > 3")
    advice = cli("audit", "verify", "--data-dir", str(data)).err
    assert "move audit-heads.log out of the data directory" in advice
    (data / "audit-heads.log").rename(data.parent / "audit-heads.log")
    assert cli("audit", "verify", "--data-dir", str(data)).code == 0


def test_a_head_that_was_kept_elsewhere_is_looked_for(cli: Cli, data: Path) -> None:
    """A part of it will do; one that no record has means that the log is another one."""
    whole = json.loads(cli("audit", "verify", "--data-dir", str(data), "--json").out)
    known = cli("audit", "verify", "--data-dir", str(data), "--head", whole["head"][:16])
    unknown = cli("audit", "verify", "--data-dir", str(data), "--head", "0123456789abcdef")
    assert (known.code, unknown.code) == (0, 1)
    assert "kept elsewhere" in unknown.out


@pytest.mark.parametrize("head", ["abc", "no hash at all", "0123456G"])
def test_what_is_no_head_is_a_usage_error(cli: Cli, data: Path, head: str) -> None:
    """A typing error must not look like a broken log."""
    result = cli("audit", "verify", "--data-dir", str(data), "--head", head)
    assert result.code == 2
    assert head in result.err


def test_a_relay_that_is_away_is_unreachable(
    cli: Cli, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With --remote the log is the relay's: exit code 5 where there is none."""
    monkeypatch.setenv("GRAYSCALE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("GRAYSCALE_API_KEY", "gs_none")
    assert cli("audit", "verify", "--remote", "--data-dir", str(data)).code == 5
