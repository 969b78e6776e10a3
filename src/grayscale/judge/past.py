"""Histograms of answers: an interval's, and stable's up to now with where its quantiles lie."""

from __future__ import annotations

import operator
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

_LEVELS = (0.25, 0.5, 0.75, 0.9, 0.95)
_MIN_PAST = 200
_PRIOR = 0.5
_GROWTH = 1.05


class Histogram(NamedTuple):
    """Answers of one interval per bucket of LATENCY_EDGES_MS, and how many there are."""

    counts: Sequence[int]
    total: int

    def beyond(self, bucket: int) -> int:
        """How many are above a bucket."""
        return sum(self.counts[bucket + 1 :])

    def classes(self, cuts: Sequence[int], *, raised: int = 0) -> list[int]:
        """How many are up to each cut, raised by so many buckets, and above the last."""
        counts, begin, found = self.counts, 0, []
        for cut in cuts:
            end = cut + raised + 1
            found.append(sum(counts[begin:end]))
            begin = end
        found.append(self.total - sum(found))
        return found


class Spread(NamedTuple):
    """How answers lie: read from `known` of them, and good until there are a twentieth more.

    `cuts` are the buckets that _LEVELS fall into, each once; `shares` are those of the classes up
    to each cut, and above the last. `above` is the first class above each level, and `beyond` the
    share of answers there.
    """

    known: int
    cuts: tuple[int, ...]
    shares: tuple[float, ...]
    above: tuple[int, ...]
    beyond: tuple[float, ...]

    def first_class_beyond(self, level: float) -> int:
        """The first class that is above the bucket which one of _LEVELS falls into."""
        return self.above[_LEVELS.index(level)]

    def share_beyond(self, level: float) -> float:
        """The share of answers there."""
        return self.beyond[_LEVELS.index(level)]


class Past(NamedTuple):
    """One of stable's histograms over all intervals; no spread before there is enough.

    `counts` are those of the buckets from `begin` on, up to the last that ever had an answer.
    """

    begin: int = 0
    counts: tuple[int, ...] = ()
    total: int = 0
    spread: Spread | None = None

    def after(self, interval: Histogram) -> Past:
        """With one more interval."""
        begin, counts, total, spread = self
        new = interval.counts[begin : begin + len(counts)]
        if sum(new) != interval.total:
            return self._reaching(interval.counts).after(interval)
        counts, total = tuple(map(operator.add, counts, new)), total + interval.total
        if total >= (_MIN_PAST if spread is None else _GROWTH * spread.known):
            spread = _spread(begin, counts, total)
        return Past(begin, counts, total, spread)

    def _reaching(self, interval: Sequence[int]) -> Past:
        """The same answers, with room for those of an interval."""
        filled = [bucket for bucket, count in enumerate(interval) if count]
        if self.counts:
            filled += [self.begin, self.begin + len(self.counts) - 1]
        begin, end = min(filled), max(filled) + 1
        before, behind = self.begin - begin, end - self.begin - len(self.counts)
        if not self.counts:
            before, behind = 0, end - begin
        return self._replace(begin=begin, counts=(0,) * before + self.counts + (0,) * behind)

    def to_json(self) -> dict[str, Any]:
        """As a JSON value."""
        return self._asdict()

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Past:
        """What `to_json` wrote."""
        spread = data["spread"]
        if spread is not None:
            known, *others = spread
            spread = Spread(known, *map(tuple, others))
        return cls(data["begin"], tuple(data["counts"]), data["total"], spread)


NO_PAST = Past()


def _spread(begin: int, counts: Sequence[int], total: int) -> Spread:
    heights = list(accumulate(counts))
    places = [bisect_left(heights, level * total) for level in _LEVELS]
    cuts = sorted(set(places))
    reached = [0, *(heights[cut] for cut in cuts), total]
    prior_total = total + _PRIOR * (len(cuts) + 1)
    shares = [(after - before + _PRIOR) / prior_total for before, after in pairwise(reached)]
    above = [cuts.index(place) + 1 for place in places]
    return Spread(
        total,
        cuts=tuple(begin + cut for cut in cuts),
        shares=tuple(shares),
        above=tuple(above),
        beyond=tuple(sum(shares[first:]) for first in above),
    )
