"""Rules of the evidence itself: expectation at most 1 without harm, growth with it."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grayscale.judge.evidence import (
    WORSE,
    WORSE_PRIOR,
    Odds,
    Prior,
    absolute_log_ratios,
    fresh,
    rates_above,
    relative_e_value,
    relative_log_ratios,
)
from grayscale.judge.health import NO_HEALTH, below_limit, not_doubled, with_interval
from grayscale.judge.measures import LATENCY, Side
from grayscale.judge.past import Histogram
from grayscale.judge.values import Arm


def hypergeometric(bad: int, stable: int, candidate: int) -> dict[int, float]:
    """How likely each number of bad candidate requests is, if both versions are alike."""
    lowest, highest = max(0, bad - stable), min(bad, candidate)
    everything = math.comb(stable + candidate, bad)
    return {
        k: math.comb(candidate, k) * math.comb(stable, bad - k) / everything
        for k in range(lowest, highest + 1)
    }


@given(
    st.integers(min_value=1, max_value=60),
    st.integers(min_value=1, max_value=60),
    st.integers(min_value=0, max_value=40),
)
def test_relative_evidence_expects_one_at_most(stable: int, candidate: int, bad: int) -> None:
    """Between versions alike, every ratio's expectation is 1 at most, exactly, for any margins."""
    bad = min(bad, stable + candidate)
    chances = hypergeometric(bad, stable, candidate)
    assert math.isclose(sum(chances.values()), 1)
    for index in range(len(WORSE.against)):
        expected = sum(
            chance * math.exp(relative_log_ratios((bad - k, k), (stable, candidate), WORSE)[index])
            for k, chance in chances.items()
        )
        assert expected <= 1 + 1e-9


@given(
    st.integers(min_value=1, max_value=60),
    st.floats(min_value=0.001, max_value=0.99),
    st.floats(min_value=0, max_value=1),
)
def test_absolute_evidence_expects_one_at_most(requests: int, limit: float, share: float) -> None:
    """For any rate up to the limit the expectation of every ratio is 1 at most."""
    rate, above = limit * share, rates_above(limit)
    for index in range(len(above)):
        expected = sum(
            math.comb(requests, bad)
            * rate**bad
            * (1 - rate) ** (requests - bad)
            * math.exp(absolute_log_ratios(bad, requests, above)[index])
            for bad in range(requests + 1)
        )
        assert expected <= 1 + 1e-6


def test_a_process_crosses_its_line_as_seldom_as_promised() -> None:
    """Looked at 300 times, 1/alpha is reached in alpha of the runs at most (200 seeded runs)."""
    rng, crossed = random.Random(11), 0
    for _ in range(200):
        process, highest = fresh(WORSE_PRIOR), 0.0
        for _ in range(300):
            bad = [sum(rng.random() < 0.1 for _ in range(n)) for n in (9, 3)]
            ratios = relative_log_ratios((bad[0], bad[1]), (9, 3), WORSE)
            process = process.after(ratios, WORSE_PRIOR)
            highest = max(highest, process.value)
        crossed += highest >= 10
    assert crossed <= 30  # the 99 % quantile of a binomial with 200 runs and alpha = 0.1


def test_a_process_begins_at_one_and_stays_there_without_news() -> None:
    """Ratios of 1 neither add nor take evidence, however many there are."""
    prior = Prior.even(3)
    process = fresh(prior)
    for _ in range(1000):
        process = process.after([0.0, 0.0, 0.0], prior)
    assert math.isclose(process.value, 1.0)
    assert process.rest == pytest.approx(0, abs=1e-9)


def test_trouble_that_begins_late_is_found() -> None:
    """After long health, evidence needs not dig itself out of a hole."""
    prior = Prior.even(2)
    process = fresh(prior)
    for _ in range(300):
        process = process.after([-1.0, -2.0], prior)
    assert 0.1 < process.value < 1
    for _ in range(15):
        process = process.after([1.0, 2.0], prior)
    assert process.value > 1000


def test_overwhelming_evidence_stays_a_number() -> None:
    """Thousands of failures at once do not overflow."""
    prior = Prior.even(2)
    process = fresh(prior)
    for _ in range(5):
        process = process.after([1e6, 1e9], prior)
    assert math.isfinite(process.value)


def test_an_empty_arm_says_nothing() -> None:
    """Without requests in one arm there is nothing to compare."""
    doubled = Odds.of(2.0, null=1.0)
    assert relative_log_ratios((0, 5), (0, 5), doubled) == [0.0]
    assert relative_log_ratios((5, 0), (5, 0), doubled) == [0.0]
    assert relative_log_ratios((0, 0), (0, 0), doubled) == [0.0]
    assert relative_e_value((0, 0, 3, 3)) == pytest.approx(1)


@pytest.mark.parametrize("bound", [0.001, 0.05, 0.5, 0.99])
def test_alternatives_lie_above_the_limit(bound: float) -> None:
    """For every rate that a limit is tested against a bad request speaks, and a good one does not."""
    for if_bad, if_good in rates_above(bound):
        assert if_good < 0 < if_bad
        assert math.isfinite(if_good)


def side(arm: Arm, *, answers: int | None = None) -> Side:
    histograms = {} if answers is None else {LATENCY: Histogram([answers], answers)}
    return Side(arm, max(arm.requests, arm.errors), histograms)


def clean(requests: int) -> float:
    arm = Arm(requests=requests)
    health = with_interval(
        NO_HEALTH,
        everything=(side(arm), side(arm)),
        independent=(side(arm), side(arm)),
        least_share=0.5,
        limit=0.05,
    )
    return below_limit(health)


def test_about_seventy_clean_requests_exclude_five_percent() -> None:
    """Health is earned at 65 to 80 requests without a failure, not before."""
    assert clean(64) < 20 <= clean(75)


def test_health_is_not_earned_by_requests_without_an_end() -> None:
    """A candidate that hangs is no candidate that answers."""
    hanging = Arm(requests=500)
    health = with_interval(
        NO_HEALTH,
        everything=(side(hanging, answers=0), side(hanging, answers=0)),
        independent=(side(hanging), side(hanging)),
        least_share=0.5,
        limit=0.05,
    )
    assert health.resolved == 0
    assert below_limit(health) == pytest.approx(1)


def test_many_failures_alike_exclude_a_doubling() -> None:
    """Where both fail often, it is enough that the candidate does not fail twice as often."""
    arm = Arm(requests=1000, errors=100)
    health = with_interval(
        NO_HEALTH,
        everything=(side(arm), side(arm)),
        independent=(side(arm), side(arm)),
        least_share=0.5,
        limit=0.05,
    )
    assert below_limit(health) < 1
    assert not_doubled(health) > 20


@pytest.mark.parametrize(("rate", "ratio"), [(0.05, 0.0), (0.01, 2.0)])
def test_health_expects_one_at_most_from_the_unhealthy(rate: float, ratio: float) -> None:
    """A candidate at the limit, or with doubled odds, is seldom called healthy (seeded)."""
    rng, passed = random.Random(5), 0
    stable_rate = 0.01 if ratio else 0.0
    odds = ratio * stable_rate / (1 - stable_rate)
    candidate_rate = odds / (1 + odds) if ratio else rate
    for _ in range(200):
        health = NO_HEALTH
        for _ in range(40):
            stable, candidate = (
                Arm(requests=20, errors=sum(rng.random() < chance for _ in range(20)))
                for chance in (stable_rate, candidate_rate)
            )
            health = with_interval(
                health,
                everything=(side(stable), side(candidate)),
                independent=(side(stable), side(candidate)),
                least_share=0.5,
                limit=0.05,
            )
        passed += (not_doubled(health) if ratio else below_limit(health)) >= 20
    assert passed <= 18  # the 99 % quantile of a binomial with 200 runs and 1 in 20
