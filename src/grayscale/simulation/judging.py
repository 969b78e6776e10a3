"""Who judges a simulated release: the product's judge, or anything with the same face."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from grayscale.judge import Interval, Settings, Verdict, advance, start
from grayscale.plan.guard_rails import judge_rules
from grayscale.plan.models import Plan


class Judge(Protocol):
    """Looks at one interval after the other."""

    def look(self, interval: Interval) -> Verdict:
        """The verdict after this interval."""
        ...


NewJudge = Callable[[Plan], Judge]


class OwnJudge:
    """The judge of the product, with its state."""

    def __init__(self, plan: Plan) -> None:
        self._state = start(judge_settings(plan))

    def look(self, interval: Interval) -> Verdict:
        """The verdict after this interval."""
        self._state, verdict = advance(self._state, interval)
        return verdict


def judge_settings(plan: Plan) -> Settings:
    """The judge's settings that a plan asks for."""
    return Settings(
        error_threshold_percent=plan.health_check.error_threshold_percent,
        latency_threshold_ms=plan.health_check.latency_threshold_ms,
        alpha=plan.judge.alpha,
        min_requests=plan.judge.min_requests,
        rules=judge_rules(plan),
    )
