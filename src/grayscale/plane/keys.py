"""Relay keys: 256 random bits, stored as SHA-256, shown once."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator
from sqlalchemy import insert, select, update
from sqlalchemy.engine import RowMapping

from grayscale.clock import from_rfc3339, rfc3339
from grayscale.errors import Refused
from grayscale.plane import events
from grayscale.plane.actor import Actor
from grayscale.plane.ids import new_id
from grayscale.store import schema
from grayscale.store.database import Tx
from grayscale.traffic.snapshot import SCOPES, Key

KEY_PREFIX = "gs_"
_MOST_PER_MINUTE = 10**12


class NewKey(BaseModel):
    """The body of `POST /admin/keys`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=128)
    scopes: list[str] = Field(min_length=1)
    models: list[str] | None = None
    requests_per_minute: int | None = Field(default=None, gt=0, le=_MOST_PER_MINUTE)
    tokens_per_minute: int | None = Field(default=None, gt=0, le=_MOST_PER_MINUTE)
    expires_at: str | None = None

    @field_validator("scopes")
    @classmethod
    def _known(cls, scopes: list[str]) -> list[str]:
        for scope in scopes:
            if scope not in SCOPES:
                raise ValueError(f"'{scope}' is not a scope; there are: {', '.join(SCOPES)}")
        return scopes

    @field_validator("expires_at")
    @classmethod
    def _moment(cls, text: str | None) -> str | None:
        return None if text is None else rfc3339(from_rfc3339(text))


def new_secret() -> str:
    """A fresh key: `gs_` and 256 random bits."""
    return KEY_PREFIX + secrets.token_urlsafe(32)


def sha256_of(secret: str) -> str:
    """What is stored of a key; a slow hash is not needed for 256 random bits."""
    return hashlib.sha256(secret.encode()).hexdigest()


async def create(
    tx: Tx, new: NewKey, *, now: datetime, actor: Actor, secret: str | None = None
) -> dict[str, Any]:
    """Store a key; the answer holds it under `key`, this once."""
    secret = secret or new_secret()
    values = {
        "id": new_id("key"),
        "name": new.name,
        "prefix": secret[:7],
        "last4": secret[-4:],
        "scopes": list(dict.fromkeys(new.scopes)),
        "models": new.models,
        "requests_per_minute": new.requests_per_minute,
        "tokens_per_minute": new.tokens_per_minute,
        "expires_at": new.expires_at,
        "created_at": rfc3339(now),
        "created_by": actor.name,
    }
    await tx.run(insert(schema.keys).values(sha256=sha256_of(secret), **values))
    await _tell(tx, "key.created", values, now=now, actor=actor)
    await tx.bump()
    return {**values, "key": secret}


async def listed(tx: Tx) -> list[dict[str, Any]]:
    """Every key, oldest first, without what could be used."""
    rows = await tx.all(select(schema.keys).order_by(schema.keys.c.created_at, schema.keys.c.id))
    return [{name: row[name] for name in row if name != "sha256"} for row in rows]


async def revoke(tx: Tx, key_id: str, *, now: datetime, actor: Actor) -> None:
    """Revoke a key; it stays listed. Raises Refused (404) for an unknown id."""
    row = await tx.one(select(schema.keys).where(schema.keys.c.id == key_id))
    if row is None:
        raise Refused(404, "key_not_found", f"Key '{key_id}' does not exist", param="id")
    if row["revoked_at"] is None:
        statement = update(schema.keys).where(schema.keys.c.id == key_id)
        await tx.run(statement.values(revoked_at=rfc3339(now)))
        await _tell(tx, "key.revoked", row, now=now, actor=actor)
        await tx.bump()


async def live(tx: Tx) -> dict[str, Key]:
    """Keys that may be used (expiry is checked per request), by SHA-256."""
    rows = await tx.all(select(schema.keys).where(schema.keys.c.revoked_at.is_(None)))
    return {str(row["sha256"]): _from_row(row) for row in rows}


async def find_by_secret(tx: Tx, secret: str) -> Key | None:
    """The live key with this secret, or None."""
    return (await live(tx)).get(sha256_of(secret))


async def _tell(tx: Tx, kind: str, key: Mapping[Any, Any], *, now: datetime, actor: Actor) -> None:
    """On record: which key, and what it may do; nothing that could be used."""
    data = {name: key[name] for name in ("id", "name", "prefix", "last4", "scopes", "models")}
    await events.append(tx, event_type=kind, now=now, actor=actor, data={"key": data})


def _from_row(row: RowMapping) -> Key:
    return Key(
        id=row["id"],
        name=row["name"],
        sha256=row["sha256"],
        scopes=frozenset(row["scopes"]),
        prefix=row["prefix"],
        last4=row["last4"],
        models=None if row["models"] is None else frozenset(row["models"]),
        requests_per_minute=row["requests_per_minute"],
        tokens_per_minute=row["tokens_per_minute"],
        expires_at=None if row["expires_at"] is None else from_rfc3339(row["expires_at"]),
    )
