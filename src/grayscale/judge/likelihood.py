"""How likely counts of bad requests are, and whether two versions' are of one rate."""

from __future__ import annotations

import math

_MOST = 700.0  # exp of more is no number


def log_likelihood(bad: int, requests: int, rate: float) -> float:
    """Of so many bad ones, each with this chance."""
    good = requests - bad
    return (bad * math.log(rate) if bad else 0.0) + (good * math.log(1 - rate) if good else 0.0)


def times_likelier_apart(stable_bad: int, stable: int, candidate_bad: int, candidate: int) -> float:
    """How many times likelier two rates make the counts than one rate of both does.

    Each at its best: a generalised likelihood ratio, 1 at least.
    """
    bad, requests = stable_bad + candidate_bad, stable + candidate
    apart = _at_best(stable_bad, stable) + _at_best(candidate_bad, candidate)
    return math.exp(min(apart - _at_best(bad, requests), _MOST))


def _at_best(bad: int, requests: int) -> float:
    return log_likelihood(bad, requests, bad / requests) if requests else 0.0
