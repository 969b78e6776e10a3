"""Rules of the draws: they follow their laws, small and large, and a seed repeats them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from itertools import accumulate
from random import Random
from statistics import fmean, pvariance

import pytest

from grayscale.simulation.draws import binomial, multinomial, poisson, positions

DRAWS = 4000


def drawn(draw: Callable[[Random], int], count: int = DRAWS) -> list[int]:
    """Many draws of one seed."""
    rng = Random(7)
    return [draw(rng) for _ in range(count)]


def chi_square(values: list[int], chance: Callable[[int], float]) -> tuple[float, int]:
    """The statistic over all values that are expected at least five times, and their number."""
    seen = Counter(values)
    usual = [k for k in range(max(values) + 1) if chance(k) * len(values) >= 5]
    expected = {k: chance(k) * len(values) for k in usual}
    rest = len(values) - sum(expected.values())
    others = len(values) - sum(seen[k] for k in usual)
    statistic = sum((seen[k] - expected[k]) ** 2 / expected[k] for k in usual)
    return statistic + (others - rest) ** 2 / max(rest, 5), len(usual)


@pytest.mark.parametrize(
    ("trials", "chance"), [(7, 0.3), (100, 0.05), (60, 0.5), (60, 0.8), (400, 0.2), (5000, 0.01)]
)
def test_binomial_draws_follow_their_law(trials: int, chance: float) -> None:
    """By inversion and by rejection, each count comes as often as it should."""

    def law(k: int) -> float:
        return math.comb(trials, k) * chance**k * (1 - chance) ** (trials - k)

    statistic, classes = chi_square(drawn(lambda rng: binomial(rng, trials, chance)), law)
    assert statistic < classes + 4 * math.sqrt(2 * classes)


@pytest.mark.parametrize("mean", [0.3, 5.0, 11.9, 12.5, 80.0])
def test_poisson_draws_follow_their_law(mean: float) -> None:
    """Few arrivals and many, each count comes as often as it should."""

    def law(k: int) -> float:
        return math.exp(k * math.log(mean) - mean - math.lgamma(k + 1))

    statistic, classes = chi_square(drawn(lambda rng: poisson(rng, mean)), law)
    assert statistic < classes + 4 * math.sqrt(2 * classes)


def test_large_means_have_the_right_mean_and_variance() -> None:
    """A thousand and more are drawn as exactly as a few."""
    values = drawn(lambda rng: poisson(rng, 9500.0))
    assert fmean(values) == pytest.approx(9500, abs=5 * math.sqrt(9500 / DRAWS))
    assert pvariance(values) == pytest.approx(9500, rel=0.1)


def test_impossible_and_certain_draws_need_no_luck() -> None:
    """The ends of the range are what they are."""
    rng = Random(1)
    assert [binomial(rng, 0, 0.5), binomial(rng, 9, 0.0), binomial(rng, 9, 1.0)] == [0, 0, 9]
    assert poisson(rng, 0.0) == 0
    assert multinomial(rng, 0, [0.5, 1.0]) == [0, 0]


@pytest.mark.parametrize("trials", [200, 20_000])
def test_multinomial_draws_share_out_all_trials(trials: int) -> None:
    """One by one or class by class, every trial falls into one class, by its chance."""
    chances = [0.1, 0.0, 0.5, 0.4]
    counts = multinomial(Random(3), trials, list(accumulate(chances)))
    assert sum(counts) == trials
    for count, chance in zip(counts, chances, strict=True):
        assert count == pytest.approx(trials * chance, abs=5 * math.sqrt(trials * 0.25))
    assert counts[1] == 0


def test_positions_are_distinct_and_in_order() -> None:
    """So many places of a row, each once."""
    places = positions(Random(5), 50, 20)
    assert len(set(places)) == 20
    assert places == sorted(places)
    assert set(places) <= set(range(50))


def test_a_seed_repeats_its_draws() -> None:
    """The same seed gives the same numbers."""
    assert drawn(lambda rng: poisson(rng, 50.0), 20) == drawn(lambda rng: poisson(rng, 50.0), 20)
