"""Rules of stable's past: what is read from it was known before the interval that it measures."""

from __future__ import annotations

import json

import pytest

from grayscale.judge.past import Histogram, Past
from grayscale.judge.values import BUCKETS


def answers(count: int, bucket: int) -> Histogram:
    """An interval's answers, all of them in one bucket."""
    counts = [0] * BUCKETS
    counts[bucket] = count
    return Histogram(counts, count)


def test_quantiles_need_two_hundred_answers() -> None:
    """Before there are as many, there is nothing to compare with."""
    past = Past().after(answers(199, 60))
    assert past.spread is None
    spread = past.after(answers(1, 60)).spread
    assert spread is not None
    assert (spread.known, spread.cuts) == (200, (60,))
    assert spread.first_class_beyond(0.5) == spread.first_class_beyond(0.95) == 1
    assert spread.share_beyond(0.95) == pytest.approx(0.5 / 201)


def test_quantiles_are_read_again_with_a_twentieth_more_answers() -> None:
    """In between they stand still, whatever the answers are like; every answer is kept."""
    first = Past().after(answers(1000, 60))
    second = first.after(answers(49, 200))
    assert second.spread == first.spread
    assert (second.total, sum(second.counts)) == (1049, 1049)
    third = second.after(answers(1, 200)).spread
    assert third is not None
    assert (third.known, third.cuts) == (1050, (60,))
    fourth = second.after(answers(60, 200)).spread
    assert fourth is not None
    assert (fourth.known, fourth.cuts, fourth.first_class_beyond(0.5)) == (1109, (60, 200), 1)


def test_answers_beyond_what_ever_was_are_kept() -> None:
    """On both sides, and those of other buckets stay where they are."""
    past = Past().after(answers(3, 100)).after(answers(2, 90)).after(answers(4, 120))
    assert (past.begin, past.total) == (90, 9)
    assert (past.counts[0], past.counts[10], past.counts[30]) == (2, 3, 4)
    assert (past.after(answers(0, 5)).counts, len(past.counts)) == (past.counts, 31)


def test_the_past_survives_json() -> None:
    """With its quantiles, which may be older than its answers, and without any."""
    young = Past().after(answers(10, 3))
    old = Past().after(answers(900, 60)).after(answers(100, 90)).after(answers(9, 120))
    for past in (young, old):
        assert Past.from_json(json.loads(json.dumps(past.to_json()))) == past
