"""From counted cells to what the judge is told of an interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self

from grayscale.judge import LATENCY_EDGES_MS, Arm
from grayscale.plane.document import Document
from grayscale.traffic.counters import (
    CALLER_ASKED,
    CALLER_BUCKETS,
    CALLER_FAILED,
    Cell,
    CellKey,
    Cells,
)
from grayscale.traffic.outcomes import COUNTED_ASSIGNMENTS, INDEPENDENT_ASSIGNMENTS, Assignment

Arms = tuple[Arm, Arm]
"""(stable, candidate)"""

_BUCKETS = len(LATENCY_EDGES_MS) + 1


@dataclass(frozen=True, slots=True)
class CallerBook:
    """Which buckets of sticky callers have asked, and which have failed, in this release.

    Each is a bitmap. The first failure of a bucket counts once, whichever worker saw it, and
    whichever version it was: under the hypothesis that both are alike, it may as well have been
    the other's.
    """

    asked: int = 0
    failed: int = 0

    @classmethod
    def from_json(cls, data: Mapping[str, str] | None) -> Self:
        """The book that `to_json` wrote, or an empty one."""
        return cls(*(int(data[name], 16) for name in ("asked", "failed"))) if data else cls()

    def to_json(self) -> dict[str, str]:
        """Both bitmaps in hexadecimal."""
        return {"asked": f"{self.asked:x}", "failed": f"{self.failed:x}"}

    def read(
        self, cells: Cells, arms: Arms, *, version: str, weight_percent: float
    ) -> tuple[CallerBook, Arms]:
        """The book after these cells, and the arms with the callers at risk and newly failed."""
        asked, failed = self.asked, self.failed
        new = {False: 0, True: 0}
        for key, cell in cells.items():
            for bucket, seen in cell.callers.items():
                bit = 1 << bucket
                asked |= bit if seen & CALLER_ASKED else 0
                if seen & CALLER_FAILED and not failed & bit:
                    failed |= bit
                    new[key.version == version] += 1
        given = round(weight_percent * CALLER_BUCKETS / 100)
        at_risk = asked & ~self.failed
        of_candidate = (at_risk & ((1 << given) - 1)).bit_count()
        stable, candidate = arms
        return CallerBook(asked, failed), (
            replace(
                stable,
                callers=max(at_risk.bit_count() - of_candidate, new[False]),
                failed_callers=new[False],
            ),
            replace(candidate, callers=max(of_candidate, new[True]), failed_callers=new[True]),
        )


@dataclass(slots=True)
class _Side:
    """One version's cells, summed up; `streams` are its requests that asked for a stream."""

    cell: Cell = field(default_factory=Cell)
    streams: int = 0

    def add(self, key: CellKey, cell: Cell) -> None:
        self.cell.add(cell)
        self.streams += cell.judged if key.stream else 0

    def arm(self) -> Arm:
        cell = self.cell
        return Arm(
            requests=max(cell.judged, 0),
            errors=cell.errors,
            latency_counts=_dense(cell.latency),
            rejected=cell.rejected,
            client_gone=cell.client_gone,
            by_code={int(code): n for code, n in cell.by_code.items() if code.isdigit()},
            shared_errors=cell.rescue_failed,
            signals=_signals(cell, self.streams),
            histograms={
                name: _dense(counts)
                for name in ("ttft", "token_ms", "cost")
                if (counts := getattr(cell, name))
            },
        )


def of_release(cells: Cells, release: Document) -> Cells:
    """The cells that judge a release: under its present config, by assignments that count."""
    counted: set[str] = set(COUNTED_ASSIGNMENTS)
    if release.plan.judge.count_pinned:
        counted.add(Assignment.PINNED)
    return {
        key: cell
        for key, cell in cells.items()
        if key.config_id == release.config_id and key.assignment in counted
    }


def arms_of(counted: Cells, release: Document) -> tuple[Arms, Arms | None]:
    """All requests of both versions; and the independent ones, None if that is all of them."""
    apart = {
        key: cell for key, cell in counted.items() if key.assignment in INDEPENDENT_ASSIGNMENTS
    }
    everything = _arms(counted, release)
    return everything, None if len(apart) == len(counted) else _arms(apart, release)


def _arms(cells: Cells, release: Document) -> Arms:
    stable, candidate = _Side(), _Side()
    for key, cell in cells.items():
        (candidate if key.version == release.version else stable).add(key, cell)
    return stable.arm(), candidate.arm()


def _signals(cell: Cell, streams: int) -> dict[str, tuple[int, int]]:
    """(bad, all) by name; where there is nothing to look at, the signal is not there."""
    found = {
        "refusal": (cell.refused, cell.ok),
        "empty_answer": (cell.empty, cell.ok),
        "truncation": (cell.truncated, cell.ok),
        "invalid_json": (cell.json_invalid, cell.json_asked),
        "invalid_tool_call": (cell.tools_invalid, cell.tools_called),
        "stream_abort": (cell.aborted, max(streams, cell.aborted)),
    }
    return {name: counts for name, counts in found.items() if counts[1]}


def _dense(histogram: dict[int, int]) -> tuple[int, ...]:
    counts = [0] * _BUCKETS
    for bucket, count in histogram.items():
        counts[min(bucket, _BUCKETS - 1)] += count
    return tuple(counts)
