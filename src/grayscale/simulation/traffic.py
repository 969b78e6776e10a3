"""The traffic of a release, interval by interval, as the product's counters would tell of it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from random import Random
from typing import Protocol

from grayscale.judge import Arm
from grayscale.simulation.draws import binomial, poisson, positions
from grayscale.simulation.requests import Failover, Passed, Request, Rescue, UnderWay
from grayscale.simulation.world import Moment, Version, World


class Traffic(Protocol):
    """Both arms' requests.

    They count in the interval in which they start, failures at once, good answers when they are
    known.
    """

    def new_split(self) -> None:
        """From here on requests belong to another split; of earlier ones nothing more is told."""
        ...

    def interval(self, moment: Moment, *, seconds: float) -> Passed:
        """What passes in so many seconds around this moment."""
        ...


class IndependentTraffic:
    """Requests that know nothing of each other."""

    def __init__(
        self, world: World, rng: Random, *, interval_seconds: float, failover_percent: float
    ) -> None:
        self._world = world
        self._rng = rng
        self._stable = _Flow(world.stable, rng, interval_seconds)
        self._candidate = _Flow(world.candidate, rng, interval_seconds)
        self._failover = Failover(rng, percent=failover_percent)

    def new_split(self) -> None:
        """See Traffic."""
        self._stable.under_way.forget()
        self._candidate.under_way.forget()

    def interval(self, moment: Moment, *, seconds: float) -> Passed:
        """See Traffic."""
        expected, share = self._world.split_rps * seconds, moment.weight_percent / 100
        stable = self._stable.interval(moment, expected * (1 - share))
        started, failed, answers = self._candidate.interval(moment, expected * share)
        places = positions(self._rng, started, failed)
        rescues = self._rescues(places, started, self._world.stable.errors(moment))
        helped = rescues.count(Rescue.ANSWERED)
        stable_requests, stable_failed, stable_answers = stable
        return Passed(
            stable=Arm(stable_requests, stable_failed, stable_answers),
            candidate=Arm(started, failed, answers, shared_errors=rescues.count(Rescue.FAILED_TOO)),
            independent=None,
            candidate_failed=places,
            callers_failed=failed - helped,
            in_order=cache(
                lambda: self._in_order(stable_requests, stable_failed, started, places, rescues)
            ),
        )

    def _rescues(self, places: Sequence[int], started: int, stable_rate: float) -> list[Rescue]:
        found, before = [], -1
        for place in places:
            found.append(self._failover.rescue(requests=place - before, stable_rate=stable_rate))
            before = place
        self._failover.went_well(requests=started - before - 1)
        return found

    def _in_order(
        self,
        stable: int,
        stable_failed: int,
        candidate: int,
        places: Sequence[int],
        rescues: Sequence[Rescue],
    ) -> list[Request]:
        bad = set(positions(self._rng, stable, stable_failed))
        rescue_at = dict(zip(places, rescues, strict=True))
        requests = [
            Request((place + 0.5) / stable, candidate=False, failed=place in bad)
            for place in range(stable)
        ]
        requests += [
            Request(
                (place + 0.5) / candidate,
                candidate=True,
                failed=place in rescue_at,
                rescue=rescue_at.get(place),
            )
            for place in range(candidate)
        ]
        return sorted(requests, key=_at)


class _Flow:
    """One version's requests."""

    def __init__(self, version: Version, rng: Random, interval_seconds: float) -> None:
        self._version = version
        self._rng = rng
        self.under_way = UnderWay(
            rng, answer_seconds=version.answer_seconds, interval_seconds=interval_seconds
        )

    def interval(self, moment: Moment, expected: float) -> tuple[int, int, list[int]]:
        """Requests that start, those of them that fail, and answers that become known."""
        requests = poisson(self._rng, expected)
        failed = self._failures(requests, self._version.errors(moment))
        latency = self._version.latency(moment)
        answers = self.under_way.arrivals(
            requests - failed, lambda count: latency.histogram(self._rng, count)
        )
        return requests, failed, answers

    def _failures(self, requests: int, rate: float) -> int:
        """Those that fall together begin as rarely as they are many."""
        together = self._version.cluster
        if together <= 1:
            return binomial(self._rng, requests, rate)
        failures = 0
        for _ in range(binomial(self._rng, requests, rate / together)):
            failures += 1
            while self._rng.random() < 1 - 1 / together:
                failures += 1
        return min(failures, requests)


def _at(request: Request) -> float:
    return request.at
