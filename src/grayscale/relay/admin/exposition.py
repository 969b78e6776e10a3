"""The relay's metrics in Prometheus' terms."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from grayscale.judge import LATENCY_EDGES_MS
from grayscale.plane import configs, releases, totals, versions
from grayscale.plane.configs import Config
from grayscale.plane.plane import Plane
from grayscale.release.phases import State
from grayscale.traffic.counters import Cell, Cells
from grayscale.traffic.outcomes import Outcome

EDGES_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0)
TOKEN_EDGES_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.035, 0.05, 0.1, 0.2, 0.5, 1.0)
SIGNALS = {
    "refusal": "refused",
    "empty_answer": "empty",
    "truncation": "truncated",
    "json_asked": "json_asked",
    "invalid_json": "json_invalid",
    "tool_call": "tools_called",
    "invalid_tool_call": "tools_invalid",
    "stream_abort": "aborted",
}
"""What an answer can show, and the cell's field that counts it."""

_LABELS = ("version", "model", "upstream")
_Sums = dict[tuple[str, str, str], Cell]


@dataclass(frozen=True, eq=False)
class Exposition(Collector):
    """One look at the totals, as metric families."""

    sums: _Sums
    config: Config
    version_names: tuple[str, ...]
    states: dict[str, State]

    @classmethod
    async def read(cls, plane: Plane) -> Exposition:
        """Read the totals and the state of the newest releases."""
        async with plane.read() as tx:
            cells = await totals.since_ever(tx)
            config = await configs.current(tx)
            names = tuple(version.name for version in await versions.every(tx))
            newest = await releases.listed(tx, state=None, before=None, limit=20)
        states = {release.version: release.state for _, release in reversed(newest)}
        return cls(_by_label(cells), config, names, states)

    def collect(self) -> Iterator[Metric]:
        """The families, in the order in which people look for them."""
        yield self._requests()
        yield self._signals()
        yield self._seconds("grayscale_request_duration_seconds", "duration", EDGES_SECONDS)
        yield self._seconds("grayscale_time_to_first_token_seconds", "ttft", EDGES_SECONDS)
        yield self._seconds(
            "grayscale_time_per_output_token_seconds", "token_ms", TOKEN_EDGES_SECONDS
        )
        yield self._weights()
        yield self._states()

    def _requests(self) -> Metric:
        family = CounterMetricFamily(
            "grayscale_requests", "Finished requests.", labels=(*_LABELS, "outcome")
        )
        for labels, cell in self.sums.items():
            for outcome in Outcome:
                family.add_metric((*labels, outcome.value), getattr(cell, outcome.value))
        return family

    def _signals(self) -> Metric:
        family = CounterMetricFamily(
            "grayscale_answers", "Answers by what they showed.", labels=(*_LABELS, "signal")
        )
        for labels, cell in self.sums.items():
            for signal, field in SIGNALS.items():
                family.add_metric((*labels, signal), getattr(cell, field))
        return family

    def _seconds(self, name: str, field: str, edges: Sequence[float]) -> Metric:
        family = HistogramMetricFamily(name, "Seconds, of answered requests.", labels=_LABELS)
        for labels, cell in self.sums.items():
            buckets, total = _histogram(getattr(cell, field), edges)
            family.add_metric(labels, buckets, sum_value=total)
        return family

    def _weights(self) -> Metric:
        family = GaugeMetricFamily(
            "grayscale_version_weight_percent", "Weight in force.", labels=["version"]
        )
        for name in self.version_names:
            family.add_metric((name,), self.config.weights.get(name, 0.0))
        return family

    def _states(self) -> Metric:
        family = GaugeMetricFamily(
            "grayscale_release_state", "1 for the state that a release is in.",
            labels=["version", "state"],
        )  # fmt: skip
        for version, state in self.states.items():
            for other in State:
                family.add_metric((version, other.value), float(other is state))
        return family


def _by_label(cells: Cells) -> _Sums:
    sums: _Sums = {}
    for key, cell in cells.items():
        sums.setdefault((key.version, key.model, key.upstream), Cell()).add(cell)
    return sums


def _histogram(
    counts: dict[int, int], edges: Sequence[float]
) -> tuple[list[tuple[str, float]], float]:
    slots = [0.0] * (len(edges) + 1)
    total_seconds = 0.0
    for bucket, count in counts.items():
        edge_ms = LATENCY_EDGES_MS[min(bucket, len(LATENCY_EDGES_MS) - 1)]
        slots[bisect_left(edges, edge_ms / 1000)] += count
        total_seconds += count * edge_ms / 1000
    buckets, running = [], 0.0
    for edge, inside in zip((*edges, float("inf")), slots, strict=True):
        running += inside
        buckets.append(("+Inf" if edge == float("inf") else str(edge), running))
    return buckets, total_seconds
