"""Workers as the store sees them: their sign of life, what they run, what they counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import bindparam, delete, func, insert, select, update

from grayscale.clock import rfc3339
from grayscale.plane.plane import Plane
from grayscale.store import schema
from grayscale.traffic.counters import Cells, dump_cells

_workers = schema.workers.c
_SIGN_OF_LIFE = (
    update(schema.workers)
    .where(_workers.id == bindparam("worker_id"))
    .values(flushes=_workers.flushes + 1)
)
_JOIN = insert(schema.workers)
_COUNT = insert(schema.counters)
_STATE_SEQ = select(schema.meta.c.number).where(schema.meta.c.key == "state_seq")
_HEARD = select(
    _STATE_SEQ.scalar_subquery().label("config_seq"),
    select(schema.leader.c.beat).scalar_subquery().label("beat"),
    select(func.count()).select_from(schema.workers).scalar_subquery().label("workers"),
)


@dataclass(frozen=True, slots=True)
class Beat:
    """What a worker hears back: the newest state, the leader's beat, how many workers live."""

    config_seq: int
    beat: int
    workers: int


async def flush(
    plane: Plane,
    *,
    worker_id: str,
    pid: int,
    applied_seq: int,
    cells: Cells,
    in_flight: Mapping[str, int],
) -> Beat:
    """Write a worker's counters and sign of life in one transaction."""
    now_runs = {"applied_seq": applied_seq, "in_flight": dict(in_flight)}
    async with plane.database.write() as tx:
        if not await tx.run(_SIGN_OF_LIFE, worker_id=worker_id, **now_runs):
            await tx.run(_JOIN, id=worker_id, pid=pid, flushes=1, **now_runs)
        if cells:
            at = rfc3339(plane.clock.now())
            counted = dump_cells(cells)
            await tx.run(_COUNT, at=at, span_seconds=1, worker_id=worker_id, cells=counted)
        heard = await tx.one(_HEARD)
    return Beat(**{name: int(number or 0) for name, number in (heard or {}).items()})


async def leave(plane: Plane, worker_id: str) -> None:
    """A worker says goodbye: splits need not be verified on it any more."""
    async with plane.database.write() as tx:
        await tx.run(delete(schema.workers).where(schema.workers.c.id == worker_id))


async def applied(plane: Plane, state_seq: int) -> tuple[int, int, list[str]]:
    """How many workers live, how many run at least this state, and which do not."""
    async with plane.read() as tx:
        rows = await tx.all(select(schema.workers.c.id, schema.workers.c.applied_seq))
    lagging = [str(row["id"]) for row in rows if row["applied_seq"] < state_seq]
    return len(rows), len(rows) - len(lagging), lagging
