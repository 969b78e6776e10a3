"""What a plan says that is allowed, but hardly meant."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from grayscale.plan.models import Plan

_SMALLEST_USEFUL_PERCENT = 1.0
_BEATS_PER_LEASE = 3


@dataclass(frozen=True, slots=True)
class PlanWarning:
    """A doubt about one field of a plan, and what to do about it."""

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


def warnings(
    plan: Plan, *, stable_p95_ms: float | None = None, rps: float | None = None
) -> list[PlanWarning]:
    """Doubts about a plan; `stable_p95_ms` and `rps` (all requests per second) allow for more."""
    found = [
        *_about_steps(plan),
        *_about_time(plan),
        *_about_rules(plan),
        *_about_people(plan),
        *_about_changes(plan),
    ]
    if stable_p95_ms is not None:
        found += _about_latency(plan, stable_p95_ms)
    if rps is not None:
        found += _about_traffic(plan, rps)
    return found


def _about_steps(plan: Plan) -> Iterator[PlanWarning]:
    field = "auto_promote.promotion_steps"
    for step in plan.steps_percent:
        if step < _SMALLEST_USEFUL_PERCENT:
            yield PlanWarning(field, f"{step:g} is below 1 %: it will hardly see a request")
    weights = [plan.weight_percent(index) for index in range(len(plan.steps_percent))]
    for before, after in pairwise(range(len(weights))):
        if weights[before] == weights[after]:
            yield PlanWarning(
                field,
                f"{plan.steps_percent[before]:g} and {plan.steps_percent[after]:g} both give "
                f"{weights[after]:g}, because bake.hold_back_percent keeps the rest on stable",
            )
    if plan.bake.hold_back_percent == 0:
        yield PlanWarning(
            "bake.hold_back_percent",
            "0 leaves no control at full weight: a bad provider will be blamed on the candidate",
        )


def _about_time(plan: Plan) -> Iterator[PlanWarning]:
    interval = plan.judge.interval_seconds
    if plan.auto_promote.step_seconds < interval:
        yield PlanWarning(
            "auto_promote.step_duration_minutes",
            f"{plan.auto_promote.step_seconds:g} s is shorter than one look of the judge "
            f"({interval:g} s)",
        )
    if plan.bake.seconds == 0:
        yield PlanWarning("bake.duration_minutes", "0 promotes right after the last step")
    if plan.lease.seconds < _BEATS_PER_LEASE * interval:
        yield PlanWarning(
            "lease.seconds",
            f"{plan.lease.seconds:g} s is less than three looks of the judge: one slow conductor "
            "takes the candidate away",
        )


def _about_rules(plan: Plan) -> Iterator[PlanWarning]:
    health = plan.health_check
    checked = {
        "error_rate": health.error_threshold_percent,
        "p95_latency_ms": health.latency_threshold_ms,
    }
    for index, rule in enumerate(plan.rollback_rules):
        condition = rule.parsed
        if health.enabled and checked.get(condition.metric) == condition.limit:
            yield PlanWarning(
                f"rollback_rules[{index}].condition",
                f"'{rule.condition}' repeats what health_check says",
            )
    if not health.enabled and not plan.rollback_rules:
        yield PlanWarning(
            "health_check.enabled", "off and no rollback_rules: nothing but people will stop it"
        )


def _about_people(plan: Plan) -> Iterator[PlanWarning]:
    asks = not plan.auto_promote.enabled or bool(plan.approval.before_steps)
    if not plan.auto_promote.enabled and not plan.approval.approvers:
        yield PlanWarning(
            "approval.approvers",
            "every step waits for a person, but nobody is named: whoever may approve can",
        )
    if asks and not plan.notifications.channels:
        yield PlanWarning("notifications.channels", "people are asked, but nobody is told")


def _about_changes(plan: Plan) -> Iterator[PlanWarning]:
    if not plan.version_name:
        yield PlanWarning("version_name", "is empty: the present candidate (beta) is released")
    elif not plan.config_overrides:
        yield PlanWarning(
            "config_overrides",
            f"changes nothing: unless {plan.version_name} exists already, it will equal "
            f"{plan.base_version}",
        )


def _about_latency(plan: Plan, stable_p95_ms: float) -> Iterator[PlanWarning]:
    limits = {"health_check.latency_threshold_ms": plan.health_check.latency_threshold_ms}
    for index, rule in enumerate(plan.rollback_rules):
        if rule.parsed.metric == "p95_latency_ms":
            limits[f"rollback_rules[{index}].condition"] = rule.parsed.limit
    for field, limit in limits.items():
        if limit < stable_p95_ms:
            yield PlanWarning(
                field, f"{limit:g} ms is below stable's present p95 of {stable_p95_ms:g} ms"
            )


def _about_traffic(plan: Plan, rps: float) -> Iterator[PlanWarning]:
    wanted = plan.judge.min_requests
    for index, step in enumerate(plan.steps_percent):
        per_second = rps * plan.weight_percent(index) / 100
        seen = per_second * plan.auto_promote.step_seconds
        if seen < wanted:
            needed = f"{math.ceil(wanted / per_second)} s" if per_second else "for ever"
            yield PlanWarning(
                "auto_promote.step_duration_minutes",
                f"at {rps:g} requests per second the step of {step:g} % sees {seen:.0f} of the "
                f"{wanted} requests that it needs; that takes {needed}",
            )
