"""Intervals as they are recorded: all that the judge was told, and nothing else."""

import json
from dataclasses import fields
from typing import Any

import pytest

from grayscale.judge import Interval, start
from grayscale.judge.recorded import interval_from, interval_json, look_once
from grayscale.judge.values import BUCKETS, Arm, Cause, Outcome

COUNTS = tuple(index % 3 for index in range(BUCKETS))
FULL = Arm(
    requests=40,
    errors=6,
    latency_counts=COUNTS,
    by_code={500: 5, 429: 1},
    rejected=2,
    client_gone=3,
    shared_errors=1,
    signals={"refusal": (1, 30), "empty": (0, 30)},
    histograms={"ttft": COUNTS, "cost": (0,) * BUCKETS},
    callers=9,
    failed_callers=1,
)
BARE = Arm(requests=1)


def interval(**changes: Any) -> Interval:
    """The first interval of a release."""
    values: dict[str, Any] = {
        "id": 1, "seconds": 9.999999999999998, "step": 0, "weight_percent": 10.0,
        "step_seconds": 10.0, "soak_done": True, "stable": FULL, "candidate": BARE,
        "fresh": False, "split_verified": False, "independent": (BARE, FULL), **changes,
    }  # fmt: skip
    return Interval(**values)


@pytest.mark.parametrize("changes", [{}, {"independent": None}, {"candidate": FULL}])
def test_every_field_comes_back(changes: dict[str, Any]) -> None:
    """Through JSON and back an interval is the same, to the last digit and bucket."""
    recorded = json.loads(json.dumps(interval_json(interval(**changes))))
    assert interval_from(recorded) == interval(**changes)


def test_the_example_has_every_field() -> None:
    """No field of an arm or an interval is at its default above: a new one must be added there."""
    assert [f.name for f in fields(Arm) if getattr(FULL, f.name) == getattr(Arm(), f.name)] == []
    bare = Interval(0, 0.0, 0, 0.0, 0.0, soak_done=False, stable=BARE, candidate=FULL)
    same = [
        f.name for f in fields(Interval) if getattr(interval(), f.name) == getattr(bare, f.name)
    ]
    assert same == ["step"]


def test_what_nobody_reports_is_not_recorded_as_nothing() -> None:
    """No latencies known, and none above zero, are two different things to the judge."""
    unknown = interval_json(interval(stable=BARE))["stable"]
    empty = interval_json(interval(stable=Arm(requests=1, latency_counts=(0,) * BUCKETS)))["stable"]
    assert (unknown["latency_counts"], empty["latency_counts"]) == (None, {})


def test_fields_that_a_later_version_adds_are_passed_over() -> None:
    """An older grayscale reads what a newer one has recorded."""
    recorded = interval_json(interval())
    recorded["weather"] = recorded["stable"]["weather"] = "fine"
    assert interval_from(recorded) == interval()


def test_counters_that_cannot_be_true_teach_nothing() -> None:
    """The judge's state stays, no step is left, and the sentence says which counters."""
    state = start()
    after, verdict = look_once(state, interval(stable=BARE, candidate=Arm(errors=-1)))
    assert after == state
    assert (verdict.outcome, verdict.cause) == (Outcome.INCONCLUSIVE, Cause.STALE_METRICS)
    assert "candidate.errors" in verdict.sentence
