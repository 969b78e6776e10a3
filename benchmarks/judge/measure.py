"""Runs cells over the cores, and holds the figures against the bars."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

from benchmarks.judge.cells import Cell
from grayscale.simulation import End, Ended

_QUANTILE = 0.99


class Figure(NamedTuple):
    """One number of a cell, its bar, and whether it is kept (None: there is no bar)."""

    name: str
    text: str
    bar: str
    kept: bool | None


@dataclass(frozen=True, slots=True)
class Measured:
    """A cell's rollouts, counted."""

    cell: Cell
    rollouts: tuple[Ended, ...]

    @property
    def false_rollbacks(self) -> int:
        """Rollbacks of what was not, or not yet, different from stable."""
        return sum(
            ended.end is End.ROLLED_BACK and ended.detected_after is None for ended in self.rollouts
        )

    @property
    def missed(self) -> int:
        """Promotions; where the candidate is worse, each is one too many."""
        return sum(ended.end is End.PROMOTED for ended in self.rollouts)

    @property
    def asked(self) -> int:
        """Releases that ended at a person."""
        return sum(ended.end is End.ASKED for ended in self.rollouts)

    @property
    def detections(self) -> list[float]:
        """Seconds from the first difference to the rollback, of those found."""
        return sorted(e.detected_after for e in self.rollouts if e.detected_after is not None)

    def figures(self) -> list[Figure]:
        """What was measured, against the bar where there is one."""
        bar, count = self.cell.bar, len(self.rollouts)
        found = [
            _share("false rollbacks", self.false_rollbacks, count, bar.false_rollbacks),
            _share("promoted", self.missed, count, bar.missed),
            Figure("asked", f"{100 * self.asked / count:.1f} %", "", None),
        ]
        times = [e.detected_after or math.inf for e in self.rollouts]
        failed = [float(e.failed_requests) for e in self.rollouts]
        if self.detections:
            found.append(_most("median detection", median(times), bar.median_seconds, " s"))
            found.append(_most("median failed requests", median(failed), bar.median_failed, ""))
        return found


def highest_count(rollouts: int, share: float) -> int:
    """The 99 % quantile of a binomial count at the bar: more than that is a failed cell."""
    log_terms, cumulative = [], 0.0
    for count in range(rollouts + 1):
        if share in {0.0, 1.0}:
            return round(share * rollouts)
        chosen = math.lgamma(rollouts + 1) - math.lgamma(count + 1)
        chosen -= math.lgamma(rollouts - count + 1)
        log_terms.append(
            chosen + count * math.log(share) + (rollouts - count) * math.log(1 - share)
        )
        cumulative += math.exp(log_terms[-1])
        if cumulative >= _QUANTILE:
            return count
    return rollouts


def _share(name: str, count: int, rollouts: int, bar: float | None) -> Figure:
    text = f"{count} of {rollouts} ({100 * count / rollouts:.1f} %)"
    if bar is None:
        return Figure(name, text, "", None)
    return Figure(name, text, f"≤ {100 * bar:g} %", count <= highest_count(rollouts, bar))


def _most(name: str, value: float, bar: float | None, unit: str) -> Figure:
    text = "never" if value == math.inf else f"{value:g}{unit}"
    if bar is None:
        return Figure(name, text, "", None)
    return Figure(name, text, f"≤ {bar:g}{unit}", value <= bar)


def lines(measured: Sequence[Measured]) -> list[str]:
    """A markdown table."""
    rows = ["| cell | what | measured | bar | |", "|---|---|---|---|---|"]
    for one in measured:
        for figure in one.figures():
            mark = {None: "", True: "pass", False: "**fail**"}[figure.kept]
            rows.append(
                f"| {one.cell.title} | {figure.name} | {figure.text} | {figure.bar} | {mark} |"
            )
    return rows
