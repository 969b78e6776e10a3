"""E-processes: evidence that stays honest however often it is looked at.

Each is a mixture of likelihood ratios that under its null hypothesis has expectation 1 at most,
at every time, so that it ever reaches 1/alpha with probability alpha at most (Ville). The
relative test conditions on how many requests failed in both arms together (Lindon & Malek,
NeurIPS 2022, arXiv:2011.03567) and is therefore blind to a failure rate that moves for both. The
mixture over start times (e-detectors: Shin, Ramdas, Rinaldo, arXiv:2203.03532) finds what goes
wrong late. Averages of e-processes are e-processes under any dependence (Vovk & Wang, 2021).
"""

from __future__ import annotations

import math
import operator
from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

WORSE_RATIOS = (1.3, 1.6, 2.0, 3.0, 5.0, 10.0, 30.0)
WORSE_PRIOR = (0.06, 0.08, 0.12, 0.2, 0.24, 0.2, 0.1)  # what breaks, breaks by a multiple
_FIRST_SHIFT, _SHIFTS = 0.15, 5  # in standard deviations of a log-normal law, doubling
_TAILS = (2.0, 4.0, 10.0)
_TAIL_RANK, _EARLY_LATE = 0.95, (0.0, 1.0)
_LOGISTIC_SCALE = 1.7  # makes log odds of a rank about normal scores
SHAPES = _SHIFTS + len(_TAILS)
_NEAR_LIMIT, _FAR_FROM_LIMIT = (1.3, 1.6, 2.5, 5.0), (0.5, 0.9)
ABOVE_LIMIT = len(_NEAR_LIMIT) + len(_FAR_FROM_LIMIT)
_OTHER_SPLITS = (1 / 3, 1 / 1.5, 1.5, 3.0)
_FIRST_START = 0.5
_LATER_START = 0.5 / 400
_CEILING = 1e100
EXPONENT_LIMIT = 400.0  # exp of it is 1e173: times the ceiling still a number


class EProcess(NamedTuple):
    """Evidence against one null hypothesis: mass that has started, per alternative, and the rest.

    `intervals` counts those that told something; each but the first may be the one in which the
    trouble began.
    """

    masses: tuple[float, ...]
    rest: float = 1.0
    intervals: int = 0

    @property
    def value(self) -> float:
        """The e-value: how many times likelier the counts are if something is wrong."""
        return sum(self.masses) + self.rest

    def after(self, log_ratios: Sequence[float], prior: Sequence[float] | None = None) -> EProcess:
        """The process after an interval with these log likelihood ratios per alternative.

        `prior` are the alternatives' shares, which add up to 1; None: all alike.
        """
        starting = min(_LATER_START if self.intervals else _FIRST_START, self.rest)
        if max(log_ratios) > EXPONENT_LIMIT:
            log_ratios = [min(ratio, EXPONENT_LIMIT) for ratio in log_ratios]
        grown = [
            (mass + starting * share) * growth
            for mass, share, growth in zip(
                self.masses, prior or even(len(log_ratios)), map(math.exp, log_ratios), strict=True
            )
        ]
        if max(grown) > _CEILING:
            grown = [min(mass, _CEILING) for mass in grown]
        return EProcess(tuple(grown), self.rest - starting, self.intervals + 1)


def fresh(alternatives: int) -> EProcess:
    """A process that has seen nothing."""
    return EProcess((0.0,) * alternatives)


def even(alternatives: int) -> tuple[float, ...]:
    """A prior without preference."""
    return (1 / alternatives,) * alternatives


def relative_log_ratios(
    bad: tuple[int, int], total: tuple[float, float], *, null: float, ratios: tuple[float, ...]
) -> list[float]:
    """Odds of candidate to stable: each of `ratios` against at most (or least) `null`.

    `bad` and `total` are (stable, candidate). Given the margins, the candidate's share of the bad
    ones is below a binomial in convex order (Hoeffding 1963), and the ratio is convex.
    """
    stable, candidate = total
    both = null * candidate + stable
    if not (stable > 0 and null * candidate > 0):
        return [0.0] * len(ratios)
    its, failed, log_both = bad[1], sum(bad), math.log(both)
    return [
        its * log_ratio + failed * (log_both - math.log(ratio * candidate + stable))
        for ratio, log_ratio in _against(null, ratios)
    ]


@lru_cache(maxsize=64)
def _against(null: float, ratios: tuple[float, ...]) -> tuple[tuple[float, float], ...]:
    """Each ratio, with the log of how far it is from the null."""
    return tuple((ratio, math.log(ratio / null)) for ratio in ratios)


def shape_log_ratios(
    stable: Sequence[int], candidate: Sequence[int], shares: Sequence[float]
) -> list[float]:
    """Distributions over classes in rising order: the candidate's shifted up, against the same.

    Turner, Ly & Grunwald (arXiv:2106.02693), for classes instead of successes: with p the
    alternative's shares and p0 their mean over both arms' requests, the product of p/p0 expects 1
    at most whatever the common distribution is (by the inequality of means). All alternatives
    rise with the class, so that a candidate whose classes are lower expects less. `shares` are
    stable's, guessed from its past: a wrong guess costs power, never validity.
    """
    if not (any(stable) and any(candidate)):
        return [0.0] * SHAPES
    seen = list(map(operator.add, stable, candidate))
    guess = _guess(tuple(shares))
    cut, scores = guess.cut, guess.scores
    both, its = ((sum(counts[:cut]), sum(counts[cut:])) for counts in (seen, candidate))
    return [
        *_tilted(seen, candidate, scores, guess.shifts),
        *_tilted(both, its, _EARLY_LATE, guess.tails),
    ]


class _Tilt(NamedTuple):
    """What an alternative's shares are to stable's: exp(slope * score) / norm by class."""

    factors: Sequence[float]
    slope: float
    log_norm: float

    @classmethod
    def of(cls, shares: Sequence[float], scores: Sequence[float], slope: float) -> _Tilt:
        """The tilt of these shares."""
        factors = [math.exp(slope * score) for score in scores]
        norm = sum(map(operator.mul, shares, factors))
        return cls([factor / norm for factor in factors], slope, math.log(norm))


def _tilted(
    seen: Sequence[int], candidate: Sequence[int], scores: Sequence[float], tilts: Sequence[_Tilt]
) -> list[float]:
    """Each alternative against the mean of both arms' shares, which is `mixed` times stable's."""
    count = sum(candidate)
    weight = count / sum(seen)
    rest, score, answers = 1 - weight, sum(map(operator.mul, candidate, scores)), []
    for factors, slope, log_norm in tilts:
        log_mixed = [math.log(rest + weight * factor) for factor in factors]
        cost = sum(map(operator.mul, seen, log_mixed))
        answers.append(slope * score - count * log_norm - cost)
    return answers


class _Guess(NamedTuple):
    """The alternatives to these shares: all slower by degrees; only those from `cut` on."""

    scores: Sequence[float]
    shifts: Sequence[_Tilt]
    cut: int
    tails: Sequence[_Tilt]


@lru_cache(maxsize=64)
def _guess(shares: tuple[float, ...]) -> _Guess:
    ranks = [up - share / 2 for up, share in zip(accumulate(shares), shares, strict=True)]
    scores = [math.log(rank / (1 - rank)) / _LOGISTIC_SCALE for rank in ranks]
    cut = bisect_right(ranks, _TAIL_RANK)
    early_late = (sum(shares[:cut]), sum(shares[cut:]))
    return _Guess(
        scores,
        [_Tilt.of(shares, scores, _FIRST_SHIFT * 2**degree) for degree in range(_SHIFTS)],
        cut,
        [_Tilt.of(early_late, _EARLY_LATE, math.log(tail)) for tail in _TAILS],
    )


def absolute_log_ratios(
    bad: int, total: int, *, null: float, rates: tuple[float, ...]
) -> list[float]:
    """A rate of one arm alone: each of `rates` against `null`, as its limit."""
    good = total - bad
    return [bad * if_bad + good * if_good for if_bad, if_good in _rates_against(null, rates)]


@lru_cache(maxsize=64)
def _rates_against(null: float, rates: tuple[float, ...]) -> tuple[tuple[float, float], ...]:
    """What a bad request and a good one say for each rate."""
    return tuple((math.log(rate / null), math.log((1 - rate) / (1 - null))) for rate in rates)


@lru_cache(maxsize=64)
def rates_above(limit: float) -> tuple[float, ...]:
    """Alternatives to a rate of `limit` at most, from a little above to nearly everything."""
    near = (min(limit * factor, (1 + limit) / 2) for factor in _NEAR_LIMIT)
    return (*near, *(limit + (1 - limit) * share for share in _FAR_FROM_LIMIT))


def split_e_value(stable: int, candidate: int, weight_percent: float) -> float:
    """How much likelier another split than the intended one makes these counts of requests.

    A mixture of odds 1.5 and 3 times too high or too low; smaller deviations are let pass.
    """
    share = weight_percent / 100
    if not 0 < share < 1:
        return 1.0
    total, others = stable + candidate, _other_splits(share)
    log_ratios = [candidate * log_odds - total * log_norm for log_odds, log_norm in others]
    return sum([math.exp(min(log, EXPONENT_LIMIT)) for log in log_ratios]) / len(others)


@lru_cache(maxsize=64)
def _other_splits(share: float) -> tuple[tuple[float, float], ...]:
    """What a request of the candidate's says for each other split, and what any request costs."""
    return tuple((math.log(odds), math.log(1 - share + odds * share)) for odds in _OTHER_SPLITS)


def upper_tail(bad: tuple[int, int], total: tuple[int, int]) -> float:
    """Fisher's exact test: how likely the candidate, no worse, has that many of the bad ones.

    `bad` and `total` are (stable, candidate); 1 where there is nothing to compare.
    """
    all_bad, everything = sum(bad), sum(total)
    if not all(total) or not all_bad:
        return 1.0
    log_all = _log_choose(everything, all_bad)
    terms = (
        math.exp(_log_choose(total[1], k) + _log_choose(total[0], all_bad - k) - log_all)
        for k in range(max(bad[1], all_bad - total[0]), min(all_bad, total[1]) + 1)
    )
    return min(math.fsum(terms), 1.0)


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
