"""The event log's chain: what was edited, removed, reordered, inserted or cut off is named."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from grayscale.plane import configs, events, folding, idempotency, keys, quarantine, versions
from grayscale.plane.actor import RELAY, Actor
from grayscale.plane.audit import AuditReport, verify
from grayscale.plane.log_watch import LOOK_EVERY_SECONDS, LogWatch
from grayscale.plane.plane import Plane
from grayscale.relay.brake import Brake
from grayscale.relay.runtime import Runtime
from grayscale.relay.service import StoreControlPlane
from grayscale.store import schema
from grayscale.store.database import Database
from grayscale.store.log_heads import NAME, Head, newest, note, noted
from grayscale.testing.clock import FakeClock

ANN = Actor("ann")
Log = list[dict[str, Any]]


@pytest.fixture
async def log(story: Any, plane: Plane) -> Log:
    """A release with its first split: ten records or so, each with its head noted."""
    await story.begin()
    await story.change(watched_seconds=1e6, verdict={"outcome": "healthy", "sentence": "fine"})
    await story.act("set_split", 1)
    async with plane.read() as tx:
        return await events.chained(tx, after=0, limit=100)


async def checked(plane: Plane, folder: Path, **kept: Any) -> AuditReport:
    """What an auditor finds, with the heads that stand beside the store."""
    return await verify(plane.database, noted=noted(folder), **kept)


async def tamper(plane: Plane, *statements: str) -> None:
    """Change the store behind the log's back."""
    if plane.database.path is None:
        pytest.skip("the rows of a SQLite file are changed")
    with closing(sqlite3.connect(plane.database.path)) as store, store:
        for statement in statements:
            store.execute(statement)


async def test_an_untouched_log_is_whole(plane: Plane, log: Log, tmp_path: Path) -> None:
    """Every record fits the one before it, and every transaction's head was noted."""
    report = await checked(plane, tmp_path)
    heads = noted(tmp_path)
    assert report == AuditReport(len(log), log[-1]["hash"])
    assert (heads[-1].id, heads[-1].hash) == (log[-1]["id"], log[-1]["hash"])


@pytest.mark.parametrize(
    ("change", "at"),
    [
        ("UPDATE events SET envelope = replace(envelope, 'ann', 'bob') WHERE seq = {seq}", 3),
        ("UPDATE events SET release_id = 'rel_other' WHERE seq = {seq}", 4),
        ("UPDATE events SET type = 'release.approved' WHERE seq = {seq}", 5),
        ("UPDATE events SET timestamp = '2001-01-01T00:00:00Z' WHERE seq = {seq}", 1),
        ("UPDATE events SET hash = '00' || substr(hash, 3) WHERE seq = {seq}", 6),
        ("UPDATE events SET previous_hash = '00' || substr(hash, 3) WHERE seq = {seq}", 3),
    ],
)
async def test_an_edited_record_is_named(
    plane: Plane, log: Log, tmp_path: Path, change: str, at: int
) -> None:
    """Text, columns and hashes: whatever was changed, the first record that was is named."""
    await tamper(plane, change.format(seq=log[at]["seq"]))
    report = await checked(plane, tmp_path)
    assert (report.broken_at, report.seq) == (log[at]["id"], log[at]["seq"])
    assert report.problem == "the record was edited"
    assert report.records == at


async def test_a_removed_record_is_named(plane: Plane, log: Log, tmp_path: Path) -> None:
    """The noted heads still know its id; without them its number is told."""
    head = next(head for head in noted(tmp_path)[1:-1] if head.id == log[head.seq - 1]["id"])
    await tamper(plane, f"DELETE FROM events WHERE seq = {head.seq}")
    report = await checked(plane, tmp_path)
    alone = await verify(plane.database)
    assert (report.broken_at, report.seq) == (head.id, head.seq)
    assert report.problem == alone.problem == "the record was removed"
    assert (alone.broken_at, alone.seq) == (f"the record before {log[head.seq]['id']}", head.seq)


async def test_records_that_changed_places_are_named(
    plane: Plane, log: Log, tmp_path: Path
) -> None:
    """The first record that stands where another belongs is named, with the other."""
    one, two = log[3]["seq"], log[4]["seq"]
    await tamper(
        plane,
        f"UPDATE events SET seq = 999 WHERE seq = {one}",
        f"UPDATE events SET seq = {one} WHERE seq = {two}",
        f"UPDATE events SET seq = {two} WHERE seq = 999",
    )
    report = await checked(plane, tmp_path)
    assert (report.broken_at, report.seq) == (log[4]["id"], one)
    assert report.problem is not None
    assert f"stands where {log[3]['id']} belongs" in report.problem


async def test_an_inserted_record_is_named(plane: Plane, log: Log, tmp_path: Path) -> None:
    """A record that was put in between fits what is before it, but not what comes after."""
    before, after = log[4], log[5:]
    envelope = before["envelope"].replace(before["id"], "evt_forged")
    forged = events.chain_hash(before["hash"], envelope)
    moved = [f"UPDATE events SET seq = seq + 1 WHERE seq = {row['seq']}" for row in after[::-1]]
    await tamper(
        plane,
        *moved,
        "INSERT INTO events SELECT seq + 1, 'evt_forged', type, timestamp, release_id, "
        f"replace(envelope, id, 'evt_forged'), hash, '{forged}' FROM events "
        f"WHERE seq = {before['seq']}",
    )
    assert (await verify(plane.database)).broken_at == "evt_forged"
    assert (await checked(plane, tmp_path)).broken_at == "evt_forged"


async def test_a_log_that_was_cut_off_is_found_by_the_heads_beside_it(
    plane: Plane, log: Log, tmp_path: Path
) -> None:
    """What is gone at the end leaves a whole chain; the head outside of the store tells."""
    await tamper(plane, f"DELETE FROM events WHERE seq > {log[-2]['seq']}")
    silent = await verify(plane.database)
    report = await checked(plane, tmp_path)
    kept = await verify(plane.database, kept_elsewhere=[log[-1]["hash"][:16]])
    assert silent.ok
    assert (report.broken_at, report.seq) == (log[-1]["id"], log[-1]["seq"])
    assert report.problem == "it and what came after it were cut off"
    assert kept.broken_at == "end"


async def test_an_emptied_log_is_cut_off_at_its_first_record(
    plane: Plane, log: Log, tmp_path: Path
) -> None:
    """Nothing is left to read, but the first head was noted."""
    await tamper(plane, "DELETE FROM events")
    report = await checked(plane, tmp_path)
    assert report.seq == log[0]["seq"]
    assert report.records == 0


async def test_a_log_that_was_written_anew_is_found(plane: Plane, log: Log, tmp_path: Path) -> None:
    """Hashes that were all made to fit again differ from those that were noted."""
    previous, changes = log[2]["hash"], []
    for row in log[3:]:
        envelope = row["envelope"].replace("ann", "bob").replace("'", "''")
        new = events.chain_hash(previous, envelope)
        changes.append(
            f"UPDATE events SET envelope = '{envelope}', previous_hash = '{previous}', "
            f"hash = '{new}' WHERE seq = {row['seq']}"
        )
        previous = new
    await tamper(plane, *changes)
    report = await checked(plane, tmp_path)
    assert (await verify(plane.database)).ok
    assert (report.broken_at, report.seq) == (log[3]["id"], log[3]["seq"])
    assert report.problem is not None
    assert "written anew" in report.problem


async def test_each_event_carries_the_head_before_it(plane: Plane, log: Log) -> None:
    """A notice holds the log's head outside of the store: any of them finds a cut."""
    async with plane.read() as tx:
        told = [envelope for _, envelope in await events.listed(tx)]
    heads = [envelope["data"]["audit_head"] for envelope in told]
    assert heads == [row["previous_hash"] for row in log]
    assert (await verify(plane.database, kept_elsewhere=heads)).ok


async def test_folding_and_forgetting_leave_the_chain_whole(
    plane: Plane, log: Log, tmp_path: Path
) -> None:
    """Counters fold and answers expire; the log keeps every record."""
    later = plane.clock.now() + timedelta(days=400)
    async with plane.write() as tx:
        row = {"at": "2020-01-01T00:00:00Z", "span_seconds": 1, "worker_id": "w", "cells": []}
        await tx.run(schema.counters.insert().values(**row))
        await folding.fold(tx, now=later, judged_up_to=None)
        await idempotency.forget_old(tx, now=later)
    assert await checked(plane, tmp_path) == AuditReport(len(log), log[-1]["hash"])


async def test_a_relay_that_goes_on_after_a_cut_does_not_heal_it(
    plane: Plane, log: Log, tmp_path: Path
) -> None:
    """New records in the place of those that are gone are not the ones that were noted."""
    await tamper(plane, f"DELETE FROM events WHERE seq > {log[-2]['seq']}")
    async with plane.write() as tx:
        now = plane.clock.now()
        await events.append(tx, event_type="split.changed", now=now, actor=RELAY, data={})
    report = await checked(plane, tmp_path)
    assert report.seq == log[-1]["seq"]
    assert not report.ok


def test_a_torn_line_is_nobodys_beginning(tmp_path: Path) -> None:
    """Wherever a full disk has cut a line, the next head is read as it was noted.

    Glued to "1", the 3rd record would be the 13th: one that no log holds, so that it was cut off.
    """
    head = Head(12, "evt_a", "a" * 64)
    after = Head(13, "evt_b", "b" * 64)
    note(tmp_path, head)
    whole = (tmp_path / NAME).read_bytes()
    for length in range(len(whole)):
        (tmp_path / NAME).write_bytes(whole[:length])
        note(tmp_path, after)
        assert [one for one in noted(tmp_path) if one != head] == [after], whole[:length]


async def test_the_file_of_heads_survives_damage(plane: Plane, log: Log, tmp_path: Path) -> None:
    """Torn lines are left out, and a file that cannot be written stops no change."""
    whole = noted(tmp_path)
    with (tmp_path / NAME).open("a") as file:
        file.write("\n12 evt_torn abc\n\x00\nnonsense\n99 evt_half")
    assert noted(tmp_path) == whole
    note(tmp_path / "missing", whole[0])
    assert (await checked(plane, tmp_path)).ok
    assert noted(tmp_path / "missing") == []


async def test_versions_quarantines_and_keys_are_on_record(
    plane: Plane, story: Any, refused: Callable[[str], Any]
) -> None:
    """Who made, barred and gave back what, and why; a key's record holds nothing to use."""
    await story.begin()
    async with plane.write() as tx:
        await quarantine.bar(plane, tx, "v2", actor=ANN, reason="odd answers")
        await quarantine.bar(plane, tx, "v2", actor=ANN, reason="twice")
        await quarantine.lift(plane, tx, "v2", actor=ANN, reason="was the provider")
        new = keys.NewKey(name="ci", scopes=["operate"])
        made = await keys.create(tx, new, now=plane.clock.now(), actor=ANN)
        await keys.revoke(tx, made["id"], now=plane.clock.now(), actor=ANN)
        await keys.revoke(tx, made["id"], now=plane.clock.now(), actor=ANN)
        told = [envelope for _, envelope in await events.listed(tx)]
        with refused("config_not_allowed"):
            await quarantine.bar(plane, tx, "v1", actor=ANN, reason="no")
        assert not (await versions.resolve(tx, await configs.current(tx), "v2")).quarantined
    by_type = {one["type"]: one["data"] for one in told}
    kinds = [one["type"] for one in told]
    assert kinds.count("version.quarantined") == kinds.count("key.revoked") == 1
    assert by_type["version.created"]["version"] == "v2"
    assert by_type["version.quarantined"]["reason"] == "odd answers"
    assert by_type["version.quarantine_lifted"]["actor"]["name"] == "ann"
    assert by_type["version.quarantine_lifted"]["config_id"]
    assert made["key"] not in str(told)


async def test_a_copy_of_the_data_directory_can_be_verified(
    plane: Plane, log: Log, tmp_path: Path
) -> None:
    """The log needs no relay: store and heads are files."""
    if plane.database.path is None:
        pytest.skip("a SQLite file is copied")
    copy = tmp_path / "copy"
    copy.mkdir()
    source, target = plane.database.path, copy / "grayscale.db"
    with closing(sqlite3.connect(source)) as live, closing(sqlite3.connect(target)) as copied:
        live.backup(copied)
    (copy / NAME).write_text((tmp_path / NAME).read_text())
    database = Database(copy)
    report = await verify(database, noted=noted(copy))
    await database.close()
    assert report.ok
    assert report.records == len(log)


async def a_little_later(watch: LogWatch, plane: Plane) -> str | None:
    """What the watch says when its next look is due."""
    assert isinstance(plane.clock, FakeClock)
    plane.clock.advance(LOOK_EVERY_SECONDS)
    await watch.look()
    return watch.problem


async def test_a_log_that_loses_its_head_is_noticed_while_the_relay_runs(
    plane: Plane, log: Log, story: Any, tmp_path: Path
) -> None:
    """Within a look, and for good: whatever is written after it, and for whoever starts later."""
    watch = LogWatch(plane.database, tmp_path, plane.clock)
    await watch.look()
    assert watch.problem is None
    await tamper(plane, f"DELETE FROM events WHERE seq = {log[-1]['seq']}")
    await story.renew()
    await story.act("fail")
    assert f"record {log[-1]['seq']} ({log[-1]['id']})" in (
        await a_little_later(watch, plane) or ""
    )
    later = LogWatch(plane.database, tmp_path, plane.clock)
    await later.look()
    assert later.problem == watch.problem


async def test_a_log_that_was_written_anew_is_noticed(
    plane: Plane, log: Log, tmp_path: Path
) -> None:
    """Hashes that fit each other are not the ones that were noted."""
    watch = LogWatch(plane.database, tmp_path, plane.clock)
    await tamper(plane, f"UPDATE events SET hash = '{'a' * 64}' WHERE seq = {log[-1]['seq']}")
    assert "written anew" in (await a_little_later(watch, plane) or "")


async def test_only_the_end_of_the_file_of_heads_is_read(tmp_path: Path) -> None:
    """The newest heads, and none of a line that was begun before."""
    heads = [Head(seq, f"evt_{seq:020}", f"{seq:064}") for seq in range(900, 1200)]
    for head in heads:
        note(tmp_path, head)
    for count in range(1, 20):
        assert newest(tmp_path, count) == heads[-count:]


async def test_readyz_says_that_the_log_lost_its_head(
    plane: Plane, log: Log, tmp_path: Path
) -> None:
    """Each worker asks at the pace of its flushes, not per request."""
    assert isinstance(plane.brake, Brake)
    runtime = Runtime(plane.settings, plane.brake, plane.clock)
    watch = LogWatch(plane.database, tmp_path, plane.clock)
    control = StoreControlPlane(plane, runtime, "worker-1", watch)
    try:
        await control.flush(cells={}, applied_seq=1, in_flight={})
        assert "audit" not in runtime.health.reasons
        await tamper(plane, f"DELETE FROM events WHERE seq = {log[-1]['seq']}")
        await control.flush(cells={}, applied_seq=1, in_flight={})
        assert "audit" not in runtime.health.reasons
        assert isinstance(plane.clock, FakeClock)
        plane.clock.advance(LOOK_EVERY_SECONDS)
        await control.flush(cells={}, applied_seq=1, in_flight={})
        assert "does not hold record" in runtime.health.reasons["audit"]
    finally:
        await control.close()
