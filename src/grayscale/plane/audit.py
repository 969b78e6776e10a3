"""What `grayscale audit verify` asks: was the event log edited, reordered, or cut."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from grayscale.plane.events import FIRST_HASH, chain_hash
from grayscale.store import schema
from grayscale.store.database import Database

_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What was found: `broken_at` names the first record that does not fit, None if all do."""

    records: int
    head: str
    broken_at: str | None = None
    problem: str | None = None

    @property
    def ok(self) -> bool:
        """Whether every record fits the one before it."""
        return self.broken_at is None


async def verify(database: Database, *, expected_head: str | None = None) -> AuditReport:
    """Recompute the hash chain; `expected_head` (kept elsewhere) finds a log that was cut off."""
    previous, last_seq, count = FIRST_HASH, 0, 0
    seen: set[str] = set()
    async with database.read() as tx:
        while True:
            table = schema.events
            statement = select(table).where(table.c.seq > last_seq).order_by(table.c.seq)
            rows = await tx.all(statement.limit(_AT_ONCE))
            for row in rows:
                count, last_seq = count + 1, int(row["seq"])
                if row["previous_hash"] != previous:
                    problem = "a record before it was removed, inserted or reordered"
                    return AuditReport(count, previous, str(row["id"]), problem)
                previous = chain_hash(previous, str(row["envelope"]))
                if row["hash"] != previous:
                    problem = "the record was edited"
                    return AuditReport(count, previous, str(row["id"]), problem)
                seen.add(previous)
            if len(rows) < _AT_ONCE:
                break
    if expected_head is not None and expected_head not in seen and expected_head != FIRST_HASH:
        return AuditReport(count, previous, "end", "records at the end were cut off")
    return AuditReport(count, previous)
