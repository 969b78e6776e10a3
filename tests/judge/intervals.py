"""Intervals of ten seconds at 10 %, and the judge's verdict on a series of them."""

from __future__ import annotations

from typing import Any

from grayscale.judge import (
    LATENCY_EDGES_MS,
    Arm,
    Interval,
    JudgeState,
    Settings,
    Verdict,
    advance,
    start,
)

BUCKETS = len(LATENCY_EDGES_MS) + 1
QUICK = 100  # a bucket of about 130 ms
SLOW = 170  # a bucket of about 4 s


def answers(count: int, bucket: int = QUICK) -> list[int]:
    counts = [0] * BUCKETS
    counts[bucket] = count
    return counts


def an_interval(number: int, stable: Arm, candidate: Arm, **fields: Any) -> Interval:
    known: dict[str, Any] = {
        "seconds": 10.0,
        "step": 0,
        "weight_percent": 10.0,
        "step_seconds": 10.0 * number,
        "soak_done": False,
    }
    return Interval(id=number, stable=stable, candidate=candidate, **{**known, **fields})


def judged(
    first: tuple[Arm, Arm],
    *more: tuple[Arm, Arm],
    settings: Settings | None = None,
    **fields: Any,
) -> tuple[JudgeState, Verdict]:
    state, verdict = advance(start(settings), an_interval(1, *first, **fields))
    for number, (stable, candidate) in enumerate(more, 2):
        state, verdict = advance(state, an_interval(number, stable, candidate, **fields))
    return state, verdict


CLEAN = (Arm(900, 0), Arm(100, 0))
SICK = (Arm(900, 450), Arm(100, 50))
