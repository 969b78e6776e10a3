"""Rules of what the judge is told: what cannot be true is refused by the name of its field."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest

from grayscale.errors import GrayscaleError
from grayscale.judge import Arm, Interval, JudgeInputError, Rule, Settings, advance, start
from tests.judge.intervals import BUCKETS, CLEAN, an_interval, answers, judged

GOOD = an_interval(2, Arm(9, 1, answers(8), {500: 1}), Arm(9, 0, answers(9)))


@pytest.mark.parametrize(
    ("interval", "expected"),
    [
        (replace(GOOD, id=1), "interval 1 after 1: ids rise"),
        (replace(GOOD, id=0), "interval 0 after 1: ids rise"),
        (replace(GOOD, id=-1), "id: -1 is no count"),
        (replace(GOOD, id=True), "id: True is no count"),
        (replace(GOOD, step=-1), "step: -1 is no count"),
        (replace(GOOD, seconds=math.nan), "seconds: nan is out of bounds"),
        (replace(GOOD, seconds=-1.0), "seconds: -1.0 is out of bounds"),
        (replace(GOOD, seconds=math.inf), "seconds: inf is out of bounds"),
        (replace(GOOD, step_seconds=cast("float", None)), "step_seconds: None is out of bounds"),
        (replace(GOOD, weight_percent=101.0), "weight_percent: 101.0 is out of bounds"),
        (replace(GOOD, stable=Arm(-1)), "stable.requests: -1 is no count"),
        (replace(GOOD, stable=Arm(9, -1)), "stable.errors: -1 is no count"),
        (replace(GOOD, candidate=Arm(cast("int", 1.5))), "candidate.requests: 1.5 is no count"),
        (replace(GOOD, candidate=Arm(cast("int", math.nan))), "candidate.requests: nan is no count"),
        (replace(GOOD, candidate=Arm(9, 10)), "candidate: 10 errors and 0 answers of 9 requests"),
        (replace(GOOD, stable=Arm(9, 10)), "stable: 10 errors and 0 answers of 9 requests"),
        (replace(GOOD, candidate=Arm(9, 0, answers(10))), "candidate: 0 errors and 10 answers of 9"),
        (replace(GOOD, candidate=cast("Arm", None)), "candidate: None is no Arm"),
        (replace(GOOD, independent=cast("Any", (Arm(), None))), "independent candidate: None is no"),
        (replace(GOOD, independent=cast("Any", (Arm(),))), "interval 2 cannot be read"),
        (cast("Interval", None), "interval: None is no Interval"),
        (replace(GOOD, stable=Arm(9, 0, cast("Any", None))), "stable.latency_counts: None cannot"),
        (replace(GOOD, stable=Arm(9, 0, cast("Any", [None] * BUCKETS))), "stable.latency_counts: c"),
        (replace(GOOD, stable=Arm(9, 0, cast("Any", {1: 2}))), "stable.latency_counts: {1: 2} are no"),
        (replace(GOOD, stable=Arm(9, 0, answers(10**6))), "stable: 0 errors and 1000000 answers of 9"),
        (replace(GOOD, stable=Arm(9, by_code=cast("Any", [500]))), "stable.by_code: [500] cannot"),
        (replace(GOOD, stable=Arm(9, signals=cast("Any", {"refusal": 1}))), "interval 2 cannot"),
        (replace(GOOD, stable=Arm(10**400)), "is no count"),
        (replace(GOOD, stable=Arm(9, 0, answers(10**16))), "answers are more than can be"),
        (replace(GOOD, candidate=Arm(cast("int", True))), "candidate.requests: True is no count"),
        (replace(GOOD, stable=Arm(9, 0, answers(-1))), "stable.latency_counts: counts are whole"),
        (replace(GOOD, stable=Arm(9, 0, answers(cast("int", math.nan)))), "stable.latency_counts: counts are"),
        (replace(GOOD, stable=Arm(9, 0, [1])), f"latency_counts has 1 buckets instead of {BUCKETS}"),
        (replace(GOOD, stable=Arm(9, 1, (), {500: -1})), "stable.by_code[500]: -1 is no count"),
    ],
)  # fmt: skip
def test_what_cannot_be_true_is_refused(interval: Interval, expected: str) -> None:
    """Wrong counters are neither a crash nor a pass; the state is as it was."""
    state, _ = judged(CLEAN)
    with pytest.raises(JudgeInputError) as caught:
        advance(state, interval)
    assert expected in str(caught.value)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, GrayscaleError)
    assert advance(state, GOOD)[1].outcome == "healthy"


@pytest.mark.parametrize(
    "fields",
    [
        {"error_threshold_percent": 0},
        {"error_threshold_percent": 101},
        {"latency_threshold_ms": math.nan},
        {"alpha": 1},
        {"min_requests": 0},
        {"min_requests": 60.5},
        {"alpha": None},
        {"alpha": True},
        {"latency_warmup_seconds": -1},
    ],
)
def test_settings_out_of_bounds_are_refused(fields: dict[str, Any]) -> None:
    """A judge with a broken measure does not begin."""
    with pytest.raises(JudgeInputError, match=f"{next(iter(fields))}: .* is out of bounds"):
        Settings(**fields)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: Rule("mine", "error_rate", math.nan), "rule mine: limit: nan is no limit"),
        (lambda: Rule("mine", cast("str", None)), "rule mine: metric: None is no metric"),
        (lambda: Rule("mine", "error_code", codes=cast("Any", 503)), "codes: 503 is no list"),
        (lambda: Settings(rules=cast("Any", None)), "rules: None is no list"),
        (lambda: Settings(rules=cast("Any", ["error_rate > 5"])), "rules: 'error_rate > 5' is no"),
        (lambda: start(Settings(switched_off=("errors",))), "switched_off: 'errors' cannot be left"),
    ],
)  # fmt: skip
def test_rules_that_are_none_are_refused(make: Callable[[], object], expected: str) -> None:
    """What would make every comparison false is not taken for a limit."""
    with pytest.raises(JudgeInputError, match=re.escape(expected)):
        make()


def test_lists_and_other_whole_numbers_are_taken_too() -> None:
    """Who counts with NumPy, say, is understood; the state holds plain numbers."""
    settings = Settings(rules=cast("Any", [Rule("mine", "error_rate", 10.0)]))
    one, nine = (cast("int", Whole(count)) for count in (1, 9))
    counts = cast("Any", [Whole(count) for count in answers(8)])
    state, _ = judged((Arm(nine, one, counts), Arm(nine, 0, tuple(counts))), settings=settings)
    assert state == judged((Arm(9, 1, answers(8)), Arm(9, 0, answers(8))), settings=settings)[0]


class Whole:
    """A whole number of another kind."""

    def __init__(self, value: int) -> None:
        self._value = value

    def __index__(self) -> int:
        return self._value

    def __radd__(self, other: int) -> Whole:
        return Whole(other + self._value)

    __add__ = __radd__
