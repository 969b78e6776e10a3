"""What Prometheus reads: sums since ever, of what lasts."""

from prometheus_client import CollectorRegistry

from grayscale.clock import rfc3339
from grayscale.plane import totals
from grayscale.plane.plane import Plane
from grayscale.relay.admin.exposition import SIGNALS, Exposition
from grayscale.store import schema
from grayscale.traffic.counters import Cell, CellKey, bucket_of, dump_cells

KEY = CellKey("config-1", "v1", "gpt-4.1", "main", "sticky", stream=False)


async def count(plane: Plane, cell: Cell) -> None:
    """A row of counters, just written by a worker."""
    row = {"at": rfc3339(plane.clock.now()), "span_seconds": 1, "worker_id": "w"}
    async with plane.write() as tx:
        await tx.run(schema.counters.insert().values(cells=dump_cells({KEY: cell}), **row))


async def test_callers_are_not_kept_for_ever(plane: Plane) -> None:
    """Which callers were seen belongs to one release; the totals do not grow with them."""
    await count(plane, Cell(started=2, callers={7: 1, 9: 3}))
    async with plane.write() as tx:
        await totals.carry_forward(tx)
        (cell,) = (await totals.since_ever(tx)).values()
    assert cell == Cell(started=2)


async def test_what_answers_showed_is_exposed(plane: Plane) -> None:
    """Every signal has its series, and so has the time per token."""
    cell = Cell(started=9, ok=9, token_ms={bucket_of(30): 3})
    for number, field in enumerate(SIGNALS.values(), start=1):
        setattr(cell, field, number)
    await count(plane, cell)
    registry = CollectorRegistry()
    registry.register(await Exposition.read(plane))
    labels = {"version": "v1", "model": "gpt-4.1", "upstream": "main"}
    for number, signal in enumerate(SIGNALS, start=1):
        value = registry.get_sample_value("grayscale_answers_total", labels | {"signal": signal})
        assert value == number
    pace = "grayscale_time_per_output_token_seconds_bucket"
    assert registry.get_sample_value(pace, labels | {"le": "0.02"}) == 0
    assert registry.get_sample_value(pace, labels | {"le": "0.035"}) == 3
