"""The conditions of rollback rules: `METRIC OP NUMBER` or `METRIC IN [NUMBER, …]`.

A condition is read by the small grammar below and kept as a value; nothing is ever evaluated.
"""

from __future__ import annotations

import difflib
import math
import re
from dataclasses import dataclass
from typing import Literal

Operator = Literal[">", ">=", "<", "<=", "==", "IN"]
Kind = Literal["high_is_bad", "low_is_bad", "code"]

METRICS: dict[str, Kind] = {
    "error_rate": "high_is_bad",
    "p50_latency_ms": "high_is_bad",
    "p95_latency_ms": "high_is_bad",
    "p99_latency_ms": "high_is_bad",
    "ttft_p50_ms": "high_is_bad",
    "ttft_p95_ms": "high_is_bad",
    "error_code": "code",
    "tokens_per_second": "low_is_bad",
    "cost_per_request_usd": "high_is_bad",
    "refusal_rate": "high_is_bad",
    "empty_answer_rate": "high_is_bad",
    "truncation_rate": "high_is_bad",
    "invalid_json_rate": "high_is_bad",
    "invalid_tool_call_rate": "high_is_bad",
    "stream_abort_rate": "high_is_bad",
}
"""Every metric and what is bad about it; rates are in percent, latencies in milliseconds."""

_OPERATORS: dict[Kind, tuple[Operator, ...]] = {
    "high_is_bad": (">", ">="),
    "low_is_bad": ("<", "<="),
    "code": ("IN", "=="),
}
_EXAMPLE = "error_rate > 5, or error_code IN [500, 502]"
_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
_SHAPE = re.compile(
    rf"""\s*(?P<metric>[A-Za-z_]\w*)\s*
    (?:(?P<in>[Ii][Nn])\b\s*\[(?P<list>[^\[\]]*)\]|(?P<op>[<>=!]{{1,2}})\s*(?P<number>{_NUMBER}))
    \s*""",
    re.VERBOSE | re.ASCII,
)
_ONE_NUMBER = re.compile(rf"\s*(?:{_NUMBER})\s*", re.ASCII)
_LENGTH_LIMIT = 1000


class ConditionError(ValueError):
    """A condition that cannot be read; `nearest` is the valid name that may have been meant."""

    def __init__(self, message: str, *, nearest: str | None = None) -> None:
        super().__init__(message)
        self.nearest = nearest


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition under which a rule acts; `values` holds one limit, or the codes after IN."""

    metric: str
    operator: Operator
    values: tuple[float, ...]

    @property
    def limit(self) -> float:
        """The number after the operator (the first one after IN)."""
        return self.values[0]

    def holds(self, value: float) -> bool:
        """Whether a measured value meets the condition; NaN never does."""
        match self.operator:
            case ">":
                return value > self.limit
            case ">=":
                return value >= self.limit
            case "<":
                return value < self.limit
            case "<=":
                return value <= self.limit
            case _:
                return value in self.values

    def __str__(self) -> str:
        numbers = ", ".join(f"{value:g}" for value in self.values)
        return f"{self.metric} {self.operator} " + (
            f"[{numbers}]" if self.operator == "IN" else numbers
        )


def parse_condition(text: str) -> Condition:
    """The condition that `text` says; raises ConditionError with what to write instead."""
    match = _SHAPE.fullmatch(text) if len(text) <= _LENGTH_LIMIT else None
    if match is None:
        raise ConditionError(f"is not of the form METRIC OP NUMBER, such as {_EXAMPLE}")
    metric = match["metric"]
    if metric not in METRICS:
        near = difflib.get_close_matches(metric.lower(), METRICS, n=1, cutoff=0.5)
        names = ", ".join(METRICS)
        raise ConditionError(
            f"knows no metric '{metric}'; metrics are {names}", nearest=near[0] if near else None
        )
    operator = _operator(metric, match)
    numbers = match["list"].split(",") if operator == "IN" else [match["number"]]
    return Condition(metric, operator, tuple(_number(metric, number) for number in numbers))


def _operator(metric: str, match: re.Match[str]) -> Operator:
    written = "IN" if match["in"] else match["op"]
    allowed = _OPERATORS[METRICS[metric]]
    for operator in allowed:
        if operator == written:
            return operator
    raise ConditionError(f"compares {metric} with '{written}'; use {' or '.join(allowed)}")


def _number(metric: str, text: str) -> float:
    if not _ONE_NUMBER.fullmatch(text):
        raise ConditionError(f"has '{text.strip()}' where a number should stand")
    value = float(text)
    if METRICS[metric] == "code":
        if not 100 <= value <= 599 or value != int(value):
            raise ConditionError(f"has {text.strip()}, which is no HTTP status (100 to 599)")
    elif not math.isfinite(value) or value < 0:
        raise ConditionError(f"has {text.strip()} as a limit; limits are 0 or more")
    elif metric.endswith("_rate") and value > 100:
        raise ConditionError(f"has {text.strip()} as a limit; {metric} is in percent, at most 100")
    return value
