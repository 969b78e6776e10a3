"""Every effect happens once: the first answer to a key is kept with the effect itself."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, delete, insert, select

from grayscale.clock import rfc3339
from grayscale.errors import Refused
from grayscale.store import schema
from grayscale.store.database import Tx

KEPT = timedelta(hours=72)
_LONGEST_KEY = 255
_BY_KEY = select(schema.idempotency).where(schema.idempotency.c.key == bindparam("key"))
_KEEP = insert(schema.idempotency)


@dataclass(frozen=True, slots=True)
class Answer:
    """A status and a JSON body."""

    status: int
    body: Any


def fingerprint(method: str, path: str, body: object) -> str:
    """What must be the same for a key to mean the same request."""
    text = json.dumps([method, path, body], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


async def replay(tx: Tx, key: str, wanted: str) -> Answer | None:
    """The first answer to this key; raises Refused (422) if it was for another request."""
    if not 0 < len(key) <= _LONGEST_KEY:
        raise Refused(
            422,
            "invalid_idempotency_key",
            f"Idempotency-Key: must have 1 to {_LONGEST_KEY} characters (got {len(key)})",
            param="Idempotency-Key",
        )
    row = await tx.one(_BY_KEY, key=key)
    if row is None:
        return None
    if row["fingerprint"] != wanted:
        raise Refused(
            422,
            "idempotency_key_reused",
            f"Idempotency-Key '{key}' was used for another request; use a new key",
            param="Idempotency-Key",
        )
    return Answer(int(row["status"]), row["answer"])


async def keep(tx: Tx, key: str, wanted: str, answer: Answer, *, now: datetime) -> None:
    """Keep the answer with the effect, in the effect's own transaction."""
    await tx.run(
        _KEEP,
        key=key,
        fingerprint=wanted,
        status=answer.status,
        answer=answer.body,
        created_at=rfc3339(now),
    )


async def forget_old(tx: Tx, *, now: datetime) -> None:
    """Drop answers older than 72 hours."""
    old = schema.idempotency.c.created_at < rfc3339(now - KEPT)
    await tx.run(delete(schema.idempotency).where(old))
