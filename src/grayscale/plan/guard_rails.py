"""What a plan asks of the judge: its settings, and the rollback rules as it reads them."""

from __future__ import annotations

from grayscale.judge import Rule, Settings
from grayscale.plan.models import Plan
from grayscale.plan.parts import RollbackRule

_ROLLS_BACK = frozenset({"rollback_to_version", "immediate_rollback"})


def settings_of(plan: Plan) -> Settings:
    """The judge's settings that a plan asks for."""
    return Settings(
        error_threshold_percent=plan.health_check.error_threshold_percent,
        latency_threshold_ms=plan.health_check.latency_threshold_ms,
        alpha=plan.judge.alpha,
        min_requests=plan.judge.min_requests,
        rules=judge_rules(plan),
        switched_off=plan.judge.gates.switched_off,
    )


def judge_rules(plan: Plan) -> tuple[Rule, ...]:
    """The rules for the judge's settings; alerts and pauses are only reported when broken."""
    return tuple(_judge_rule(rule) for rule in plan.rollback_rules)


def _judge_rule(rule: RollbackRule) -> Rule:
    condition, rolls_back = rule.parsed, rule.action in _ROLLS_BACK
    if condition.metric == "error_code":
        codes = tuple(int(code) for code in condition.values)
        return Rule(rule.name, condition.metric, codes=codes, rolls_back=rolls_back)
    return Rule(rule.name, condition.metric, condition.limit, rolls_back=rolls_back)
