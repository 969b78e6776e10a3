"""A cell's rollouts, counted, and held against its bar."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import fmean, median
from typing import NamedTuple

from benchmarks.judge.cells import Cell
from grayscale.simulation import End, Ended

_QUANTILE = 0.99


class Figure(NamedTuple):
    """One number of a cell, its bar, and whether it is kept (None: there is no bar)."""

    name: str
    measured: str
    bar: str = ""
    kept: bool | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """A cell's rollouts under one judge."""

    cell: Cell
    rollouts: tuple[Ended, ...]

    @property
    def false_rollbacks(self) -> int:
        """Rollbacks of what was not, or not yet, worse than stable."""
        return self._count(
            lambda one: (
                one.end is End.ROLLED_BACK and (self.cell.harmless or one.detected_after is None)
            )
        )

    @property
    def missed(self) -> int:
        """Candidates that were worse, and were promoted."""
        if self.cell.harmless:
            return 0
        return self._count(lambda one: one.end is End.PROMOTED and one.worse_since is not None)

    @property
    def asked(self) -> int:
        """Releases that ended at a person."""
        return self._count(lambda one: one.end is End.ASKED)

    @property
    def trips(self) -> int:
        """Releases that the breaker ended."""
        return self._count(lambda one: one.cause == "breaker")

    @property
    def about_harm(self) -> bool:
        """Whether there is something to find."""
        return not self.cell.harmless and any(one.worse_since is not None for one in self.rollouts)

    @property
    def mean_failed(self) -> float:
        """Requests that the candidate failed, per release, found or not."""
        return fmean(one.failed_requests for one in self.rollouts)

    def quantile(self, of: Callable[[Ended], float | None], share: float) -> float:
        """A quantile over all rollouts; what never happened counts as infinitely late."""
        values = sorted(math.inf if (value := of(one)) is None else value for one in self.rollouts)
        if share == 0.5:
            return median(values)
        return values[min(math.ceil(share * len(values)) - 1, len(values) - 1)]

    def figures(self) -> Iterator[Figure]:
        """What was measured, against the bar where there is one."""
        bar = self.cell.bar
        yield self._share("false rollbacks", self.false_rollbacks, bar.false_rollbacks)
        if bar.trips is not None:
            yield self._share("breaker trips", self.trips, bar.trips)
        if self.about_harm:
            yield self._share("promoted", self.missed, bar.missed)
        if self.asked or self.about_harm:
            yield self._share("asked", self.asked, None)
        if self.about_harm:
            yield from self._harm()

    def _harm(self) -> Iterator[Figure]:
        bar = self.cell.bar
        times = [self.quantile(lambda one: one.detected_after, share) for share in (0.5, 0.95)]
        yield _most("median detection", times[0], bar.median_seconds, " s")
        yield _most("p95", times[1], None, " s")
        yield _most("mean failed requests", self.mean_failed, bar.mean_failed)
        if bar.median_callers_failed is not None:
            seen = self.quantile(lambda one: one.callers_failed, 0.5)
            yield _most("median failures seen by callers", seen, bar.median_callers_failed)

    def _count(self, holds: Callable[[Ended], bool]) -> int:
        return sum(map(holds, self.rollouts))

    def _share(self, name: str, count: int, bar: float | None) -> Figure:
        rollouts = len(self.rollouts)
        measured = f"{100 * count / rollouts:.1f} %"
        if bar is None:
            return Figure(name, measured)
        return Figure(name, measured, f"≤ {100 * bar:g} %", count <= highest_count(rollouts, bar))


def highest_count(trials: int, share: float) -> int:
    """The 99 % quantile of a binomial count at the bar: a higher one fails its cell."""
    if share in {0.0, 1.0}:
        return round(share * trials)
    cumulated = 0.0
    for count in range(trials + 1):
        cumulated += math.comb(trials, count) * share**count * (1 - share) ** (trials - count)
        if cumulated >= _QUANTILE:
            return count
    return trials


def _most(name: str, value: float, bar: float | None, unit: str = "") -> Figure:
    measured = "never" if value == math.inf else f"{round(value, 1):g}{unit}"
    if bar is None:
        return Figure(name, measured)
    return Figure(name, measured, f"≤ {bar:g}{unit}", value <= bar)
