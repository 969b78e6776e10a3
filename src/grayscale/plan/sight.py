"""How many requests it takes until a difference is seen: what a plan can know beforehand.

The judge's evidence grows, per candidate request, by the expected logarithm of its likelihood
ratio. These are averages; half of all releases need more. Rates are shares of all requests.
"""

from __future__ import annotations

import math

_OVERHEAD_NATS = 3.6
"""What the judge spends on not knowing the gate, the size of the harm and when it began."""

_TRUST_NATS = math.log(20)
_SURE_OF = (0.01, 0.1, 0.3, 0.6)


def evidence_per_request(stable_rate: float, candidate_rate: float, weight: float) -> float:
    """Nats of evidence that the candidate is worse, per candidate request at this weight (0-1)."""
    if not (0 < weight < 1 and stable_rate < candidate_rate):
        return 0.0
    odds = candidate_rate / max(stable_rate, 1e-6)
    share = odds * weight / (odds * weight + 1 - weight)
    of_candidate = candidate_rate * math.log(share / weight)
    of_stable = stable_rate * (1 - weight) / weight * math.log((1 - share) / (1 - weight))
    return of_candidate + of_stable


def evidence_needed(alpha: float) -> float:
    """Nats of evidence that make a verdict `harmful`."""
    return math.log(1 / alpha) + _OVERHEAD_NATS


def requests_to_see(
    stable_rate: float, candidate_rate: float, *, weight: float, alpha: float
) -> float:
    """Candidate requests until this harm is found; infinite where it cannot be."""
    growth = evidence_per_request(stable_rate, candidate_rate, weight)
    return evidence_needed(alpha) / growth if growth > 0 else math.inf


def requests_to_trust(rate: float, limit: float, *, weight: float, at_least: int) -> float:
    """Candidate requests until a version as good as stable is called healthy.

    Either a rate above the limit is excluded, or doubled odds of failure are: what comes first.
    """
    limit = min(max(limit, 0.001), 0.99)
    below = max(_growth(rate, limit, limit * share) for share in _SURE_OF)
    not_doubled = _not_doubled(rate, weight)
    best = max(below, not_doubled)
    return max(at_least, _TRUST_NATS / best) if best > 0 else math.inf


def _growth(rate: float, null: float, alternative: float) -> float:
    good = (1 - rate) * math.log((1 - alternative) / (1 - null))
    return rate * math.log(alternative / null) + good


def _not_doubled(rate: float, weight: float) -> float:
    if not 0 < weight < 1:
        return 0.0
    null = 2 * weight / (1 + weight)
    failures = rate / weight
    return failures * (
        weight * math.log(weight / null) + (1 - weight) * math.log((1 - weight) / (1 - null))
    )
