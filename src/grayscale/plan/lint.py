"""What a plan says that is allowed, but hardly meant."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from grayscale.plan.models import Plan
from grayscale.plan.sight import requests_to_see, requests_to_trust

_SMALLEST_USEFUL_PERCENT = 1.0
_BEATS_PER_LEASE = 3
_SOAK = "auto_promote.step_duration_minutes"


@dataclass(frozen=True, slots=True)
class PlanWarning:
    """A doubt about one field of a plan, and what to do about it."""

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


def warnings(
    plan: Plan,
    *,
    stable_p95_ms: float | None = None,
    rps: float | None = None,
    stable_error_percent: float = 1.0,
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
        found += _about_traffic(plan, rps, stable_error_percent / 100)
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


def _about_traffic(plan: Plan, rps: float, stable_rate: float) -> Iterator[PlanWarning]:
    if rps <= 0:
        yield PlanWarning(
            _SOAK, "without requests no step ever becomes healthy: people will be asked"
        )
        return
    yield from _steps_without_evidence(plan, rps, stable_rate)
    if plan.health_check.enabled:
        yield from _unseen_in_first_step(plan, rps, stable_rate)
        yield from _unseen_doubling(plan, rps, stable_rate)


def _steps_without_evidence(plan: Plan, rps: float, stable_rate: float) -> Iterator[PlanWarning]:
    """Steps that will be extended even if the candidate is as good as stable."""
    soak, most = plan.auto_promote.step_seconds, 1 + plan.judge.max_extensions
    for index, step in enumerate(plan.steps_percent):
        weight = plan.weight_percent(index) / 100
        needed = requests_to_trust(
            stable_rate,
            plan.health_check.error_threshold_percent / 100,
            weight=weight,
            at_least=plan.judge.min_requests,
        )
        seen, seconds = rps * weight * soak, needed / (rps * weight)
        if seen >= needed:
            continue
        end = "then a person is asked" if seconds > most * soak else "the step will be extended"
        takes = "for ever" if seconds == math.inf else f"about {_duration(seconds)}"
        yield PlanWarning(
            _SOAK,
            f"at {rps:g} requests per second the step of {step:g} % sees {seen:.0f} of the "
            f"{_about(needed)} requests that it needs to be healthy, at {100 * stable_rate:g} % errors; "
            f"that takes {takes}: {end}",
        )


def _unseen_in_first_step(plan: Plan, rps: float, stable_rate: float) -> Iterator[PlanWarning]:
    """A failure rate at the plan's own limit should be found before the traffic grows."""
    limit, weight = plan.health_check.error_threshold_percent / 100, plan.weight_percent(0) / 100
    needed = requests_to_see(stable_rate, limit, weight=weight, alpha=plan.judge.alpha)
    seen = rps * weight * plan.auto_promote.step_seconds
    if limit < 2 * stable_rate or seen >= needed or needed == math.inf:
        return
    yield PlanWarning(
        _SOAK,
        f"at {rps:g} requests per second the first step sees {seen:.0f} of the {_about(needed)} "
        f"requests by which {100 * limit:g} % errors (the limit) are told from "
        f"{100 * stable_rate:g} %; a longer soak or a bigger first step shows them in time",
    )


def _unseen_doubling(plan: Plan, rps: float, stable_rate: float) -> Iterator[PlanWarning]:
    """Doubled errors may be below the limit: only the comparison finds them, over the whole ramp."""
    first = plan.weight_percent(0) / 100
    needed = requests_to_see(stable_rate, 2 * stable_rate, weight=first, alpha=plan.judge.alpha)
    if needed == math.inf or _evidence_of_doubling(plan, rps, stable_rate) >= 1:
        return
    half = requests_to_see(stable_rate, 2 * stable_rate, weight=0.5, alpha=plan.judge.alpha)
    yield PlanWarning(
        _SOAK,
        f"at {rps:g} requests per second and {plan.steps_percent[0]:g} % a doubling of "
        f"{100 * stable_rate:g} % errors is seen after about {_duration(needed / (rps * first))}, at 50 % "
        f"after {_duration(half / (rps * 0.5))}; the whole ramp is too short for it",
    )


def _evidence_of_doubling(plan: Plan, rps: float, stable_rate: float) -> float:
    """What the whole ramp shows of a doubling, as a share of what is needed."""
    soaks = [
        (plan.weight_percent(i) / 100, plan.auto_promote.step_seconds)
        for i in range(len(plan.steps_percent))
    ]
    soaks.append((soaks[-1][0], plan.bake.seconds))
    return sum(
        rps
        * weight
        * seconds
        / requests_to_see(stable_rate, 2 * stable_rate, weight=weight, alpha=plan.judge.alpha)
        for weight, seconds in soaks
    )


def _about(requests: float) -> str:
    """Two digits are as much as a forecast knows."""
    if requests == math.inf:
        return "endlessly many"
    digits = max(0, math.floor(math.log10(requests)) - 1)
    return f"about {round(requests, -digits):,.0f}"


def _duration(seconds: float) -> str:
    for unit, name in ((86_400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.2g} {name}"
    return f"{seconds:.0f} s"
