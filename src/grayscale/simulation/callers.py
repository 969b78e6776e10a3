"""Traffic of callers that stick to a version, each with habits of its own."""

from __future__ import annotations

import math
import operator
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, islice
from random import Random

from grayscale.judge import LATENCY_EDGES_MS, Arm
from grayscale.simulation.draws import poisson
from grayscale.simulation.latency import BUCKETS, Latency
from grayscale.simulation.requests import Failover, Passed, Request, Rescue, UnderWay
from grayscale.simulation.world import Callers, Moment, Version, World
from grayscale.traffic.counters import CALLER_BUCKETS


class Habits:
    """Each caller's bucket, how often it asks, and how much worse than others it fares."""

    def __init__(self, callers: Callers, rng: Random) -> None:
        asked = [1 / rank**callers.zipf for rank in range(1, callers.count + 1)]
        self.buckets = [rng.randrange(CALLER_BUCKETS) for _ in asked]
        spread, even = callers.error_sigma, -(callers.error_sigma**2) / 2
        self.error_factors = [math.exp(rng.gauss(even, spread)) for _ in asked]
        sigma = callers.latency_sigma
        self.slowness = {bucket: math.exp(rng.gauss(0, sigma)) for bucket in self.buckets}
        self.alike = not callers.latency_sigma
        if callers.poison_share:
            asked.append(sum(asked) * callers.poison_share / (1 - callers.poison_share))
            self.buckets.append(0)
            self.error_factors.append(math.inf)
            self.slowness[0] = 1.0
        self.cumulative = list(accumulate(asked))

    def fails(self, rng: Random, caller: int, rate: float) -> bool:
        """Whether a request of this caller fails where the average caller's fail at this rate."""
        factor = self.error_factors[caller]
        return factor == math.inf or rng.random() < rate * factor

    def histogram(self, rng: Random, latency: Latency, asking: Sequence[int]) -> list[int]:
        """The latencies of good answers to callers of these buckets."""
        if self.alike:
            return latency.histogram(rng, len(asking))
        counts = [0] * BUCKETS
        for bucket in asking:
            factor = math.exp(rng.gauss(0, latency.sigma)) * self.slowness[bucket]
            counts[bisect_left(LATENCY_EDGES_MS, latency.median_ms * factor)] += 1
        return counts


class StickyTraffic:
    """Requests of callers; a caller's bucket decides, so that a rising weight only adds callers."""

    def __init__(
        self,
        world: World,
        callers: Callers,
        rng: Random,
        *,
        interval_seconds: float,
        failover_percent: float,
    ) -> None:
        self._world = world
        self._rng = rng
        self._habits = Habits(callers, rng)
        self._failover = Failover(rng, percent=failover_percent)
        self._book = _Book()
        self._stable = _Flow(world.stable, self._habits, rng, interval_seconds)
        self._candidate = _Flow(world.candidate, self._habits, rng, interval_seconds)

    def new_split(self) -> None:
        """See Traffic."""
        self._stable.forget()
        self._candidate.forget()

    def interval(self, moment: Moment, *, seconds: float) -> Passed:
        """See Traffic."""
        requests = self._requests(moment, poisson(self._rng, self._world.split_rps * seconds))
        of_stable = [request for request in requests if not request.candidate]
        of_candidate = [request for request in requests if request.candidate]
        firsts, at_risk, newly_failed = self._book.read(requests, _given(moment))
        stable, stable_alone = self._stable.arms(of_stable, firsts, moment)
        candidate, candidate_alone = self._candidate.arms(of_candidate, firsts, moment)
        failed = [place for place, request in enumerate(of_candidate) if request.failed]
        helped = sum(request.rescue is Rescue.ANSWERED for request in of_candidate)
        return Passed(
            stable=replace(stable, callers=at_risk[0], failed_callers=newly_failed[0]),
            candidate=replace(candidate, callers=at_risk[1], failed_callers=newly_failed[1]),
            independent=(stable_alone, candidate_alone),
            candidate_failed=failed,
            callers_failed=len(failed) - helped,
            in_order=lambda: requests,
        )

    def _requests(self, moment: Moment, count: int) -> list[Request]:
        habits, rng = self._habits, self._rng
        given = _given(moment)
        stable_rate = self._world.stable.errors(moment)
        candidate_rate = self._world.candidate.errors(moment)
        asking = rng.choices(range(len(habits.buckets)), cum_weights=habits.cumulative, k=count)
        requests, well = [], 0
        for place, caller in enumerate(asking):
            bucket, rescue = habits.buckets[caller], None
            candidate = bucket < given
            failed = habits.fails(rng, caller, candidate_rate if candidate else stable_rate)
            well += candidate
            if candidate and failed:
                fails_again = habits.fails(rng, caller, stable_rate)
                rescue = self._failover.rescue(requests=well, stable_rate=float(fails_again))
                well = 0
            requests.append(Request((place + 0.5) / count, candidate, failed, bucket, rescue))
        self._failover.went_well(requests=well)
        return requests


class _Book:
    """Which buckets have asked, and which have failed, in this release; each as a bitmap."""

    def __init__(self) -> None:
        self._asked = 0
        self._failed = 0

    def read(
        self, requests: Sequence[Request], given: float
    ) -> tuple[set[float], tuple[int, int], tuple[int, int]]:
        """The times of first requests; callers at risk and newly failed, of stable and candidate.

        At risk is who has ever asked, and had not failed before.
        """
        firsts, failed, new = set(), self._failed, [0, 0]
        for request in requests:
            bit = 1 << (request.caller or 0)
            if not self._asked & bit:
                self._asked |= bit
                firsts.add(request.at)
            if request.failed and not failed & bit:
                failed |= bit
                new[request.candidate] += 1
        at_risk, self._failed = self._asked & ~self._failed, failed
        of_candidate = (at_risk & ((1 << round(given)) - 1)).bit_count()
        of_stable = at_risk.bit_count() - of_candidate
        return firsts, (max(of_stable, new[0]), max(of_candidate, new[1])), (new[0], new[1])


def _given(moment: Moment) -> float:
    """The first bucket that stays on stable."""
    return moment.weight_percent * CALLER_BUCKETS / 100


class _Flow:
    """One version's requests, and the answers of it that are still under way."""

    def __init__(
        self, version: Version, habits: Habits, rng: Random, interval_seconds: float
    ) -> None:
        self._version = version
        self._habits = habits
        self._rng = rng
        self._firsts, self._others = (
            UnderWay(rng, answer_seconds=version.answer_seconds, interval_seconds=interval_seconds)
            for _ in range(2)
        )

    def forget(self) -> None:
        """What is under way now will never be told."""
        self._firsts.forget()
        self._others.forget()

    def arms(
        self,
        requests: Sequence[Request],
        firsts: set[float],
        moment: Moment,
    ) -> tuple[Arm, Arm]:
        """What is counted of all requests, and of those that are independent of each other."""
        first = [request for request in requests if request.at in firsts]
        other = [request for request in requests if request.at not in firsts]
        answered_first = self._answered(self._firsts, first, moment)
        answered_other = self._answered(self._others, other, moment)
        everything = Arm(
            len(requests),
            _failures(requests),
            list(map(operator.add, answered_first, answered_other)),
            shared_errors=_shared(requests),
        )
        alone = Arm(len(first), _failures(first), answered_first, shared_errors=_shared(first))
        return everything, alone

    def _answered(
        self, under_way: UnderWay, requests: Sequence[Request], moment: Moment
    ) -> list[int]:
        good = iter([request.caller or 0 for request in requests if not request.failed])
        latency = self._version.latency(moment)

        def histogram(count: int) -> list[int]:
            return self._habits.histogram(self._rng, latency, list(islice(good, count)))

        return under_way.arrivals(len(requests) - _failures(requests), histogram)


def _failures(requests: Sequence[Request]) -> int:
    return sum(request.failed for request in requests)


def _shared(requests: Sequence[Request]) -> int:
    return sum(request.rescue is Rescue.FAILED_TOO for request in requests)
