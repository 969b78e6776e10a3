"""What a person is told where the evidence did not suffice: the numbers, and what to do.

A failure rate above the limit is excluded at 1 in 20 once ln 20 / KL(rate, limit) candidate
requests have ended; without a failure that is ln 20 / -ln(1 - limit): 59 for a limit of 5 %.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from grayscale.plan.models import Plan
from grayscale.release.record import StepView
from grayscale.release.soak_clock import LEASE, PAUSED

_NEEDED_E_VALUE = 20.0
_SURE = 0.95
_HALVINGS = 40
_SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Question:
    """`why` a person is asked, with what could be done; how long a wait would have to be."""

    why: str
    suggestion: str
    wait_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class _Seen:
    """The candidate's requests in this step whose end is known, and how many came per hour."""

    requests: int
    failed: int
    per_hour: float


def question(plan: Plan, stage: StepView, *, next_percent: float | None) -> Question:
    """What to ask at the end of a soak that stayed inconclusive; `next_percent` of the ramp."""
    seen = _seen(stage)
    missing = _still_needed(plan, seen)
    suggestion, wait_seconds = _suggestion(plan, seen, missing, _going_on(stage, next_percent))
    sentence = stage.verdict.sentence if stage.verdict else "There is no verdict."
    why = " ".join([sentence, _watched(stage), *_bound(plan, seen), suggestion])
    return Question(why, suggestion, wait_seconds)


def at_most(failed: int, requests: int) -> float:
    """The rate that can be excluded at 1 in 20 (Clopper-Pearson, one-sided); 1 without requests."""
    if requests <= failed:
        return 1.0
    low, high = failed / requests, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _as_few_as(failed, requests, middle) > 1 - _SURE:
            low = middle
        else:
            high = middle
    return high


def roughly(seconds: float) -> str:
    """A duration to plan with: `12 s`, `40 min`, `3 h`, `2 days`."""
    if seconds < 60:
        return f"{max(round(seconds), 1)} s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min"
    hours = seconds / _SECONDS_PER_HOUR
    return f"{round(hours)} h" if hours < 48 else f"{round(hours / 24)} days"


def _seen(stage: StepView) -> _Seen:
    evidence: Mapping[str, Any] = stage.verdict.evidence if stage.verdict else {}
    step = evidence.get("gates", {}).get("error_limit", {}).get("step", {})
    stood = sum(s for name, s in stage.unwatched.items() if name not in {LEASE, PAUSED})
    hours = (stage.watched_seconds + stood) / _SECONDS_PER_HOUR
    return _Seen(
        requests=int(evidence.get("candidate_requests", stage.candidate_requests)),
        failed=int(step.get("candidate", {}).get("bad", 0)),
        per_hour=stage.candidate_requests / hours if hours else 0.0,
    )


def _still_needed(plan: Plan, seen: _Seen) -> int | None:
    """How many more requests will probably do; None if they are no matter of number."""
    limit = plan.health_check.error_threshold_percent / 100
    rate = seen.failed / seen.requests if seen.requests else 0.0
    if rate >= limit:
        return None
    needed = math.ceil(math.log(_NEEDED_E_VALUE) / _distance(rate, limit))
    missing = max(needed, plan.judge.min_requests) - seen.requests
    return missing if missing > 0 else None


def _distance(rate: float, limit: float) -> float:
    """Kullback-Leibler divergence: what one request tells, on average, against the limit."""
    good = (1 - rate) * math.log((1 - rate) / (1 - limit)) if limit < 1 else math.inf
    return good + (rate * math.log(rate / limit) if rate else 0.0)


def _suggestion(
    plan: Plan, seen: _Seen, missing: int | None, going_on: str
) -> tuple[str, float | None]:
    """What can be done, and how long the missing requests will take to come."""
    if not seen.per_hour:
        callers = "see that callers use the models that changed"
        return f"No candidate request came in: {callers}, {going_on}, or reject.", None
    if missing is None:
        look = "Look at what failed before you decide; then wait for more requests"
        return f"{look}, {going_on}, or reject.", None
    wait_seconds = round(missing / seen.per_hour * _SECONDS_PER_HOUR)
    amount = f"{roughly(wait_seconds)} for {missing:,} more candidate requests"
    came = f"{seen.per_hour:,.0f} an hour" if seen.per_hour >= 1 else "less than one an hour"
    if wait_seconds > plan.approval.timeout_minutes * 60:
        late = f"Waiting would take about {amount} ({came}), longer than there is time to decide"
        return f"{late}: {going_on}, or reject.", wait_seconds
    wait = f"Wait about {amount} ({came} now; they count while you decide)"
    return f"{wait}, {going_on}, or reject.", wait_seconds


def _going_on(stage: StepView, next_percent: float | None) -> str:
    if next_percent is None or next_percent <= stage.step_percent:
        return "approve"
    return f"raise the weight (approving goes on to {next_percent:g} %)"


def _watched(stage: StepView) -> str:
    times = {0: "never extended", 1: "extended once"}
    extended = times.get(stage.extensions, f"extended {stage.extensions} times")
    return f"Watched for {roughly(stage.watched_seconds)}, {extended}."


def _bound(plan: Plan, seen: _Seen) -> list[str]:
    if not seen.requests:
        return []
    rate = at_most(seen.failed, seen.requests) * 100
    limit = plan.health_check.error_threshold_percent
    if rate <= limit:
        return []
    return [f"The true failure rate could still be {rate:.2g} % (the limit is {limit:g} %)."]


def _as_few_as(failed: int, requests: int, rate: float) -> float:
    """The chance of at most that many failures at this rate (binomial)."""
    log_rate, log_good = math.log(rate), math.log1p(-rate)
    return math.fsum(
        math.exp(
            math.lgamma(requests + 1)
            - math.lgamma(count + 1)
            - math.lgamma(requests - count + 1)
            + count * log_rate
            + (requests - count) * log_good
        )
        for count in range(failed + 1)
    )
