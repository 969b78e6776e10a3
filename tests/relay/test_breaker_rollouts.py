"""The breaker over very many requests: what must not trip it, however long it goes on."""

from __future__ import annotations

import heapq
import random

import pytest

from grayscale.relay.breaker import Witness
from tests.relay.breaking import CANDIDATE, ERROR, OK, STABLE, Bench

SEEDS = [2718, 3141, 1618]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("good_seconds", [0.0, 30.0], ids=["fast", "slow"])
def test_errors_by_chance_do_not_trip(seed: int, good_seconds: float) -> None:
    """A hundred thousand requests with 4 % errors, answered at once or slowly: no trip."""
    bench = Bench()
    chance = random.Random(seed)
    running: list[tuple[float, int, Witness]] = []
    for number in range(100_000):
        bench.clock.advance(0.02)
        now = bench.clock.monotonic()
        while running and running[0][0] <= now:
            heapq.heappop(running)[2].settle(OK)
        request = bench.breaker.start(CANDIDATE if chance.random() < 0.5 else STABLE, None)
        if chance.random() < 0.04:
            request.settle(ERROR)
        elif good_seconds:
            heapq.heappush(running, (now + good_seconds, number, request))
        else:
            request.settle(OK)
    assert bench.trips == []


@pytest.mark.parametrize("seed", SEEDS)
def test_an_outage_of_the_provider_does_not_trip(seed: int) -> None:
    """Half of both arms' requests fail from one moment on, ten times at each weight."""
    chance = random.Random(seed)
    tripped = 0
    for weight in [0.1, 0.25, 0.5] * 10:
        bench = Bench()
        for share in [0.005] * 300 + [0.5] * 600:
            bench.clock.advance(0.1)
            version = CANDIDATE if chance.random() < weight else STABLE
            request = bench.breaker.start(version, None)
            failed = chance.random() < share
            request.settle(ERROR if failed else OK)
            if failed and version == CANDIDATE:
                rescue = bench.breaker.start(STABLE, None)
                rescued = chance.random() >= share
                rescue.settle(OK if rescued else ERROR)
                if not rescued:
                    request.excuse()
        tripped += len(bench.trips)
    assert tripped == 0
