"""Refuses counters that cannot be true, before anything is learnt from them."""

from __future__ import annotations

import math
from collections.abc import Collection

from grayscale.judge.state import JudgeState
from grayscale.judge.values import BUCKETS, Arm, Interval, JudgeInputError


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


def _check_arm(name: str, arm: Arm, still_open: int) -> None:
    _check_count(f"{name}.requests", arm.requests)
    _check_count(f"{name}.errors", arm.errors)
    _check_count(f"{name}.rejected", arm.rejected)
    _check_count(f"{name}.client_gone", arm.client_gone)
    if len(arm.latency_counts) not in {0, BUCKETS}:
        raise JudgeInputError(
            f"{name}.latency_counts has {len(arm.latency_counts)} buckets instead of {BUCKETS}"
        )
    _check_counts(f"{name}.latency_counts", arm.latency_counts)
    _check_counts(f"{name}.by_code", (arm.by_code or {}).values())
    known, possible = arm.errors + sum(arm.latency_counts), arm.requests + still_open
    if known > possible:
        raise JudgeInputError(
            f"{name}: {arm.errors} errors and {known - arm.errors} answers of {possible} requests"
        )


def _check_count(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise JudgeInputError(f"{name}: {value!r} is no count")


def _check_counts(name: str, values: Collection[int]) -> None:
    if values and (set(map(type, values)) != {int} or min(values) < 0):
        raise JudgeInputError(f"{name}: counts are whole numbers from 0")


def _check_number(name: str, value: object, highest: float) -> None:
    if not isinstance(value, int | float) or not (0 <= value <= highest and value < math.inf):
        raise JudgeInputError(f"{name}: {value!r} is out of bounds")
