"""Counter rows grow coarser with age, and the totals never fall."""

from datetime import timedelta

from sqlalchemy import func, select

from grayscale.clock import rfc3339
from grayscale.plane import folding, judging, totals
from grayscale.plane.plane import Plane
from grayscale.store import schema
from grayscale.store.database import Tx
from grayscale.traffic.counters import Cell, CellKey, Cells, dump_cells

KEY = CellKey("config-1", "v1", "gpt-4.1", "main", "weighted", stream=False)


async def count_at(plane: Plane, tx: Tx, age: timedelta, started: int) -> None:
    """A counter row of that age."""
    cells: Cells = {KEY: Cell(started=started, ok=started, latency={3: started})}
    row = {"at": rfc3339(plane.clock.now() - age), "span_seconds": 1, "worker_id": "w"}
    await tx.run(schema.counters.insert().values(cells=dump_cells(cells), **row))


async def rows(tx: Tx) -> int:
    """How many rows there are."""
    row = await tx.one(select(func.count().label("n")).select_from(schema.counters))
    return int(row["n"]) if row else 0


async def test_old_rows_fold_and_the_sum_stays(plane: Plane) -> None:
    """Ten seconds become one row after a while, and nothing is lost or counted twice."""
    async with plane.write() as tx:
        for second in range(10):
            await count_at(plane, tx, timedelta(hours=1, seconds=-second), 2)
        await count_at(plane, tx, timedelta(seconds=5), 7)
        before = await totals.since_ever(tx)
        for _ in range(3):
            await folding.fold(tx, now=plane.clock.now(), judged_up_to=None)
        after = await totals.since_ever(tx)
        assert sum(cell.started for cell in before.values()) == 27
        assert sum(cell.started for cell in after.values()) == 27
        assert 2 <= await rows(tx) <= 3


async def test_what_no_judge_has_read_stays_fine(plane: Plane) -> None:
    """Rows behind a judge's cursor are folded, those ahead of it are not."""
    async with plane.write() as tx:
        for second in range(10):
            await count_at(plane, tx, timedelta(hours=1, seconds=-second), 1)
        await folding.fold(tx, now=plane.clock.now(), judged_up_to=0)
        assert await rows(tx) == 10


async def test_the_totals_outlive_the_rows(plane: Plane) -> None:
    """Rows older than 30 days go; Prometheus' counters do not fall."""
    async with plane.write() as tx:
        await count_at(plane, tx, timedelta(days=31), 5)
        await folding.fold(tx, now=plane.clock.now(), judged_up_to=None)
        after = await totals.since_ever(tx)
        assert await rows(tx) == 0
        assert sum(cell.started for cell in after.values()) == 5


async def test_nothing_is_judged_without_a_candidate(plane: Plane) -> None:
    """Without a release and a split nobody holds rows back."""
    async with plane.write() as tx:
        assert await judging.read_up_to(tx) is None
