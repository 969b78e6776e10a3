"""Exact draws from the laws of counting, each in time that hardly grows with the counts.

`random.Random` is all they need, so that a seed gives the same release on every machine.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from random import Random

_SMALL_MEAN = 12.0
_FEW = 250


def poisson(rng: Random, mean: float) -> int:
    """How many come when `mean` are expected.

    A large mean is cut down by the time at which the m-th would come (Ahrens & Dieter 1974).
    """
    count = 0
    while mean >= _SMALL_MEAN:
        ahead = int(mean * 0.875)
        arrived_at = rng.gammavariate(ahead, 1.0)
        if arrived_at > mean:
            return count + binomial(rng, ahead - 1, mean / arrived_at)
        count, mean = count + ahead, mean - arrived_at
    return count + _few_arrivals(rng, mean)


def binomial(rng: Random, trials: int, chance: float) -> int:
    """How many of `trials` succeed."""
    if trials <= 0 or chance <= 0:
        return 0
    if chance >= 1:
        return trials
    if chance > 0.5:
        return trials - binomial(rng, trials, 1 - chance)
    if trials * chance < _SMALL_MEAN:
        return _few_successes(rng, trials, chance)
    return _many_successes(rng, trials, chance)


def multinomial(rng: Random, trials: int, cumulative: Sequence[float]) -> list[int]:
    """How many of `trials` fall into each class; `cumulative` are the chances up to each class."""
    counts = [0] * len(cumulative)
    if trials <= _FEW:
        last, random = len(cumulative) - 1, rng.random
        for _ in range(trials):
            counts[min(bisect_left(cumulative, random() * cumulative[-1]), last)] += 1
        return counts
    below = 0.0
    for index, up_to in enumerate(cumulative):
        counts[index] = drawn = binomial(rng, trials, (up_to - below) / (cumulative[-1] - below))
        trials, below = trials - drawn, up_to
        if not trials:
            break
    return counts


def positions(rng: Random, trials: int, successes: int) -> list[int]:
    """Where in a row of `trials` the successes stand, in order."""
    return sorted(rng.sample(range(trials), successes))


def _few_arrivals(rng: Random, mean: float) -> int:
    limit, product, count = math.exp(-mean), rng.random(), 0
    while product > limit:
        product *= rng.random()
        count += 1
    return count


def _few_successes(rng: Random, trials: int, chance: float) -> int:
    """By inversion: one random number, compared with one term after the other."""
    odds, term, left = chance / (1 - chance), (1 - chance) ** trials, rng.random()
    count = 0
    while left > term and count < trials:
        left -= term
        count += 1
        term *= odds * (trials - count + 1) / count
    return count


def _many_successes(rng: Random, trials: int, chance: float) -> int:
    """By transformed rejection with squeeze (Hörmann 1993, algorithm BTRS)."""
    spread = math.sqrt(trials * chance * (1 - chance))
    b = 1.15 + 2.53 * spread
    a = -0.0873 + 0.0248 * b + 0.01 * chance
    centre, v_r = trials * chance + 0.5, 0.92 - 4.2 / b
    alpha, log_odds = (2.83 + 5.1 / b) * spread, math.log(chance / (1 - chance))
    mode = math.floor((trials + 1) * chance)
    log_mode = math.lgamma(mode + 1) + math.lgamma(trials - mode + 1)
    while True:
        u, v = rng.random() - 0.5, rng.random()
        us = 0.5 - abs(u)
        if us <= 0:
            continue
        count = math.floor((2 * a / us + b) * u + centre)
        if us >= 0.07 and v <= v_r:
            return count
        if not 0 <= count <= trials or v <= 0:
            continue
        log_ratio = log_mode - math.lgamma(count + 1) - math.lgamma(trials - count + 1)
        if math.log(v * alpha / (a / (us * us) + b)) <= log_ratio + (count - mode) * log_odds:
            return count
