"""Stable's answers up to now, and where among them its quantiles lie."""

from __future__ import annotations

import operator
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from grayscale.judge.values import BUCKETS

Cumulated = Sequence[int]
"""Counts up to each bucket of LATENCY_EDGES_MS; empty if nothing reports them."""

_LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
_MIN_PAST = 200
_PRIOR = 0.5
_GROWTH = 1.05


class Spread(NamedTuple):
    """How answers lie: read from `known` of them, and good until there are a twentieth more.

    `quantiles` are the buckets of _LEVELS, `cuts` the different ones among them; `shares` are
    those of the classes up to each cut, and above the last.
    """

    known: int
    quantiles: tuple[int, ...]
    cuts: tuple[int, ...]
    shares: tuple[float, ...]

    def quantile(self, level: float) -> int:
        """The bucket that one of _LEVELS falls into."""
        return self.quantiles[_LEVELS.index(level)]


class Past(NamedTuple):
    """One of stable's histograms over all intervals; no spread before there is enough."""

    heights: tuple[int, ...] = (0,) * BUCKETS
    spread: Spread | None = None

    def after(self, interval: Cumulated) -> Past:
        """With one more interval."""
        heights, spread = tuple(map(operator.add, self.heights, interval)), self.spread
        if heights[-1] >= (_MIN_PAST if spread is None else _GROWTH * spread.known):
            spread = _spread(heights)
        return Past(heights, spread)

    def to_json(self) -> dict[str, Any]:
        """Where the heights rise, and to what; and the spread."""
        steps = enumerate(pairwise((0, *self.heights)))
        rises = {str(bucket): count for bucket, (before, count) in steps if count != before}
        return {"heights": rises, "spread": self.spread}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Past:
        """What `to_json` wrote."""
        heights, height, spread = [], 0, data["spread"]
        for bucket in range(BUCKETS):
            height = data["heights"].get(str(bucket), height)
            heights.append(height)
        if spread is None:
            return cls(tuple(heights))
        known, quantiles, cuts, shares = spread
        return cls(tuple(heights), Spread(known, tuple(quantiles), tuple(cuts), tuple(shares)))


def classes_of(heights: Cumulated, cuts: Sequence[int]) -> list[int]:
    """Counts up to each cut, and above the last."""
    reached = [*[heights[cut] for cut in cuts], heights[-1]]
    return list(map(operator.sub, reached, [0, *reached]))


def _spread(heights: tuple[int, ...]) -> Spread:
    quantiles = tuple(bisect_left(heights, level * heights[-1]) for level in _LEVELS)
    cuts = tuple(sorted(set(quantiles)))
    total = heights[-1] + _PRIOR * (len(cuts) + 1)
    shares = tuple((count + _PRIOR) / total for count in classes_of(heights, cuts))
    return Spread(heights[-1], quantiles, cuts, shares)
