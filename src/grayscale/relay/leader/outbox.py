"""The outbox in the control store: notices that were written with the event they tell of."""

from __future__ import annotations

import json
from datetime import timedelta

from sqlalchemy import exists, select, update

from grayscale.clock import from_rfc3339, rfc3339
from grayscale.notices.delivery import OutboxItem
from grayscale.plane import document, events
from grayscale.plane.actor import RELAY
from grayscale.plane.plane import Plane
from grayscale.store import schema
from grayscale.store.database import Tx


class StoreOutbox:
    """`grayscale.notices.delivery.Outbox` over the store."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane

    async def due(self, *, limit: int) -> list[OutboxItem]:
        """Notices whose time has come, oldest first; none that would overtake an earlier one."""
        box, log, earlier = schema.outbox, schema.events, schema.outbox.alias("earlier")
        now = rfc3339(self._plane.clock.now())
        waits_behind = exists().where(
            earlier.c.state == "pending",
            earlier.c.release_id == box.c.release_id,
            earlier.c.channel == box.c.channel,
            earlier.c.seq < box.c.seq,
            earlier.c.next_at > now,
            earlier.c.attempts > 0,
        )
        statement = (
            select(box, log.c.envelope)
            .join(log, log.c.id == box.c.event_id)
            # One never tried is due whatever the clock says: it may have been set back since.
            .where(box.c.state == "pending", (box.c.next_at <= now) | (box.c.attempts == 0))
            .where(~waits_behind)
            .order_by(box.c.seq)
            .limit(limit)
        )
        async with self._plane.read() as tx:
            rows = await tx.all(statement)
        return [
            OutboxItem(
                id=str(row["seq"]),
                channel=str(row["channel"]),
                envelope=json.loads(row["envelope"]),
                attempts=int(row["attempts"]),
                first_due_at=from_rfc3339(str(row["first_due_at"])),
                channel_hint=row["hint"],
            )
            for row in rows
        ]

    async def delivered(self, *, item_id: str) -> None:
        """The notice has arrived."""
        async with self._plane.write() as tx:
            await _put(tx, item_id, state="sent", last_error=None)

    async def failed(self, *, item_id: str, error: str, retry_in_seconds: float | None) -> None:
        """The notice has not arrived; None gives it up, and says so in the event log."""
        now = self._plane.clock.now()
        box = schema.outbox
        async with self._plane.write() as tx:
            attempts = box.c.attempts + 1
            if retry_in_seconds is not None:
                next_at = rfc3339(now + timedelta(seconds=retry_in_seconds))
                await _put(tx, item_id, attempts=attempts, next_at=next_at, last_error=error)
                return
            await _put(tx, item_id, state="dead", attempts=attempts, last_error=error)
            row = await tx.one(select(box).where(box.c.seq == int(item_id)))
            if row is None or row["release_id"] is None:
                return
            release = await document.load(tx, str(row["release_id"]))
            await events.append(
                tx,
                event_type="notice.undeliverable",
                now=now,
                actor=RELAY,
                release_id=release.id,
                data={
                    "version": release.version,
                    "channel": row["channel"],
                    "event_id": row["event_id"],
                    "reason": error,
                },
            )


async def _put(tx: Tx, item_id: str, **changes: object) -> None:
    box = schema.outbox
    await tx.run(update(box).where(box.c.seq == int(item_id)).values(**changes))
