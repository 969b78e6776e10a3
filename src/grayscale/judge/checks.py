"""Refuses counters that cannot be true, before anything is learnt from them."""

from __future__ import annotations

import math
import operator
from array import array
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from operator import attrgetter
from typing import Any

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
_PLAIN_LISTS = (list, tuple)
_MOST = 10**15
_LONGEST_SECONDS, _A_FEW = 600.0, 100  # how long a request may take; some when there are none now
_counts_of = attrgetter(*_COUNTS)


def checked(state: JudgeState, interval: Interval) -> tuple[Sides, Sides]:
    """All of an interval, and the independent part of it.

    Raises JudgeInputError if the interval cannot follow the state, or is none.
    """
    try:
        return _checked(state, interval)
    except (AttributeError, TypeError, ValueError) as error:
        if isinstance(error, JudgeInputError):
            raise
        raise _misshapen(interval, error) from error


def _checked(state: JudgeState, interval: Interval) -> tuple[Sides, Sides]:
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
    # What stable was asked before the release is answered in it; the candidate was asked nothing.
    before = stable.arm.requests * _LONGEST_SECONDS / max(interval.seconds, 1.0)
    _check_ends("stable", stable, state.open_stable, unseen=int(before) + _A_FEW)
    _check_ends("candidate", candidate, state.open_candidate, unseen=0)
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
    if set(map(type, values)) != _WHOLE:
        arm = _in_whole_numbers(name, arm)
        values = _counts_of(arm)
    if min(values) < 0 or max(values) > _MOST:
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


def _in_whole_numbers(name: str, arm: Arm) -> Arm:
    """The arm with Python's own numbers for others' whole numbers, such as NumPy's."""
    found: dict[str, Any] = {}
    for field, value in zip(_COUNTS, _counts_of(arm), strict=True):
        if isinstance(value, bool) or not hasattr(value, "__index__"):
            raise JudgeInputError(f"{name}.{field}: {value!r} is no count")
        found[field] = operator.index(value)
    return replace(arm, **found)


def _check_ends(name: str, side: Side, still_open: int, *, unseen: int) -> None:
    """No more requests can fail than there are, nor end, but for those begun `unseen`."""
    answers, errors = side.answers or 0, side.arm.errors
    possible = side.arm.requests + still_open
    if errors > possible or errors + answers > possible + unseen:
        raise JudgeInputError(
            f"{name}: {errors} errors and {answers} answers of {possible} requests"
        )


def _histogram(name: str, counts: Sequence[int]) -> Histogram:
    is_plain = type(counts) in _PLAIN_LISTS
    if not is_plain and isinstance(counts, Mapping | AbstractSet):
        raise JudgeInputError(f"{name}: {counts!r} are no counts by bucket")
    if len(counts) != BUCKETS:
        raise JudgeInputError(f"{name} has {len(counts)} buckets instead of {BUCKETS}")
    try:
        whole = array("Q", counts)
    except (TypeError, OverflowError):
        raise JudgeInputError(f"{name}: counts are whole numbers from 0") from None
    total = sum(counts)
    if not is_plain or type(total) is not int:  # NumPy's, say
        counts, total = whole, sum(whole)
    if total > _MOST:
        raise JudgeInputError(f"{name}: {total} answers are more than can be")
    return Histogram(counts, total)


def _check_part(name: str, part: object, whole: object) -> None:
    _check_count(name, part)
    _check_count(name, whole)
    if part > whole:  # type: ignore[operator]  # both are whole numbers by now
        raise JudgeInputError(f"{name}: {part!r} of {whole!r} cannot be")


def _check_count(name: str, value: object) -> None:
    if type(value) is not int or not 0 <= value <= _MOST:
        raise JudgeInputError(f"{name}: {value!r} is no count")


def _check_number(name: str, value: object, highest: float) -> None:
    if not isinstance(value, _NUMBERS) or not (0 <= value <= highest and value < math.inf):
        raise JudgeInputError(f"{name}: {value!r} is out of bounds")


def _misshapen(interval: object, error: Exception) -> JudgeInputError:
    """What is not what it should be: the first such field, by its name."""
    if not isinstance(interval, Interval):
        return JudgeInputError(f"interval: {interval!r} is no Interval")
    arms: dict[str, object] = {"stable": interval.stable, "candidate": interval.candidate}
    alone: object = interval.independent
    if isinstance(alone, tuple):
        arms |= {f"independent {name}": arm for name, arm in zip(arms, alone, strict=False)}
    for name, arm in arms.items():
        if not isinstance(arm, Arm):
            return JudgeInputError(f"{name}: {arm!r} is no Arm")
        for field, kind in _KINDS.items():
            if not isinstance(getattr(arm, field), kind):
                return JudgeInputError(f"{name}.{field}: {getattr(arm, field)!r} cannot be read")
    return JudgeInputError(f"interval {interval.id!r} cannot be read: {error}")


_KINDS = {
    "latency_counts": Sequence,
    "by_code": Mapping | None,
    "signals": Mapping,
    "histograms": Mapping,
}
