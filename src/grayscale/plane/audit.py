"""What `grayscale audit verify` asks: was the event log edited, reordered, rewritten, or cut.

Each record's hash covers the hash before it, so whoever changes one must write all later ones
anew; the heads that were noted outside of the store tell that too, and what is gone at the end.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from grayscale.plane import events
from grayscale.plane.events import FIRST_HASH, chain_hash
from grayscale.store.database import Database
from grayscale.store.log_heads import Head

Record = Mapping[str, Any]
"""A row of the log: seq, id, type, timestamp, release_id, envelope, previous_hash, hash."""

_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What was found: `broken_at` names the first record that does not fit, None if all do."""

    records: int
    head: str
    broken_at: str | None = None
    seq: int | None = None
    problem: str | None = None

    @property
    def ok(self) -> bool:
        """Whether the log is the one that was written, as far as can be told."""
        return self.broken_at is None


async def stored(database: Database) -> AsyncGenerator[Record, None]:
    """The log's records as they stand in the store."""
    after = 0
    async with database.read() as tx:
        while rows := await events.chained(tx, after=after, limit=_AT_ONCE):
            for row in rows:
                yield row
            after = int(rows[-1]["seq"])


async def verify(
    database: Database, *, noted: Sequence[Head] = (), kept_elsewhere: Sequence[str] = ()
) -> AuditReport:
    """`verify_records` of a store."""
    async with aclosing(stored(database)) as records:
        return await verify_records(records, noted=noted, kept_elsewhere=kept_elsewhere)


async def verify_records(
    records: AsyncIterator[Record],
    *,
    noted: Sequence[Head] = (),
    kept_elsewhere: Sequence[str] = (),
) -> AuditReport:
    """Recompute the chain and compare it with the heads outside of the store.

    `noted` are heads with their place; `kept_elsewhere` are hashes, or their beginnings, from
    notices, `/readyz`, or a snapshot. Both must have been read before the first record is.
    """
    walk = _Walk({head.seq: head for head in reversed(noted)})  # the first that was noted counts
    async for record in records:
        problem = walk.look(record)
        if problem is not None:
            return await _told(walk, record, problem, records)
    return walk.end(kept_elsewhere)


class _Walk:
    """The way along the chain, as far as it is whole."""

    def __init__(self, noted: dict[int, Head]) -> None:
        self._noted = noted
        self.ids: dict[str, str] = {FIRST_HASH: ""}
        self.head, self.seq = FIRST_HASH, 0

    def look(self, record: Record) -> str | None:
        """What is wrong with the next record; None takes one step further."""
        link, envelope = str(record["previous_hash"]), str(record["envelope"])
        if record["hash"] != chain_hash(link, envelope) or not _columns_fit(record, envelope):
            return "the record was edited"
        if link != self.head:
            return "a record before it was removed, inserted or reordered"
        seq = int(record["seq"])
        head = self._noted.get(seq)
        if self.gone(before=seq) or (head is not None and head.hash != record["hash"]):
            return "it is not the record whose hash was noted: the log was written anew"
        self.head, self.seq = str(record["hash"]), seq
        self.ids[self.head] = str(record["id"])
        return None

    def end(self, kept_elsewhere: Sequence[str]) -> AuditReport:
        """After the last record: whether anything was cut off behind it."""
        gone = self.gone(before=None)
        if gone is not None:
            return self.report(gone, self.seq + 1, "it and what came after it were cut off")
        for kept in kept_elsewhere:
            if not any(known.startswith(kept) for known in self.ids):
                problem = f"no record has the head {kept[:16]}…, which was kept elsewhere: records "
                return self.report("end", None, problem + "at the end were cut off")
        return AuditReport(self.records, self.head)

    def report(self, broken_at: str, seq: int | None, problem: str) -> AuditReport:
        """Where the chain ends to be whole."""
        return AuditReport(self.records, self.head, broken_at, seq, problem)

    def missing(self, record: Record) -> AuditReport:
        """A record between the last whole one and this one is not there."""
        gone = self.gone(before=int(record["seq"]))
        name = gone or f"the record before {record['id']}"
        return self.report(name, self.seq + 1, "the record was removed")

    @property
    def records(self) -> int:
        """How many records are whole."""
        return len(self.ids) - 1

    def gone(self, *, before: int | None) -> str | None:
        """The name of the first record after the last whole one that was noted, and is not there."""
        later = [seq for seq in self._noted if seq > self.seq and (before is None or seq < before)]
        if not later:
            return None
        first = min(later)
        return self._noted[first].id if first == self.seq + 1 else f"record {self.seq + 1}"


async def _told(
    walk: _Walk, record: Record, problem: str, later: AsyncIterator[Record]
) -> AuditReport:
    """Which record is to blame where the chain breaks, and how."""
    seq, name, link = int(record["seq"]), str(record["id"]), record["previous_hash"]
    if link == walk.head or problem.startswith("the record"):
        if walk.gone(before=seq) is not None:
            return walk.missing(record)
        return walk.report(name, seq, problem)
    if link in walk.ids:
        known = list(walk.ids)
        inserted = walk.ids[known[known.index(link) + 1]]
        return walk.report(inserted, None, "the record was inserted")
    async for other in later:
        if other["previous_hash"] == walk.head:
            problem = f"the record stands where {other['id']} belongs: they were reordered"
            return walk.report(name, seq, problem)
    return walk.missing(record)


def _columns_fit(record: Record, envelope: str) -> bool:
    """Whether the columns that are searched say what the record itself says."""
    try:
        told = json.loads(envelope)
        meant = (told["id"], told["type"], told["timestamp"], told["data"]["release_id"])
    except (ValueError, KeyError, TypeError):
        return False
    return meant == (record["id"], record["type"], record["timestamp"], record["release_id"])
