"""Whether the log in the store still holds the heads that were noted beside it, asked all the time.

`grayscale audit verify` reads the whole log; this asks for the newest heads alone. Since a record's
hash covers all before it, a log that was written anew or cut off no longer has them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import select

from grayscale.clock import Clock
from grayscale.errors import StoreError
from grayscale.store import log_heads, schema
from grayscale.store.database import Database
from grayscale.store.log_heads import Head

LOOK_EVERY_SECONDS = 10.0
_HEADS = 200


class LogWatch:
    """One worker's watch; `problem` stays for as long as it runs, whatever is written after it."""

    def __init__(self, database: Database, data_dir: Path, clock: Clock) -> None:
        self._database = database
        self._data_dir = data_dir
        self._clock = clock
        self._due_at = clock.monotonic()
        self.problem: str | None = None

    async def look(self) -> None:
        """Compare, if it is time; a store that does not answer says nothing of its log."""
        now = self._clock.monotonic()
        if now < self._due_at or self.problem is not None:
            return
        self._due_at = now + LOOK_EVERY_SECONDS
        heads = await asyncio.to_thread(log_heads.newest, self._data_dir, _HEADS)
        try:
            gone = await self._gone(heads)
        except StoreError:
            return
        if gone is not None:
            self.problem = (
                f"the event log does not hold record {gone.seq} ({gone.id}) any more, whose hash "
                "was noted beside it: it was cut off or written anew; see grayscale audit verify"
            )

    async def _gone(self, heads: Sequence[Head]) -> Head | None:
        """The first of these that the store does not hold."""
        table = schema.events
        wanted = table.c.seq.in_([head.seq for head in heads])
        async with self._database.read() as tx:
            rows = await tx.all(select(table.c.seq, table.c.hash).where(wanted))
        held = {(int(row["seq"]), str(row["hash"])) for row in rows}
        return next((head for head in heads if (head.seq, head.hash) not in held), None)
