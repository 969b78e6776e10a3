"""Counter rows grow coarser with age: 1 s, then 10 s, then 5 min, then only totals."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta

from sqlalchemy import delete, insert, select

from grayscale.clock import from_rfc3339, rfc3339
from grayscale.plane import totals
from grayscale.store import schema
from grayscale.store.database import Tx
from grayscale.traffic.counters import Cells, dump_cells, load_cells, merge_cells

_FINE_FOR = timedelta(minutes=15)
_TEN_SECONDS_FOR = timedelta(hours=24)
_FIVE_MINUTES_FOR = timedelta(days=30)
_AT_ONCE = 5000


async def fold(tx: Tx, *, now: datetime, judged_up_to: int | None) -> None:
    """Carry totals forward, then fold what is old and no judge has still to read."""
    await totals.carry_forward(tx)
    await _fold_older(tx, before=now - _FINE_FOR, span=10, judged_up_to=judged_up_to)
    await _fold_older(tx, before=now - _TEN_SECONDS_FOR, span=300, judged_up_to=judged_up_to)
    await totals.drop_before(tx, rfc3339(now - _FIVE_MINUTES_FOR))


async def _fold_older(tx: Tx, *, before: datetime, span: int, judged_up_to: int | None) -> None:
    table = schema.counters
    statement = select(table).where(table.c.at < rfc3339(before), table.c.span_seconds < span)
    if judged_up_to is not None:
        statement = statement.where(table.c.seq <= judged_up_to)
    rows = await tx.all(statement.order_by(table.c.seq).limit(_AT_ONCE))
    buckets: dict[str, Cells] = defaultdict(dict)
    for row in rows:
        merge_cells(buckets[_label(str(row["at"]), span)], load_cells(row["cells"]))
    if not rows:
        return
    await tx.run(delete(table).where(table.c.seq.in_([int(row["seq"]) for row in rows])))
    for at, cells in buckets.items():
        folded = {"at": at, "span_seconds": span, "worker_id": "folded"}
        await tx.run(insert(table).values(cells=dump_cells(cells), **folded))


def _label(at: str, span: int) -> str:
    seconds = int(from_rfc3339(at).timestamp()) // span * span
    return rfc3339(datetime.fromtimestamp(seconds, tz=from_rfc3339(at).tzinfo))
