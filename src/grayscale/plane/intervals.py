"""What the judge was told and what it answered, interval by interval, as it was recorded."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from grayscale.store import schema
from grayscale.store.database import Tx


async def listed(tx: Tx, release_id: str, *, after: int = 0, limit: int) -> list[dict[str, Any]]:
    """A release's intervals after the one of this number, oldest first."""
    table = schema.intervals
    statement = (
        select(table.c.interval_id, table.c.data)
        .where(table.c.release_id == release_id, table.c.interval_id > after)
        .order_by(table.c.interval_id)
        .limit(limit)
    )
    return [_view(int(row["interval_id"]), row["data"]) for row in await tx.all(statement)]


def _view(number: int, data: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": number,
        "at": data.get("at") or None,
        "config_id": data.get("config"),
        "stopped_by": data.get("stopped_by"),
        "interval": data["interval"],
        "verdict": data["verdict"],
    }
