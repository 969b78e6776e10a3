"""Rules of the small grammar of conditions."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grayscale.plan import ConditionError, parse_condition
from grayscale.plan.conditions import METRICS, Condition


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("error_rate > 5", Condition("error_rate", ">", (5.0,))),
        ("  p95_latency_ms>=3e3 ", Condition("p95_latency_ms", ">=", (3000.0,))),
        ("error_code IN [500, 502,503]", Condition("error_code", "IN", (500, 502, 503))),
        ("error_code in [500]", Condition("error_code", "IN", (500,))),
        ("error_code == 429", Condition("error_code", "==", (429,))),
        ("tokens_per_second < 20", Condition("tokens_per_second", "<", (20.0,))),
    ],
)
def test_conditions_are_read(text: str, condition: Condition) -> None:
    """Spaces do not matter, and every form of the grammar is read."""
    assert parse_condition(text) == condition


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "is not of the form"),
        ("error_rate", "is not of the form"),
        ("error_rate > 5 or 1", "is not of the form"),
        ("__import__('os')", "is not of the form"),
        ("error_rate > " + "1" * 2000, "is not of the form"),
        ("error_rate > \u0665", "is not of the form"),
        ("error_rate > 5; p95_latency_ms > 1", "is not of the form"),
        ("speed > 5", "knows no metric 'speed'"),
        ("error_rate < 5", "compares error_rate with '<'; use > or >="),
        ("error_rate == 5", "use > or >="),
        ("error_rate IN [5]", "compares error_rate with 'IN'"),
        ("tokens_per_second > 5", "use < or <="),
        ("error_code > 500", "use IN or =="),
        ("error_code IN []", "has '' where a number should stand"),
        ("error_code IN [500, x]", "has 'x' where a number should stand"),
        ("error_code IN [42]", "has 42, which is no HTTP status"),
        ("error_code IN [500.5]", "has 500.5, which is no HTTP status"),
        ("error_rate > 101", "is in percent, at most 100"),
        ("error_rate > -1", "limits are 0 or more"),
        ("p95_latency_ms > 1e999", "limits are 0 or more"),
    ],
)
def test_what_is_no_condition_is_refused(text: str, expected: str) -> None:
    """The message says what to write instead; nothing is evaluated."""
    with pytest.raises(ConditionError) as caught:
        parse_condition(text)
    assert expected in str(caught.value)


def test_a_misspelt_metric_gets_the_nearest_name() -> None:
    """A slip of the pen is answered with the name that was meant."""
    with pytest.raises(ConditionError) as caught:
        parse_condition("p95_latency > 5")
    assert caught.value.nearest == "p95_latency_ms"


@pytest.mark.parametrize(
    ("text", "value", "holds"),
    [
        ("error_rate > 5", 5, False),
        ("error_rate > 5", 5.1, True),
        ("error_rate >= 5", 5, True),
        ("tokens_per_second < 5", 5, False),
        ("tokens_per_second <= 5", 5, True),
        ("error_code == 500", 500, True),
        ("error_code IN [500, 502]", 501, False),
        ("error_rate > 5", math.nan, False),
    ],
)
def test_a_condition_holds_by_its_operator(text: str, value: float, *, holds: bool) -> None:
    """Limits belong to the side that the operator says; NaN meets nothing."""
    assert parse_condition(text).holds(value) is holds


_PIECES = st.sampled_from([*METRICS, *"<>=!,[] ", "IN", ">=", "5", "500", "1e3", "-", "x", "()"])


@given(st.text(max_size=60) | st.lists(_PIECES, max_size=9).map("".join))
def test_no_text_breaks_the_reader(text: str) -> None:
    """Whatever is written is read or refused, never a crash."""
    try:
        outcome: object = parse_condition(text)
    except ConditionError as error:
        outcome = error
    assert isinstance(outcome, Condition | ConditionError)


@given(
    st.sampled_from([metric for metric, kind in METRICS.items() if kind == "high_is_bad"]),
    st.sampled_from([">", ">="]),
    st.integers(min_value=0, max_value=100),
)
def test_a_condition_written_out_is_read_back(metric: str, operator: str, limit: int) -> None:
    """str() of a condition is a condition with the same meaning."""
    condition = parse_condition(f"{metric} {operator} {limit}")
    assert parse_condition(str(condition)) == condition


def test_codes_written_out_are_read_back() -> None:
    """str() of a list of codes is the list."""
    condition = parse_condition("error_code IN [500, 502]")
    assert str(condition) == "error_code IN [500, 502]"
