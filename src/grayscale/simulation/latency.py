"""How long answers take: a log-normal law, perhaps with a share of much slower ones."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from random import Random
from statistics import NormalDist

from grayscale.judge import LATENCY_EDGES_MS
from grayscale.simulation.draws import multinomial

BUCKETS = len(LATENCY_EDGES_MS) + 1
NOTHING = (0,) * BUCKETS
_NORMAL = NormalDist()
_NEGLIGIBLE = 1e-9


@dataclass(frozen=True, slots=True)
class Latency:
    """The latency of good answers; by default the 95th percentile is 1.5 s.

    A `slow_share` of the answers takes `slow_factor` times as long.
    """

    median_ms: float = 560.0
    sigma: float = 0.6
    slow_share: float = 0.0
    slow_factor: float = 6.0

    @property
    def mean_ms(self) -> float:
        """The mean."""
        slowed = 1 + self.slow_share * (self.slow_factor - 1)
        return self.median_ms * math.exp(self.sigma**2 / 2) * slowed

    def times(self, factor: float) -> Latency:
        """Everything takes `factor` times as long."""
        return replace(self, median_ms=self.median_ms * factor)

    def histogram(self, rng: Random, answers: int) -> list[int]:
        """The latencies of so many answers, counted by bucket of LATENCY_EDGES_MS."""
        counts = [0] * BUCKETS
        if answers:
            first, cumulative = _chances(self)
            counts[first : first + len(cumulative)] = multinomial(rng, answers, cumulative)
        return counts


@lru_cache(maxsize=4096)
def _chances(latency: Latency) -> tuple[int, tuple[float, ...]]:
    """The first bucket that is ever hit, and the chances up to each bucket from there on."""
    up_to = [_share_below(latency, edge) for edge in LATENCY_EDGES_MS] + [1.0]
    first = next(index for index, share in enumerate(up_to) if share > _NEGLIGIBLE)
    last = next(index for index, share in enumerate(up_to) if share >= 1 - _NEGLIGIBLE)
    return first, tuple(up_to[first : last + 1])


def _share_below(latency: Latency, edge_ms: float) -> float:
    z = math.log(edge_ms / latency.median_ms) / latency.sigma
    slow_z = z - math.log(latency.slow_factor) / latency.sigma
    slow = latency.slow_share * _NORMAL.cdf(slow_z) if latency.slow_share else 0.0
    return (1 - latency.slow_share) * _NORMAL.cdf(z) + slow
