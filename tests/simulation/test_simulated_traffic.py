"""Rules of the simulated traffic: it tells what the product's counters would tell."""

from __future__ import annotations

import math
from bisect import bisect_left
from itertools import accumulate
from random import Random

import pytest

from grayscale.judge import LATENCY_EDGES_MS
from grayscale.simulation import (
    Callers,
    Latency,
    Moment,
    Version,
    World,
    always,
    answers,
)
from grayscale.simulation.callers import StickyTraffic
from grayscale.simulation.requests import Failover, Passed, Rescue
from grayscale.simulation.traffic import IndependentTraffic

HALF = Moment(0.0, 50.0)


def twins(version: Version, *, rps: float = 10.0) -> World:
    return World(rps=rps, stable=version, candidate=version)


def traffic_of(world: World, *, seed: int = 1, failover: float = 20.0) -> IndependentTraffic:
    return IndependentTraffic(world, Random(seed), interval_seconds=10.0, failover_percent=failover)


def quantile_ms(counts: list[int], share: float) -> float:
    cumulated = list(accumulate(counts))
    return LATENCY_EDGES_MS[bisect_left(cumulated, share * cumulated[-1])]


def test_latencies_have_their_quantiles() -> None:
    """Half the answers take the median at most, 95 of 100 a second and a half."""
    counts = Latency().histogram(Random(1), 100_000)
    assert sum(counts) == 100_000
    assert quantile_ms(counts, 0.5) == pytest.approx(560, rel=0.06)
    assert quantile_ms(counts, 0.95) == pytest.approx(1500, rel=0.06)
    assert quantile_ms(Latency().times(2).histogram(Random(1), 9999), 0.5) == pytest.approx(
        1120, rel=0.08
    )


def test_a_slow_share_of_the_answers_is_slow() -> None:
    """The tail is as heavy as it is said to be, the median stays."""
    counts = Latency(slow_share=0.08, slow_factor=20.0).histogram(Random(1), 50_000)
    slow = sum(counts[bisect_left(LATENCY_EDGES_MS, 4500) :])
    assert slow == pytest.approx(50_000 * 0.08, rel=0.1)
    assert Latency(slow_share=0.1, slow_factor=11).mean_ms == pytest.approx(2 * Latency().mean_ms)


def test_requests_are_split_by_weight_and_fail_by_rate() -> None:
    """Over many intervals each version has its share, and its share of failures."""
    world = World(stable=Version(always(0.02)), candidate=Version(always(0.2)))
    traffic = traffic_of(world)
    passed = [traffic.interval(Moment(0.0, 25.0), seconds=10.0) for _ in range(400)]
    stable, candidate = (sum(getattr(one, arm).requests for one in passed) for arm in ARMS)
    assert stable == pytest.approx(30_000, rel=0.03)
    assert candidate == pytest.approx(10_000, rel=0.05)
    stable_bad, candidate_bad = (sum(getattr(one, arm).errors for one in passed) for arm in ARMS)
    assert stable_bad == pytest.approx(600, rel=0.15)
    assert candidate_bad == pytest.approx(2000, rel=0.1)


ARMS = ("stable", "candidate")


def test_every_request_ends_once() -> None:
    """What started either failed or was answered, where answers take no time."""
    traffic = traffic_of(twins(Version(always(0.1))))
    for _ in range(20):
        passed = traffic.interval(HALF, seconds=10.0)
        for arm in (passed.stable, passed.candidate):
            assert arm.requests == arm.errors + sum(arm.latency_counts)


def test_slow_answers_are_told_later_failures_at_once() -> None:
    """Answers of 25 s are heard of two intervals later, or three; failures in their own."""
    traffic = traffic_of(twins(Version(always(0.5), answer_seconds=25.0)))
    passed = [traffic.interval(HALF, seconds=10.0).stable for _ in range(30)]
    told = [sum(arm.latency_counts) for arm in passed]
    assert told[:2] == [0, 0]
    assert 0 < told[2] < passed[0].requests - passed[0].errors
    good = [arm.requests - arm.errors for arm in passed]
    assert sum(good[:27]) <= sum(told) <= sum(good[:28])
    assert all(arm.errors for arm in passed)


def test_a_new_split_ends_the_telling_of_the_old_one() -> None:
    """Answers to requests of another split are nobody's."""
    traffic = traffic_of(twins(Version(always(0.0), answer_seconds=20.0)))
    before = [traffic.interval(HALF, seconds=10.0) for _ in range(5)]
    assert sum(before[-1].stable.latency_counts) > 0
    traffic.new_split()
    told = [sum(traffic.interval(HALF, seconds=10.0).stable.latency_counts) for _ in range(3)]
    assert told[:2] == [0, 0]
    assert told[2] > 0


def test_failures_that_fall_together_keep_their_rate_but_not_their_spread() -> None:
    """Clusters of four leave the mean, and make the counts vary four times as much and more."""

    def failures(cluster: float) -> list[int]:
        traffic = traffic_of(twins(Version(always(0.02), cluster=cluster), rps=40.0))
        return [traffic.interval(HALF, seconds=10.0).stable.errors for _ in range(1500)]

    single, clustered = failures(1.0), failures(4.0)
    assert sum(clustered) == pytest.approx(sum(single), rel=0.12)
    assert variance(clustered) > 3 * variance(single)


def variance(values: list[int]) -> float:
    mean = sum(values) / len(values)
    return sum((value - mean) ** 2 for value in values) / len(values)


def test_only_affected_models_are_split() -> None:
    """Four of five models stay where they are: a fifth of the requests is compared."""
    version = Version()
    world = World(rps=50.0, affected_share=0.2, stable=version, candidate=version)
    traffic = traffic_of(world)
    requests = sum(traffic.interval(HALF, seconds=10.0).stable.requests for _ in range(100))
    assert requests == pytest.approx(5_000, rel=0.06)


def test_single_requests_agree_with_the_counts() -> None:
    """The requests in order are those that were counted, the failures where they were placed."""
    passed = traffic_of(twins(Version(always(0.2)))).interval(HALF, seconds=10.0)
    requests = passed.in_order()
    assert [one.at for one in requests] == sorted(one.at for one in requests)
    candidate = [one for one in requests if one.candidate]
    assert len(candidate) == passed.candidate.requests
    assert len(requests) - len(candidate) == passed.stable.requests
    assert [i for i, one in enumerate(candidate) if one.failed] == list(passed.candidate_failed)
    assert passed.in_order() == requests
    assert passed.cost() == (len(candidate), passed.candidate.errors, passed.callers_failed)
    half = passed.cost(until=0.5)
    assert 0 < half[0] < passed.candidate.requests


def test_the_budget_limits_how_many_failures_are_tried_again() -> None:
    """Some are saved at first, then there is one for five requests; without a budget none."""
    failover = Failover(Random(1), percent=20.0)
    rescues = [failover.rescue(requests=1, stable_rate=0.0) for _ in range(200)]
    assert rescues[:5] == [Rescue.ANSWERED] * 5
    assert rescues[100:].count(Rescue.ANSWERED) == pytest.approx(20, abs=1)
    none = Failover(Random(1), percent=0.0)
    assert none.rescue(requests=50, stable_rate=0.0) is Rescue.NOT_TRIED


def test_what_stable_cannot_answer_either_is_a_shared_failure() -> None:
    """A retry that fails too is told to the judge, and seen by the caller."""
    sick = Version(always(0.5))
    passed = traffic_of(twins(sick), failover=100.0).interval(HALF, seconds=10.0)
    shared = passed.candidate.shared_errors
    assert 0 < shared < passed.candidate.errors
    assert passed.callers_failed >= shared


def sticky(world: World, *, seed: int = 1) -> StickyTraffic:
    assert world.callers is not None
    return StickyTraffic(
        world, world.callers, Random(seed), interval_seconds=10.0, failover_percent=20.0
    )


def callers_of(passed: Passed, *, candidate: bool) -> set[int | None]:
    return {one.caller for one in passed.in_order() if one.candidate is candidate}


def test_a_rising_weight_only_moves_callers_forward() -> None:
    """Whoever had the candidate keeps it, and nobody has both in one interval."""
    traffic = sticky(World(rps=50.0, callers=Callers(100)))
    had: set[int | None] = set()
    for weight in (10.0, 25.0, 50.0, 95.0):
        passed = traffic.interval(Moment(0.0, weight), seconds=60.0)
        now = callers_of(passed, candidate=True)
        assert had & callers_of(passed, candidate=False) == set()
        assert now & callers_of(passed, candidate=False) == set()
        had |= now
    assert len(had) > 80


def test_the_first_request_of_each_caller_is_independent() -> None:
    """Each bucket of callers is among the independent requests once in a release."""
    traffic = sticky(World(rps=50.0, callers=Callers(40)))
    passed = [traffic.interval(HALF, seconds=10.0) for _ in range(30)]
    alone = [one.independent for one in passed]
    buckets = {request.caller for one in passed for request in one.in_order()}
    assert sum(arm.requests for arms in alone if arms for arm in arms) == len(buckets)
    for one in passed:
        assert one.independent is not None
        for whole, part in zip((one.stable, one.candidate), one.independent, strict=True):
            assert part.requests <= whole.requests
            assert part.errors <= whole.errors
            assert all(
                a <= b for a, b in zip(part.latency_counts, whole.latency_counts, strict=True)
            )


def test_callers_fail_for_the_first_time_once() -> None:
    """At risk are those that ever asked, less those that had failed on either version."""
    traffic = sticky(twins_of_callers(Version(always(0.3)), 30))
    passed = [traffic.interval(HALF, seconds=10.0) for _ in range(60)]
    failed = [one.stable.failed_callers + one.candidate.failed_callers for one in passed]
    at_risk = [one.stable.callers + one.candidate.callers for one in passed]
    assert 20 <= sum(failed) <= 30
    assert at_risk[-1] == 30 - sum(failed[:-1])
    assert all(new <= risk for new, risk in zip(failed, at_risk, strict=True))


def twins_of_callers(version: Version, count: int) -> World:
    return World(rps=50.0, stable=version, candidate=version, callers=Callers(count))


def test_callers_differ_and_keep_the_mean_rate() -> None:
    """Some fail often, some hardly; the rate over many callers is the world's."""
    traffic = sticky(
        World(rps=500.0, stable=Version(always(0.02)), callers=Callers(3000, zipf=0.0))
    )
    passed = [traffic.interval(Moment(0.0, 0.0), seconds=10.0) for _ in range(8)]
    errors = sum(one.stable.errors for one in passed)
    assert errors / sum(one.stable.requests for one in passed) == pytest.approx(0.02, rel=0.25)


def test_a_poison_caller_always_fails_on_the_candidate() -> None:
    """From the first step on, and with its share of all requests."""
    healthy = Version(always(0.0))
    world = World(
        rps=50.0, stable=healthy, candidate=healthy, callers=Callers(100, poison_share=0.05)
    )
    traffic = sticky(world)
    passed = [traffic.interval(Moment(0.0, 1.0), seconds=10.0) for _ in range(20)]
    errors = sum(one.candidate.errors for one in passed)
    assert errors == pytest.approx(0.05 * 10_000, rel=0.2)
    assert sum(one.stable.errors for one in passed) == 0
    assert sum(one.candidate.failed_callers for one in passed) == 1


def test_callers_may_differ_in_latency_too() -> None:
    """Slow callers stay slow: the whole spread is wider than one caller's."""

    def spread(sigma: float) -> float:
        world = World(rps=500.0, callers=Callers(400, zipf=0.0, latency_sigma=sigma))
        counts = list(sticky(world).interval(Moment(0.0, 0.0), seconds=10.0).stable.latency_counts)
        return math.log(quantile_ms(counts, 0.95) / quantile_ms(counts, 0.5))

    assert spread(0.8) > 1.4 * spread(0.0)


def test_a_world_knows_when_the_candidate_is_worse() -> None:
    """More failures or slower answers are worse; fewer or faster are not."""
    good, moment = Version(), Moment(0.0, 10.0)
    assert not World().worse(moment)
    assert World(candidate=Version(always(0.02))).worse(moment)
    assert not World(candidate=Version(always(0.001))).worse(moment)
    assert World(stable=good, candidate=Version(latency=answers(Latency().times(1.2)))).worse(
        moment
    )
    assert not World(candidate=Version(latency=answers(Latency().times(0.8)))).worse(moment)
    assert World(candidate=Version(latency=answers(Latency(slow_share=0.1)))).worse(moment)
