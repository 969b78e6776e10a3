"""The judge: counters of stable and candidate in, a verdict with its evidence out.

Pure arithmetic: no clock, no I/O. `start` gives a state, `advance` takes the next interval and
gives the next state and a verdict.
"""

from grayscale.judge.engine import advance, start
from grayscale.judge.state import JudgeState
from grayscale.judge.values import (
    LATENCY_EDGES_MS,
    Arm,
    Interval,
    JudgeInputError,
    Outcome,
    Rule,
    Settings,
    Verdict,
)

__all__ = [
    "LATENCY_EDGES_MS",
    "Arm",
    "Interval",
    "JudgeInputError",
    "JudgeState",
    "Outcome",
    "Rule",
    "Settings",
    "Verdict",
    "advance",
    "start",
]
