"""Rules of stable's past: what is read from it was known before the interval that it measures."""

from __future__ import annotations

import json
from itertools import accumulate

from grayscale.judge.past import Past
from grayscale.judge.values import BUCKETS


def answers(count: int, bucket: int) -> list[int]:
    """An interval's answers, all of them in one bucket, cumulated."""
    counts = [0] * BUCKETS
    counts[bucket] = count
    return list(accumulate(counts))


def test_quantiles_need_two_hundred_answers() -> None:
    """Before there are as many, there is nothing to compare with."""
    past = Past().after(answers(199, 60))
    assert past.spread is None
    spread = past.after(answers(1, 60)).spread
    assert spread is not None
    assert (spread.known, spread.quantile(0.5), spread.cuts) == (200, 60, (60,))


def test_quantiles_are_read_again_with_a_twentieth_more_answers() -> None:
    """In between they stand still, whatever the answers are like; every answer is kept."""
    first = Past().after(answers(1000, 60))
    second = first.after(answers(49, 200))
    assert second.spread == first.spread
    assert second.heights[-1] == 1049
    third = second.after(answers(1, 200)).spread
    assert third is not None
    assert (third.known, third.quantile(0.5), third.quantile(0.99)) == (1050, 60, 200)


def test_the_past_survives_json() -> None:
    """With its quantiles, which may be older than its answers, and without any."""
    young = Past().after(answers(10, 3))
    old = Past().after(answers(900, 60)).after(answers(100, 90)).after(answers(9, 120))
    for past in (young, old):
        assert Past.from_json(json.loads(json.dumps(past.to_json()))) == past
