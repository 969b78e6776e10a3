"""Totals since ever: what Prometheus reads, kept when counter rows are folded and dropped."""

from __future__ import annotations

import json

from sqlalchemy import delete, insert, select, update

from grayscale.store import schema
from grayscale.store.database import Tx
from grayscale.traffic.counters import CellKey, Cells, dump_cells, load_cells, merge_cells

_KEY = "totals"


async def since_ever(tx: Tx) -> Cells:
    """All that was ever counted, without regard to configs."""
    cells, _ = await _sum(tx)
    return cells


async def carry_forward(tx: Tx) -> None:
    """Add the rows since the last time to the kept sum (the leader, once a minute)."""
    cells, cursor = await _sum(tx)
    values = {"text": json.dumps(dump_cells(cells)), "number": cursor}
    if not await tx.run(update(schema.meta).where(schema.meta.c.key == _KEY).values(**values)):
        await tx.run(insert(schema.meta).values(key=_KEY, **values))


async def drop_before(tx: Tx, moment: str) -> None:
    """Forget rows older than a time; their sums are in the totals."""
    await tx.run(delete(schema.counters).where(schema.counters.c.at < moment))


async def _sum(tx: Tx) -> tuple[Cells, int]:
    row = await tx.one(select(schema.meta).where(schema.meta.c.key == _KEY))
    cells = load_cells(json.loads(row["text"])) if row else {}
    cursor = int(row["number"]) if row else 0
    table = schema.counters
    rows = await tx.all(
        select(table.c.seq, table.c.cells)
        .where(table.c.seq > cursor, table.c.span_seconds == 1)
        .order_by(table.c.seq)
    )
    for counted in rows:
        merge_cells(cells, _for_ever(load_cells(counted["cells"])))
        cursor = int(counted["seq"])
    return cells, cursor


def _for_ever(cells: Cells) -> Cells:
    """The sums without what belongs to one release: its configs and its sticky callers."""
    merged: Cells = {}
    for key, cell in cells.items():
        cell.callers = {}
        merge_cells(merged, {CellKey("", *key[1:]): cell})
    return merged
