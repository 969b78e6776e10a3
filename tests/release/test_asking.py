"""What a person is told where the evidence did not suffice."""

from typing import Any

import pytest

from grayscale.plan import plan_from_mapping
from grayscale.release.asking import Question, at_most, question, roughly
from grayscale.release.record import StepView, VerdictView


def asked(
    *,
    ended: int,
    failed: int = 0,
    requests: int | None = None,
    next_percent: float | None = 25,
    hours: float = 1.0,
    **plan: Any,
) -> Question:
    """The question after so many hours, with so many candidate requests and failures."""
    gates = {"error_limit": {"step": {"candidate": {"bad": failed, "all": ended}}}}
    verdict = VerdictView(
        outcome="inconclusive",
        cause="not_enough_data",
        sentence="Not enough data.",
        evidence={"candidate_requests": ended, "gates": gates},
    )
    stage = StepView(
        index=0,
        step_percent=10,
        weight_percent=10,
        watched_seconds=hours * 3600,
        unwatched={"paused": 36_000.0},
        candidate_requests=ended if requests is None else requests,
        extensions=3,
        verdict=verdict,
    )
    the_plan = plan_from_mapping({"version_name": "v2", **plan})
    return question(the_plan, stage, next_percent=next_percent)


def test_the_numbers_and_three_ways_out() -> None:
    """9 clean requests an hour: what they exclude, how long the other 51 take, what to do."""
    said = asked(ended=9)
    assert said.wait_seconds == 51 / 9 * 3600
    assert said.why == (
        "Not enough data. Watched for 60 min, extended 3 times. "
        "The true failure rate could still be 28 % (the limit is 5 %). "
        "Wait about 6 h for 51 more candidate requests (9 an hour now; they count while you "
        "decide), raise the weight (approving goes on to 25 %), or reject."
    )
    assert said.why.endswith(said.suggestion)


def test_the_wait_is_what_the_formula_says() -> None:
    """It takes ln 20 / -ln(1 - limit) clean requests, and never fewer than min_requests."""
    strict = asked(ended=100, health_check={"error_threshold_percent": 1.0})
    assert "199 more candidate requests" in strict.suggestion  # 299 exclude 1 %
    assert asked(ended=1, judge={"min_requests": 500}).suggestion.startswith(
        "Waiting would take about 21 days for 499 more candidate requests"
    )


def test_a_failure_needs_more_requests() -> None:
    """With failures among them, requests tell less against the limit."""
    clean, failed = asked(ended=60), asked(ended=60, failed=1)
    assert clean.wait_seconds is None
    assert failed.wait_seconds is not None
    assert "more candidate requests" in failed.suggestion


def test_no_wait_is_promised_that_would_not_help() -> None:
    """At or above the limit, or with enough requests, people are told to look first."""
    for said in (asked(ended=60, failed=3), asked(ended=500)):
        assert said.suggestion.startswith("Look at what failed before you decide")
        assert said.wait_seconds is None


def test_a_wait_beyond_the_deadline_is_not_suggested() -> None:
    """Where the evidence would come too late, that is said."""
    said = asked(ended=1, hours=4)
    assert said.suggestion.startswith("Waiting would take about 10 days")
    assert "longer than there is time to decide" in said.suggestion
    assert "less than one an hour" in said.suggestion


def test_without_any_request_callers_are_the_question() -> None:
    """No traffic is no matter of waiting."""
    said = asked(ended=0)
    assert "No candidate request came in" in said.suggestion
    assert "true failure rate" not in said.why


def test_at_full_weight_nothing_can_be_raised() -> None:
    """Before bake and promotion the suggestion is to wait, to approve or to reject."""
    said = asked(ended=9, next_percent=None)
    assert "raise the weight" not in said.suggestion
    assert said.suggestion.endswith("approve, or reject.")


@pytest.mark.parametrize(
    ("failed", "requests", "highest"),
    [(0, 9, 0.2831), (0, 59, 0.0495), (1, 20, 0.2161), (5, 5, 1.0), (0, 0, 1.0)],
)
def test_the_highest_rate_that_cannot_be_excluded(
    failed: int, requests: int, highest: float
) -> None:
    """One-sided Clopper-Pearson bounds at 95 %, as in tables."""
    assert at_most(failed, requests) == pytest.approx(highest, abs=1e-4)


def test_durations_to_plan_with() -> None:
    """Nobody plans with seconds."""
    assert [roughly(s) for s in (20, 2400, 10_800, 200_000)] == ["20 s", "40 min", "3 h", "2 days"]
