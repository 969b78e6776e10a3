"""Evidence that a candidate is good: promotion is earned, never a default.

Either a failure rate above the limit or doubled odds of failure must be excluded at 1 in 20,
with evidence of this step alone.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from functools import lru_cache

from grayscale.judge.evidence import (
    Odds,
    Rates,
    absolute_log_ratios,
    mixture,
    rates_against,
    relative_log_ratios,
)
from grayscale.judge.measures import Side, Sides
from grayscale.judge.state import Health

NEEDED_E_VALUE = 20.0
_BETTER_RATES = (0.01, 0.1, 0.3, 0.6)  # as shares of the limit
_BETTER_WEIGHTS = (0.3, 0.25, 0.35, 0.1)
_NOT_DOUBLED = Odds.of(1.0, 0.7, null=2.0)
_NOT_DOUBLED_WEIGHTS = (0.5, 0.5)
_MANY, _MANY_SHARE = 10, 0.1

NO_HEALTH = Health((0.0,) * len(_BETTER_RATES), (0.0,) * len(_NOT_DOUBLED_WEIGHTS))


def with_interval(
    health: Health,
    *,
    everything: Sides,
    independent: Sides,
    least_share: float,
    limit: float,
) -> Health:
    """The evidence after one more interval; only candidate requests whose end is known count.

    `least_share`: the candidate had at least that much of the requests that failures may be of.
    """
    (stable, candidate), (stable_alone, candidate_alone) = everything, independent
    bad, resolved = candidate.arm.errors, _resolved(candidate)
    asked_before, resolved_before = health.of_stable
    absolute = absolute_log_ratios(bad, resolved, _rates_below(limit))
    relative = relative_log_ratios(
        (stable_alone.arm.errors, candidate_alone.arm.errors),
        (1 - least_share, least_share),
        _NOT_DOUBLED,
    )
    return Health(
        absolute=_sums(health.absolute, absolute),
        relative=_sums(health.relative, relative),
        requests=health.requests + candidate.asked,
        resolved=health.resolved + resolved,
        bad=health.bad + bad,
        of_stable=(asked_before + stable.asked, resolved_before + _resolved(stable)),
    )


def hanging(health: Health) -> bool:
    """Whether far more of the candidate's requests than of stable's are still without an end."""
    asked, resolved = health.of_stable
    usual = max(asked - resolved, 0) / asked if asked else 0.0
    still_open = health.requests - health.resolved
    return still_open >= _MANY and still_open > (2 * usual + _MANY_SHARE) * health.requests


def _resolved(side: Side) -> int:
    """Requests whose end is known; where nothing tells of answers, what did not fail went well."""
    bad, answers = side.arm.errors, side.answers
    return side.asked if answers is None else bad + answers


def without_absolute(health: Health) -> Health:
    """The evidence while stable itself is beyond the limit: failures then say nothing."""
    return health._replace(absolute=NO_HEALTH.absolute)


def below_limit(health: Health) -> float:
    """The e-value against "the candidate fails more often than the limit allows"."""
    return mixture(health.absolute, _BETTER_WEIGHTS)


def not_doubled(health: Health) -> float:
    """The e-value against "the candidate's odds of failure are twice stable's"."""
    return mixture(health.relative, _NOT_DOUBLED_WEIGHTS)


@lru_cache(maxsize=64)
def _rates_below(limit: float) -> Rates:
    return rates_against(limit, (limit * share for share in _BETTER_RATES))


def _sums(one: Sequence[float], other: Sequence[float]) -> tuple[float, ...]:
    return tuple(map(operator.add, one, other))
