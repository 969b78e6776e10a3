"""The event log: append-only, hash-chained, with an outbox row per channel that is to be told."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select

from grayscale.clock import rfc3339
from grayscale.plane.actor import Actor
from grayscale.plane.ids import new_id
from grayscale.store import schema
from grayscale.store.database import Tx
from grayscale.store.log_heads import Head

FIRST_HASH = "0" * 64
SCHEMA_VERSION = 1

_HEAD = select(schema.events.c.hash).order_by(schema.events.c.seq.desc()).limit(1)
_APPEND = insert(schema.events)
_TELL = insert(schema.outbox)


def chain_hash(previous: str, envelope: str) -> str:
    """The hash of a record: SHA-256 over the hash before it and its own text."""
    return hashlib.sha256(f"{previous}\n{envelope}".encode()).hexdigest()


async def append(
    tx: Tx,
    *,
    event_type: str,
    now: datetime,
    actor: Actor,
    data: dict[str, Any],
    release_id: str | None = None,
    channels: Iterable[tuple[str, str | None]] = (),
) -> str:
    """Write one event, and what is to be sent of it, in the caller's transaction; its id.

    `channels` are pairs of channel name and hint (such as a Slack channel).
    """
    event_id = new_id("evt")
    previous = await head_hash(tx)
    envelope = {
        "type": event_type,
        "id": event_id,
        "timestamp": rfc3339(now),
        "schema_version": SCHEMA_VERSION,
        "data": {
            "release_id": release_id,
            "actor": actor.to_json(),
            "audit_head": previous,  # so every notice keeps it outside of the store
            **data,
        },
    }
    await _write(tx, envelope, previous)
    for channel, hint in channels:
        notice = {"event_id": event_id, "release_id": release_id, "channel": channel, "hint": hint}
        due = {"first_due_at": rfc3339(now), "next_at": rfc3339(now)}
        await tx.run(_TELL, state="pending", attempts=0, **notice, **due)
    return event_id


async def _write(tx: Tx, envelope: dict[str, Any], previous: str) -> None:
    """The next record of the chain."""
    text = json.dumps(envelope, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    record_hash = chain_hash(previous, text)
    seq = await tx.insert(
        _APPEND,
        id=envelope["id"],
        type=envelope["type"],
        timestamp=envelope["timestamp"],
        release_id=envelope["data"]["release_id"],
        envelope=text,
        previous_hash=previous,
        hash=record_hash,
    )
    tx.head = Head(int(seq), envelope["id"], record_hash)


async def chained(tx: Tx, *, after: int, limit: int) -> list[dict[str, Any]]:
    """Records as they are stored, with their place in the chain, oldest first."""
    table = schema.events
    statement = select(table).where(table.c.seq > after).order_by(table.c.seq).limit(limit)
    return [dict(row) for row in await tx.all(statement)]


async def listed(
    tx: Tx, *, after: int = 0, limit: int = 100, release_id: str | None = None
) -> list[tuple[int, dict[str, Any]]]:
    """Events after a sequence number, oldest first: pairs of sequence number and envelope."""
    statement = select(schema.events).where(schema.events.c.seq > after)
    if release_id is not None:
        statement = statement.where(schema.events.c.release_id == release_id)
    rows = await tx.all(statement.order_by(schema.events.c.seq).limit(limit))
    return [(int(row["seq"]), json.loads(row["envelope"])) for row in rows]


async def newest(tx: Tx, release_id: str) -> dict[str, Any] | None:
    """What happened to a release last: its envelope, or None."""
    table = schema.events
    statement = select(table.c.envelope).where(
        table.c.release_id == release_id, table.c.type.startswith("release.")
    )
    row = await tx.one(statement.order_by(table.c.seq.desc()).limit(1))
    return json.loads(row["envelope"]) if row else None


async def of_type(tx: Tx, event_type: str, *, since: str = "") -> list[dict[str, Any]]:
    """The envelopes of one type after a time, newest first."""
    table = schema.events
    statement = select(table.c.envelope).where(
        table.c.type == event_type, table.c.timestamp > since
    )
    rows = await tx.all(statement.order_by(table.c.seq.desc()))
    return [json.loads(row["envelope"]) for row in rows]


async def seq_of(tx: Tx, event_id: str) -> int:
    """The sequence number of an event id; 0 if there is none such."""
    row = await tx.one(select(schema.events.c.seq).where(schema.events.c.id == event_id))
    return int(row["seq"]) if row else 0


async def head_hash(tx: Tx) -> str:
    """The hash of the newest event: kept outside the database too."""
    row = await tx.one(_HEAD)
    return str(row["hash"]) if row else FIRST_HASH
