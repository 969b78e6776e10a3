"""The outbox in the control store: notices that were written with the event they tell of."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import RowMapping, Select, bindparam, exists, select, update

from grayscale.clock import from_rfc3339, rfc3339
from grayscale.notices.delivery import LONGEST_WAIT_SECONDS, OutboxItem
from grayscale.plane import document, events
from grayscale.plane.actor import RELAY
from grayscale.plane.plane import Plane
from grayscale.store import schema
from grayscale.store.database import Tx

_TRIED = select(schema.outbox.c.seq, schema.outbox.c.next_at).where(
    schema.outbox.c.state == "pending", schema.outbox.c.attempts > 0
)

_SENT = (
    update(schema.outbox)
    .where(schema.outbox.c.seq == bindparam("item"))
    .values(state="sent", last_error=None)
)


class StoreOutbox:
    """`grayscale.notices.delivery.Outbox` over the store."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._due_at: dict[int, float] = {}

    async def due(self, *, limit: int) -> list[OutboxItem]:
        """Notices whose time has come, oldest first; none that would overtake an earlier one."""
        async with self._plane.read() as tx:
            waiting = self._waiting(await tx.all(_TRIED))
            rows = await tx.all(_DUE, waiting=waiting, ahead=waiting, limit=limit)
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
            await tx.run(_SENT, item=int(item_id))

    async def failed(self, *, item_id: str, error: str, retry_in_seconds: float | None) -> None:
        """The notice has not arrived; None gives it up, and says so in the event log."""
        now = self._plane.clock.now()
        box = schema.outbox
        async with self._plane.write() as tx:
            attempts = box.c.attempts + 1
            if retry_in_seconds is not None:
                next_at = rfc3339(now + timedelta(seconds=retry_in_seconds))
                await _put(tx, item_id, attempts=attempts, next_at=next_at, last_error=error)
                self._due_at[int(item_id)] = self._plane.clock.monotonic() + retry_in_seconds
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

    def _waiting(self, tried: Iterable[RowMapping]) -> list[int]:
        """Which of the notices that were tried wait for their next try.

        By this leader's own clock, so that nobody waits longer for a wall clock that was set; only
        what another leader has tried is first taken from the wall, and never for too long.
        """
        clock, known = self._plane.clock, self._due_at
        now, wall = clock.monotonic(), clock.now()
        self._due_at = {
            int(row["seq"]): known.get(int(row["seq"]), now + _left(row["next_at"], wall))
            for row in tried
        }
        return [seq for seq, at in self._due_at.items() if at > now]


def _left(next_at: str, wall: datetime) -> float:
    return min((from_rfc3339(next_at) - wall).total_seconds(), LONGEST_WAIT_SECONDS)


def _pending_but_waiting() -> Select[Any]:
    """What is to be sent, but for what waits and what stands behind that in its line."""
    box, log, earlier = schema.outbox, schema.events, schema.outbox.alias("earlier")
    behind = exists().where(
        earlier.c.seq.in_(bindparam("ahead", expanding=True)),
        earlier.c.release_id == box.c.release_id,
        earlier.c.channel == box.c.channel,
        earlier.c.seq < box.c.seq,
    )
    return (
        select(box, log.c.envelope)
        .join(log, log.c.id == box.c.event_id)
        .where(box.c.state == "pending", ~behind)
        .where(box.c.seq.not_in(bindparam("waiting", expanding=True)))
        .order_by(box.c.seq)
        .limit(bindparam("limit"))
    )


_DUE = _pending_but_waiting()


async def _put(tx: Tx, item_id: str, **changes: object) -> None:
    box = schema.outbox
    await tx.run(update(box).where(box.c.seq == int(item_id)).values(**changes))
