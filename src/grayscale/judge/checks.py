"""Refuses counters that cannot be true, before anything is learnt from them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from grayscale.judge.state import JudgeState
from grayscale.judge.values import BUCKETS, Arm, Interval, JudgeInputError

_COUNTS = ("requests", "errors", "rejected", "client_gone", "shared_errors", "callers")


def check_interval(state: JudgeState, interval: Interval) -> None:
    """Raise JudgeInputError if the interval cannot follow the state."""
    _check_count("id", interval.id)
    if state.last_id is not None and interval.id <= state.last_id:
        raise JudgeInputError(
            f"interval {interval.id} after {state.last_id}: ids rise, each is judged once"
        )
    _check_count("step", interval.step)
    _check_number("seconds", interval.seconds, math.inf)
    _check_number("step_seconds", interval.step_seconds, math.inf)
    _check_number("weight_percent", interval.weight_percent, 100)
    _check_arm("stable", interval.stable, state.open_stable)
    _check_arm("candidate", interval.candidate, state.open_candidate)
    for name, arm in zip(("stable", "candidate"), interval.independent or (), strict=False):
        _check_arm(f"independent {name}", arm, arm.errors + sum(arm.latency_counts))


def _check_arm(name: str, arm: Arm, still_open: int) -> None:
    for field in _COUNTS:
        _check_count(f"{name}.{field}", getattr(arm, field))
    answers = _check_histogram(f"{name}.latency_counts", arm.latency_counts)
    for histogram, counts in arm.histograms.items():
        _check_histogram(f"{name}.histograms[{histogram}]", counts)
    for signal, (bad, total) in arm.signals.items():
        _check_part(f"{name}.signals[{signal}]", bad, total)
    _check_part(f"{name}.failed_callers", arm.failed_callers, arm.callers)
    for code, count in (arm.by_code or {}).items():
        _check_count(f"{name}.by_code[{code}]", count)
    known, possible = arm.errors + answers, arm.requests + still_open
    if known > possible:
        raise JudgeInputError(
            f"{name}: {arm.errors} errors and {answers} answers of {possible} requests"
        )


def _check_histogram(name: str, counts: Sequence[int]) -> int:
    """How many there are in all."""
    if not counts:
        return 0
    if len(counts) != BUCKETS:
        raise JudgeInputError(f"{name} has {len(counts)} buckets instead of {BUCKETS}")
    total = sum(counts)
    if type(total) is not int or min(counts) < 0:
        raise JudgeInputError(f"{name}: counts are whole numbers from 0")
    return total


def _check_part(name: str, part: object, whole: object) -> None:
    _check_count(name, part)
    _check_count(name, whole)
    if part > whole:  # type: ignore[operator]  # both are whole numbers by now
        raise JudgeInputError(f"{name}: {part!r} of {whole!r} cannot be")


def _check_count(name: str, value: object) -> None:
    if type(value) is not int or value < 0:
        raise JudgeInputError(f"{name}: {value!r} is no count")


def _check_number(name: str, value: object, highest: float) -> None:
    if not isinstance(value, int | float) or not (0 <= value <= highest and value < math.inf):
        raise JudgeInputError(f"{name}: {value!r} is out of bounds")
