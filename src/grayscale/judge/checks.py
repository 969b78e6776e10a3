"""Refuses counters that cannot be true, before anything is learnt from them."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from operator import attrgetter

from grayscale.judge.measures import LATENCY, Side, Sides
from grayscale.judge.past import Histogram
from grayscale.judge.state import JudgeState
from grayscale.judge.values import BUCKETS, Arm, Interval, JudgeInputError

_NUMBERS = (int, float)
_COUNTS = (
    "requests",
    "errors",
    "rejected",
    "client_gone",
    "shared_errors",
    "callers",
    "failed_callers",
)
_WHOLE = {int}
_counts_of = attrgetter(*_COUNTS)


def checked(state: JudgeState, interval: Interval) -> tuple[Sides, Sides]:
    """All of an interval, and the independent part of it.

    Raises JudgeInputError if the interval cannot follow the state.
    """
    _check_count("id", interval.id)
    if state.last_id is not None and interval.id <= state.last_id:
        raise JudgeInputError(
            f"interval {interval.id} after {state.last_id}: ids rise, each is judged once"
        )
    _check_count("step", interval.step)
    _check_number("seconds", interval.seconds, math.inf)
    _check_number("step_seconds", interval.step_seconds, math.inf)
    _check_number("weight_percent", interval.weight_percent, 100)
    stable, candidate = _side("stable", interval.stable), _side("candidate", interval.candidate)
    _check_ends("stable", stable, state.open_stable)
    _check_ends("candidate", candidate, state.open_candidate)
    everything = (stable, candidate)
    if interval.independent is None:
        return everything, everything
    stable_alone, candidate_alone = interval.independent
    return everything, (
        _side("independent stable", stable_alone),
        _side("independent candidate", candidate_alone),
    )


def _side(name: str, arm: Arm) -> Side:
    values = _counts_of(arm)
    if set(map(type, values)) != _WHOLE or min(values) < 0:
        for field, value in zip(_COUNTS, values, strict=True):
            _check_count(f"{name}.{field}", value)
    if arm.failed_callers > arm.callers:
        raise JudgeInputError(f"{name}: {arm.failed_callers} of {arm.callers} callers failed")
    for signal, (bad, total) in arm.signals.items():
        _check_part(f"{name}.signals[{signal}]", bad, total)
    for code, count in (arm.by_code or {}).items():
        _check_count(f"{name}.by_code[{code}]", count)
    histograms = {}
    if len(arm.latency_counts):
        histograms[LATENCY] = _histogram(f"{name}.latency_counts", arm.latency_counts)
    for histogram, counts in arm.histograms.items():
        if len(counts):
            histograms[histogram] = _histogram(f"{name}.histograms[{histogram}]", counts)
    return Side(arm, max(arm.requests, arm.errors), histograms)


def _check_ends(name: str, side: Side, still_open: int) -> None:
    """No more requests can end than there are."""
    answers, errors = side.answers or 0, side.arm.errors
    possible = side.arm.requests + still_open
    if errors + answers > possible:
        raise JudgeInputError(
            f"{name}: {errors} errors and {answers} answers of {possible} requests"
        )


def _histogram(name: str, counts: Sequence[int]) -> Histogram:
    if len(counts) != BUCKETS:
        raise JudgeInputError(f"{name} has {len(counts)} buckets instead of {BUCKETS}")
    try:
        whole = array("Q", counts)
    except (TypeError, OverflowError):
        raise JudgeInputError(f"{name}: counts are whole numbers from 0") from None
    total = sum(counts)
    if type(total) is not int:  # whole numbers of another kind, such as NumPy's
        return Histogram(whole, sum(whole))
    return Histogram(counts, total)


def _check_part(name: str, part: object, whole: object) -> None:
    _check_count(name, part)
    _check_count(name, whole)
    if part > whole:  # type: ignore[operator]  # both are whole numbers by now
        raise JudgeInputError(f"{name}: {part!r} of {whole!r} cannot be")


def _check_count(name: str, value: object) -> None:
    if type(value) is not int or value < 0:
        raise JudgeInputError(f"{name}: {value!r} is no count")


def _check_number(name: str, value: object, highest: float) -> None:
    if not isinstance(value, _NUMBERS) or not (0 <= value <= highest and value < math.inf):
        raise JudgeInputError(f"{name}: {value!r} is out of bounds")
