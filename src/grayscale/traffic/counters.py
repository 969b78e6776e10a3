"""What a worker counts: cells of monotone sums, one per way of serving a request.

A request is counted as started when it starts, and its outcome under the same cell when it is
known, so that fast errors and slow answers weigh alike (DESIGN.md, "By start, not by end").
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

from grayscale.judge import LATENCY_EDGES_MS

CALLER_BUCKETS = 10_000
"""Sticky callers are spread over this many buckets; a bucket is assigned as a whole."""

CALLER_ASKED, CALLER_FAILED = 1, 2
"""What a bucket of callers was seen to do in a release."""

COST_UNIT_USD = 1e-5
"""The unit of `Cell.cost`: a thousandth of a cent."""


class CellKey(NamedTuple):
    """Which requests a cell sums up; `config_id` is the config in which they started."""

    config_id: str
    version: str
    model: str
    upstream: str
    assignment: str
    stream: bool


def bucket_of(milliseconds: float) -> int:
    """The index of the latency bucket (upper edges, `LATENCY_EDGES_MS`; one more above)."""
    return bisect_left(LATENCY_EDGES_MS, milliseconds)


@dataclass(slots=True)
class Cell:
    """Sums over the requests of one key; latencies are milliseconds in `LATENCY_EDGES_MS`.

    `latency` holds successful requests: received to last byte (JSON) or first content frame
    (stream). `ttft` holds streams' first content frame, `duration` received to the very end.

    What whole answers looked like: `refused`, `empty` and `truncated` among `ok`; `json_invalid`
    among `json_asked`, `tools_invalid` among `tools_called`; `aborted` streams were cut by the
    upstream after content had been passed on. `rescue_failed`: candidate failures whose retry on
    stable failed too. `token_ms` holds milliseconds per output token, `cost` prices of whole
    answers in `COST_UNIT_USD`, both in the buckets of `LATENCY_EDGES_MS`.

    `callers` says what each bucket of sticky callers was first seen to do (a union of `CALLER_*`).
    """

    started: int = 0
    ok: int = 0
    upstream_error: int = 0
    config_error: int = 0
    rejected: int = 0
    client_gone: int = 0
    failed_over: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_cached: int = 0
    cost_usd: float = 0.0
    by_code: dict[str, int] = field(default_factory=dict)
    latency: dict[int, int] = field(default_factory=dict)
    ttft: dict[int, int] = field(default_factory=dict)
    duration: dict[int, int] = field(default_factory=dict)
    gone_after: dict[int, int] = field(default_factory=dict)
    rescue_failed: int = 0
    refused: int = 0
    empty: int = 0
    truncated: int = 0
    json_asked: int = 0
    json_invalid: int = 0
    tools_called: int = 0
    tools_invalid: int = 0
    aborted: int = 0
    token_ms: dict[int, int] = field(default_factory=dict)
    cost: dict[int, int] = field(default_factory=dict)
    callers: dict[int, int] = field(default_factory=dict)

    @property
    def errors(self) -> int:
        """Failures that count against the version."""
        return self.upstream_error + self.config_error

    @property
    def judged(self) -> int:
        """Started requests that count in `error_rate`."""
        return self.started - self.rejected - self.client_gone

    def add(self, other: Cell) -> None:
        """Sum `other` into this cell."""
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in _MAPS:
            mine, theirs = getattr(self, name), getattr(other, name)
            for key, count in theirs.items():
                mine[key] = mine.get(key, 0) + count
        for bucket, seen in other.callers.items():
            self.callers[bucket] = self.callers.get(bucket, 0) | seen

    def to_json(self) -> dict[str, Any]:
        """Only what is not zero."""
        return {
            f.name: dict(value) if isinstance(value, dict) else value
            for f in fields(self)
            if (value := getattr(self, f.name))
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Cell:
        """The cell that `to_json` wrote (JSON turns bucket numbers into text)."""
        known = dict(data)
        for name in _BY_NUMBER:
            if name in known:
                known[name] = {int(bucket): count for bucket, count in known[name].items()}
        return cls(**known)


_HISTOGRAMS = (
    "latency",
    "ttft",
    "duration",
    "gone_after",
    "token_ms",
    "cost",
)
_BY_NUMBER = (*_HISTOGRAMS, "callers")
_MAPS = (*_HISTOGRAMS, "by_code")
_SUMS = tuple(f.name for f in fields(Cell) if f.name not in {*_MAPS, "callers"})

Cells = dict[CellKey, Cell]


def dump_cells(cells: Cells) -> list[list[Any]]:
    """Cells as a JSON value: `[[key fields...], {sums}]` each."""
    return [[list(key), cell.to_json()] for key, cell in cells.items()]


def load_cells(data: Iterable[list[Any]]) -> Cells:
    """The cells that `dump_cells` wrote."""
    return {CellKey(*key): Cell.from_json(cell) for key, cell in data}


def merge_cells(into: Cells, more: Cells) -> None:
    """Sum `more` into `into`."""
    for key, cell in more.items():
        into.setdefault(key, Cell()).add(cell)


def quantile_ms(histogram: dict[int, int], q: float) -> float | None:
    """The q-quantile of a latency histogram in milliseconds; None if it is empty.

    Log buckets with factor 1.05: the answer is at most 2.5 % off (the bucket's geometric mean).
    """
    total = sum(histogram.values())
    if total == 0:
        return None
    rank, seen = q * total, 0
    for bucket in sorted(histogram):
        seen += histogram[bucket]
        if seen >= rank:
            return _middle_ms(bucket)
    raise AssertionError("unreachable: the last bucket reaches every rank")


def _middle_ms(bucket: int) -> float:
    if bucket == 0:
        return float(LATENCY_EDGES_MS[0])
    if bucket >= len(LATENCY_EDGES_MS):
        return float(LATENCY_EDGES_MS[-1])
    return round(math.sqrt(LATENCY_EDGES_MS[bucket - 1] * LATENCY_EDGES_MS[bucket]), 2)
