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
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import accumulate, repeat
from typing import NamedTuple

_SLOPES = (0.2, 0.8)  # in standard deviations of a log-normal law
_LOGISTIC_SCALE = 1.7  # makes log odds of a rank about normal scores
_TAILS = (2.0, 6.0)
_NEAR_LIMIT, _FAR_FROM_LIMIT = (1.4, 2.0, 4.0), (0.6,)
_OTHER_SPLITS = (1 / 3, 1 / 1.5, 1.5, 3.0)
_A_LITTLE = 0.1  # so near to the intended split every other one is less likely
_FIRST_START = 0.5
_LATER_START = 0.5 / 400
_CEILING = 1e100
_EXPONENT_LIMIT = 400.0  # exp of it is 1e173: times the ceiling still a number


class Prior(NamedTuple):
    """What begins to bet on each alternative: at the first interval, and at every later one."""

    first: tuple[float, ...]
    later: tuple[float, ...]

    @classmethod
    def of(cls, *shares: float) -> Prior:
        """The alternatives' shares, which add up to 1."""
        return cls(
            tuple(_FIRST_START * share for share in shares),
            tuple(_LATER_START * share for share in shares),
        )

    @classmethod
    def even(cls, alternatives: int) -> Prior:
        """Without preference."""
        return cls.of(*(1 / alternatives for _ in range(alternatives)))


class EProcess(NamedTuple):
    """Evidence against one null hypothesis: mass that has started, per alternative, and the rest.

    `intervals` counts those that told something; each but the first may be the one in which the
    trouble began. `value` is the e-value, the sum of all mass: how many times likelier the counts
    are if something is wrong.
    """

    masses: tuple[float, ...]
    rest: float = 1.0
    intervals: int = 0
    value: float = 1.0

    def after(self, log_ratios: Sequence[float], prior: Prior) -> EProcess:
        """The process after an interval with these log likelihood ratios per alternative."""
        masses, rest, intervals, _ = self
        starting: Iterable[float] = prior.later
        if not intervals:
            starting, rest = prior.first, rest - _FIRST_START
        elif rest >= _LATER_START:
            rest -= _LATER_START
        else:
            starting = repeat(0.0)
        try:
            started = map(operator.add, masses, starting)
            grown = tuple(map(operator.mul, started, map(math.exp, log_ratios)))
        except OverflowError:
            return self.after([min(ratio, _EXPONENT_LIMIT) for ratio in log_ratios], prior)
        value = sum(grown)
        if value > _CEILING:
            grown = tuple(min(mass, _CEILING) for mass in grown)
            value = sum(grown)
        return EProcess(grown, rest, intervals + 1, value + rest)


def fresh(prior: Prior) -> EProcess:
    """A process that has seen nothing."""
    return EProcess((0.0,) * len(prior.first))


def mixture(log_ratios: Sequence[float], weights: Sequence[float]) -> float:
    """The mean of the ratios by these weights."""
    try:
        return math.fsum(map(operator.mul, weights, map(math.exp, log_ratios)))
    except OverflowError:
        return mixture([min(ratio, _EXPONENT_LIMIT) for ratio in log_ratios], weights)


class Odds(NamedTuple):
    """Odds of failure, candidate to stable: alternatives, each with its log, against `null`."""

    null: float
    against: tuple[tuple[float, float], ...]

    @classmethod
    def of(cls, *ratios: float, null: float) -> Odds:
        """Each of these ratios against at most (or at least) the null."""
        return cls(null, tuple((ratio, math.log(ratio / null)) for ratio in ratios))


WORSE = Odds.of(1.4, 2.0, 3.5, 8.0, 25.0, null=1.0)
WORSE_PRIOR = Prior.of(0.1, 0.15, 0.3, 0.3, 0.15)  # what breaks, breaks by a multiple


def relative_log_ratios(
    bad: tuple[int, int], total: tuple[float, float], odds: Odds
) -> list[float]:
    """The alternatives of `odds` against their null.

    `bad` and `total` are (stable, candidate). Given the margins, the candidate's share of the bad
    ones is below a binomial in convex order (Hoeffding 1963), and the ratio is convex.
    """
    (stable, candidate), (null, against) = total, odds
    both = null * candidate + stable
    if not (stable > 0 and null * candidate > 0):
        return [0.0] * len(against)
    its, failed, log_both = bad[1], sum(bad), math.log(both)
    return [
        its * log_ratio + failed * (log_both - math.log(ratio * candidate + stable))
        for ratio, log_ratio in against
    ]


def relative_e_value(counts: Sequence[int]) -> float:
    """The evidence of (stable bad, stable, candidate bad, candidate) that the candidate is worse."""
    stable_bad, stable, candidate_bad, candidate = counts
    log_ratios = relative_log_ratios((stable_bad, candidate_bad), (stable, candidate), WORSE)
    return mixture(log_ratios, WORSE_PRIOR.first) / _FIRST_START


SHAPES_PRIOR = Prior.even(len(_SLOPES))


def shape_log_ratios(
    stable: Sequence[int],
    candidate: Sequence[int],
    totals: tuple[int, int],
    *,
    shares: tuple[float, ...],
) -> list[float]:
    """Distributions over classes in rising order: the candidate's shifted up, against the same.

    Turner, Ly & Grunwald (arXiv:2106.02693), for classes instead of successes: with p the
    alternative's shares and p0 their mean over both arms' requests, the product of p/p0 expects 1
    at most whatever the common distribution is (by the inequality of means). All alternatives
    rise with the class, so that a candidate whose classes are lower expects less. `shares` are
    stable's, guessed from its past: a wrong guess costs power, never validity.
    """
    others, its = totals
    if not (its and others):
        return [0.0] * len(_SLOPES)
    seen = list(map(operator.add, stable, candidate))
    weight = its / (its + others)
    rest = 1 - weight  # p0 is `rest + weight * factor` times stable's shares
    scores, shifts = _shifts(shares)
    score = sum(map(operator.mul, candidate, scores))
    return [
        slope * score
        - its * log_norm
        - sum(map(operator.mul, seen, [math.log(rest + weight * factor) for factor in factors]))
        for factors, slope, log_norm in shifts
    ]


class _Shift(NamedTuple):
    """What an alternative's shares are to stable's: exp(slope * score) / norm by class."""

    factors: Sequence[float]
    slope: float
    log_norm: float


@lru_cache(maxsize=64)
def _shifts(shares: tuple[float, ...]) -> tuple[Sequence[float], Sequence[_Shift]]:
    """Each class's normal score, about, and the alternatives: all slower by degrees."""
    ranks = [up - share / 2 for up, share in zip(accumulate(shares), shares, strict=True)]
    scores = [math.log(rank / (1 - rank)) / _LOGISTIC_SCALE for rank in ranks]
    shifts = []
    for slope in _SLOPES:
        factors = [math.exp(slope * score) for score in scores]
        norm = sum(map(operator.mul, shares, factors))
        shifts.append(_Shift([factor / norm for factor in factors], slope, math.log(norm)))
    return scores, shifts


TAILS_PRIOR = Prior.even(len(_TAILS))


def tail_log_ratios(
    bad: tuple[int, int], total: tuple[int, int], *, share: float
) -> Sequence[float]:
    """As shape_log_ratios, of two classes: the candidate has more of the bad ones by a factor.

    `bad` and `total` are (stable, candidate), `share` is stable's share of bad ones in its past.
    """
    stable, candidate = total
    both = stable + candidate
    if not (stable and candidate):
        return [0.0] * len(_TAILS)
    its, failed = bad[1], sum(bad)
    went_well, weight = both - failed, candidate / both
    rest = 1 - weight
    return [
        its * log_bad
        + (candidate - its) * log_good
        - failed * math.log(rest + weight * bad_factor)
        - went_well * math.log(rest + weight * good_factor)
        for bad_factor, log_bad, good_factor, log_good in _tails(share)
    ]


@lru_cache(maxsize=64)
def _tails(share: float) -> Sequence[tuple[float, float, float, float]]:
    """For each alternative what its shares are to stable's, and the logs, of bad and of good."""
    goods = [1 / (1 + share * (tail - 1)) for tail in _TAILS]
    return [
        (tail * good, math.log(tail * good), good, math.log(good))
        for tail, good in zip(_TAILS, goods, strict=True)
    ]


Rates = tuple[tuple[float, float], ...]
"""Rates against one as the limit: for each what a bad request and a good one say."""


def rates_against(null: float, rates: Iterable[float]) -> Rates:
    """Each of `rates` against `null`."""
    return tuple((math.log(rate / null), math.log((1 - rate) / (1 - null))) for rate in rates)


def absolute_log_ratios(bad: int, total: int, rates: Rates) -> list[float]:
    """A rate of one arm alone."""
    good = total - bad
    return [bad * if_bad + good * if_good for if_bad, if_good in rates]


@lru_cache(maxsize=64)
def rates_above(limit: float) -> Rates:
    """Alternatives to a rate of `limit` at most, from a little above to nearly everything."""
    near = (min(limit * factor, (1 + limit) / 2) for factor in _NEAR_LIMIT)
    far = (limit + (1 - limit) * share for share in _FAR_FROM_LIMIT)
    return rates_against(limit, (*near, *far))


ABOVE_LIMIT_PRIOR = Prior.even(len(_NEAR_LIMIT) + len(_FAR_FROM_LIMIT))


def split_e_value(stable: int, candidate: int, weight_percent: float) -> float:
    """How much likelier another split than the intended one makes these counts of requests.

    A mixture of odds 1.5 and 3 times too high or too low; smaller deviations are let pass.
    """
    share = weight_percent / 100
    total = stable + candidate
    missing = abs(candidate - share * total)
    if not 0 < share < 1 or missing < _A_LITTLE * min(stable, candidate):
        return 1.0
    others = _other_splits(share)
    log_ratios = [candidate * log_odds - total * log_norm for log_odds, log_norm in others]
    return mixture(log_ratios, [1 / len(others)] * len(others))


@lru_cache(maxsize=64)
def _other_splits(share: float) -> tuple[tuple[float, float], ...]:
    """What a request of the candidate's says for each other split, and what any request costs."""
    return tuple((math.log(odds), math.log(1 - share + odds * share)) for odds in _OTHER_SPLITS)
