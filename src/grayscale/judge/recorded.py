"""Intervals as JSON, and the step that judges them: what is recorded is what can be replayed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from grayscale.judge.engine import advance
from grayscale.judge.state import JudgeState
from grayscale.judge.values import (
    BUCKETS,
    Arm,
    Cause,
    Interval,
    JudgeInputError,
    Outcome,
    Verdict,
)

_ARMS = ("stable", "candidate")
_ARM_FIELDS = tuple(field.name for field in fields(Arm))
_PLAIN_FIELDS = tuple(
    field.name for field in fields(Interval) if field.name not in {*_ARMS, "independent"}
)


def look_once(state: JudgeState, interval: Interval) -> tuple[JudgeState, Verdict]:
    """`advance`, but counters that cannot be true teach nothing: the state stays as it is."""
    try:
        return advance(state, interval)
    except JudgeInputError as error:
        sentence = f"The counters of this interval cannot be true: {error}"
        return state, Verdict(Outcome.INCONCLUSIVE, Cause.STALE_METRICS, sentence, {})


def interval_json(interval: Interval) -> dict[str, Any]:
    """An interval as a JSON value; of histograms only the buckets that hold something."""
    return {
        **{name: getattr(interval, name) for name in _PLAIN_FIELDS},
        **{name: _arm_json(getattr(interval, name)) for name in _ARMS},
        "independent": (
            None if interval.independent is None else [_arm_json(a) for a in interval.independent]
        ),
    }


def interval_from(data: Mapping[str, Any]) -> Interval:
    """The interval that `interval_json` wrote."""
    plain = {name: data[name] for name in _PLAIN_FIELDS if name in data}
    independent = data.get("independent")
    return Interval(
        **plain,
        stable=_arm_from(data["stable"]),
        candidate=_arm_from(data["candidate"]),
        independent=(
            None if independent is None else (_arm_from(independent[0]), _arm_from(independent[1]))
        ),
    )


def verdict_json(verdict: Verdict) -> dict[str, Any]:
    """A verdict as a JSON value."""
    return {
        "outcome": verdict.outcome.value,
        "cause": None if verdict.cause is None else verdict.cause.value,
        "sentence": verdict.sentence,
        "evidence": dict(verdict.evidence),
    }


def _arm_json(arm: Arm) -> dict[str, Any]:
    data = {name: getattr(arm, name) for name in _ARM_FIELDS}
    data["latency_counts"] = _sparse(arm.latency_counts)
    data["histograms"] = {name: _sparse(counts) for name, counts in arm.histograms.items()}
    data["signals"] = {name: list(pair) for name, pair in arm.signals.items()}
    if arm.by_code is not None:
        data["by_code"] = {str(code): count for code, count in arm.by_code.items()}
    return data


def _arm_from(data: Mapping[str, Any]) -> Arm:
    known = {name: data[name] for name in _ARM_FIELDS if name in data}
    known["latency_counts"] = _dense(data["latency_counts"])
    histograms = data.get("histograms", {})
    known["histograms"] = {name: _dense(counts) for name, counts in histograms.items()}
    signals = data.get("signals", {})
    known["signals"] = {name: (pair[0], pair[1]) for name, pair in signals.items()}
    if data.get("by_code") is not None:
        known["by_code"] = {int(code): count for code, count in data["by_code"].items()}
    return Arm(**known)


def _sparse(counts: Sequence[int]) -> dict[str, int] | None:
    """None for a histogram that nobody reports, which is not the same as an empty one."""
    return {str(i): count for i, count in enumerate(counts) if count} if counts else None


def _dense(counts: Mapping[str, int] | None) -> tuple[int, ...]:
    if counts is None:
        return ()
    filled = [0] * BUCKETS
    for bucket, count in counts.items():
        filled[int(bucket)] = count
    return tuple(filled)
