"""Rules of foresight: how many requests it takes until a difference is seen."""

from __future__ import annotations

import math

import pytest

from grayscale.plan.sight import evidence_needed, requests_to_see, requests_to_trust


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        ((0.001, 0.01), (528, 588, 665, 935, 1685)),
        ((0.01, 0.02), (1888, 1991, 2131, 2661, 4238)),
        ((0.01, 0.05), (181, 196, 216, 288, 495)),
        ((0.01, 0.07), (97, 106, 118, 161, 284)),
        ((0.04, 0.08), (472, 498, 533, 665, 1059)),
    ],
)
def test_evidence_grows_by_the_likelihood_ratio(
    rates: tuple[float, float], expected: tuple[int, ...]
) -> None:
    """With 7.2 nats to collect, each weight needs as many requests as the tables say."""
    per_nat = 7.2 / evidence_needed(0.05)
    weights = (0.01, 0.05, 0.1, 0.25, 0.5)
    needed = [requests_to_see(*rates, weight=weight, alpha=0.05) * per_nat for weight in weights]
    assert needed == pytest.approx(expected, rel=0.005)


def test_what_is_not_worse_is_never_seen() -> None:
    """Equal versions, and steps without a control, give no evidence by comparison."""
    assert requests_to_see(0.01, 0.01, weight=0.1, alpha=0.05) == math.inf
    assert requests_to_see(0.01, 0.07, weight=1.0, alpha=0.05) == math.inf


def test_less_certainty_needs_fewer_requests() -> None:
    """A higher alpha is reached sooner."""
    needed = [requests_to_see(0.01, 0.05, weight=0.1, alpha=alpha) for alpha in (0.01, 0.05, 0.2)]
    assert needed == sorted(needed, reverse=True)


def test_trust_needs_more_requests_the_nearer_the_limit() -> None:
    """Few failures exclude the limit fast; near it, only the comparison with stable helps."""
    needed = [requests_to_trust(rate, 0.05, weight=0.1, at_least=1) for rate in (0.001, 0.01, 0.03)]
    assert needed == sorted(needed)
    assert needed[0] == pytest.approx(65, abs=3)
    assert requests_to_trust(0.04, 0.05, weight=0.1, at_least=1) < needed[-1]
    assert requests_to_trust(0.1, 0.05, weight=1.0, at_least=1) == math.inf
    assert requests_to_trust(0.001, 0.05, weight=0.1, at_least=500) == 500
