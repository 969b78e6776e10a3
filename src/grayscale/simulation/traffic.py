"""The traffic of one interval, as the product's counters would tell of it."""

from __future__ import annotations

import operator
from collections import deque
from collections.abc import Sequence
from random import Random

from grayscale.judge import Arm
from grayscale.simulation.draws import binomial, poisson
from grayscale.simulation.latency import NOTHING
from grayscale.simulation.world import Moment, Version, World


class Traffic:
    """Both arms' requests, interval by interval.

    Requests count in the interval in which they start, failures at once, good answers when they
    are known. What was under way when the weight changed belongs to the old split and is not
    told any more.
    """

    def __init__(self, world: World, rng: Random, *, interval_seconds: float) -> None:
        self._world = world
        self._stable = _Flow(world.stable, rng, interval_seconds)
        self._candidate = _Flow(world.candidate, rng, interval_seconds)

    def new_split(self) -> None:
        """From here on requests belong to another split."""
        self._stable.forget()
        self._candidate.forget()

    def interval(self, moment: Moment, *, seconds: float) -> tuple[Arm, Arm]:
        """What stable and the candidate are counted in so many seconds around this moment."""
        expected = self._world.rps * seconds
        share = moment.weight_percent / 100
        return (
            self._stable.interval(moment, expected * (1 - share)),
            self._candidate.interval(moment, expected * share),
        )


class _Flow:
    """One version's requests; answers under way are kept by the interval that will hear of them."""

    def __init__(self, version: Version, rng: Random, interval_seconds: float) -> None:
        self._version = version
        self._rng = rng
        whole, part = divmod(version.answer_seconds / interval_seconds, 1.0)
        self._intervals, self._later_share = int(whole), part
        self._under_way: deque[list[int]] = deque()
        self.forget()

    def forget(self) -> None:
        """Nothing is under way any more."""
        self._under_way = deque([list(NOTHING)] * (self._intervals + 1))

    def interval(self, moment: Moment, expected: float) -> Arm:
        """One interval in which so many requests are expected to start."""
        requests = poisson(self._rng, expected)
        errors = self._failures(requests, self._version.errors(moment))
        good = requests - errors
        later = binomial(self._rng, good, self._later_share)
        latency = self._version.latency(moment)
        self._under_way.append(latency.histogram(self._rng, later))
        sooner = latency.histogram(self._rng, good - later)
        self._under_way[-2] = _sum(self._under_way[-2], sooner)
        return Arm(requests=requests, errors=errors, latency_counts=self._under_way.popleft())

    def _failures(self, requests: int, rate: float) -> int:
        """Failures of an interval; those that come in a row begin as rarely as they are long."""
        together = self._version.cluster
        if together <= 1:
            return binomial(self._rng, requests, rate)
        failures = 0
        for _ in range(binomial(self._rng, requests, rate / together)):
            failures += 1
            while self._rng.random() < 1 - 1 / together:
                failures += 1
        return min(failures, requests)


def _sum(one: Sequence[int], other: Sequence[int]) -> list[int]:
    return list(map(operator.add, one, other))
