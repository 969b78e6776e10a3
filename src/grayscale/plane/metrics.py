"""What was measured: sums of counter rows over a window, per version."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import select

from grayscale.clock import rfc3339
from grayscale.plane import configs
from grayscale.plane.configs import Config
from grayscale.plane.plane import Plane
from grayscale.store import schema
from grayscale.store.database import Tx
from grayscale.traffic.counters import Cell, Cells, load_cells, merge_cells, quantile_ms
from grayscale.traffic.outcomes import COUNTED_ASSIGNMENTS, Assignment

MAX_WINDOW_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Window:
    """Cells of the last `seconds`, with the head that every metrics answer carries."""

    seconds: int
    since: str
    as_of: str
    workers: int
    config: Config
    cells: Cells

    def head(self) -> dict[str, Any]:
        """What every answer begins with."""
        return {
            "window_seconds": self.seconds,
            "from": self.since,
            "as_of": self.as_of,
            "workers": self.workers,
            "config_id": self.config.config_id,
        }

    def by_version(self) -> dict[str, Cell]:
        """One sum per version: those with a weight or an alias first, then any that was used."""
        names = [*self.config.aliases.values(), *self.config.weights]
        sums: dict[str, Cell] = {name: Cell() for name in names}
        for key, cell in self.cells.items():
            if key.assignment != Assignment.FAILOVER:
                sums.setdefault(key.version, Cell()).add(cell)
        return sums


async def window(plane: Plane, seconds: int) -> Window:
    """Everything counted in the last `seconds`."""
    now = plane.clock.now()
    since = rfc3339(now - timedelta(seconds=seconds))
    async with plane.read() as tx:
        config = await configs.current(tx)
        live = await tx.all(select(schema.workers.c.id))
        cells = await cells_since(tx, since)
    return Window(seconds, since, rfc3339(now), len(live), config, cells)


async def cells_since(tx: Tx, since: str | None) -> Cells:
    """The sum of all counter rows at or after a time (None: of all there are)."""
    statement = select(schema.counters.c.cells)
    if since is not None:
        statement = statement.where(schema.counters.c.at >= since)
    total: Cells = {}
    for row in await tx.all(statement):
        merge_cells(total, load_cells(row["cells"]))
    return total


def distribution(window: Window) -> list[dict[str, Any]]:
    """Intended and observed share of each version; observed counts what was assigned by split."""
    counted: dict[str, int] = {}
    pinned: dict[str, int] = {}
    for key, cell in window.cells.items():
        if key.assignment in COUNTED_ASSIGNMENTS:
            counted[key.version] = counted.get(key.version, 0) + cell.started
        elif key.assignment == Assignment.PINNED:
            pinned[key.version] = pinned.get(key.version, 0) + cell.started
    total = sum(counted.values())
    return [
        {
            "version": name,
            "aliases": window.config.aliases_of(name),
            "intended_percent": window.config.weights.get(name, 0.0),
            "observed_percent": round(counted.get(name, 0) * 100 / total, 2) if total else 0.0,
            "requests": counted.get(name, 0),
            "pinned": pinned.get(name, 0),
        }
        for name in window.by_version()
    ]


def errors(window: Window) -> list[dict[str, Any]]:
    """Failures of each version."""
    return [
        {
            "version": name,
            "aliases": window.config.aliases_of(name),
            "requests": cell.started,
            "errors": cell.errors,
            "error_rate_percent": _percent(cell.errors, cell.judged),
            "rejected": cell.rejected,
            "client_gone": cell.client_gone,
            "failed_over": cell.failed_over,
            "by_code": dict(sorted(cell.by_code.items())),
        }
        for name, cell in window.by_version().items()
    ]


def latency(window: Window) -> list[dict[str, Any]]:
    """Latency percentiles of each version's successful requests; null where there are none."""
    return [
        {
            "version": name,
            "aliases": window.config.aliases_of(name),
            "count": sum(cell.latency.values()),
            "p50_ms": quantile_ms(cell.latency, 0.50),
            "p95_ms": quantile_ms(cell.latency, 0.95),
            "p99_ms": quantile_ms(cell.latency, 0.99),
            "ttft_p50_ms": quantile_ms(cell.ttft, 0.50),
            "ttft_p95_ms": quantile_ms(cell.ttft, 0.95),
        }
        for name, cell in window.by_version().items()
    ]


def _percent(part: int, whole: int) -> float:
    return round(part * 100 / whole, 3) if whole > 0 else 0.0
