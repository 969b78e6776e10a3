"""A plan's rollback rules as the judge reads them."""

from __future__ import annotations

from grayscale.judge import Rule
from grayscale.plan.models import Plan
from grayscale.plan.parts import RollbackRule

_ROLLS_BACK = frozenset({"rollback_to_version", "immediate_rollback"})


def judge_rules(plan: Plan) -> tuple[Rule, ...]:
    """The rules for the judge's settings; alerts and pauses are only reported when broken."""
    return tuple(_judge_rule(rule) for rule in plan.rollback_rules)


def _judge_rule(rule: RollbackRule) -> Rule:
    condition, rolls_back = rule.parsed, rule.action in _ROLLS_BACK
    if condition.metric == "error_code":
        codes = tuple(int(code) for code in condition.values)
        return Rule(rule.name, condition.metric, codes=codes, rolls_back=rolls_back)
    return Rule(rule.name, condition.metric, condition.limit, rolls_back=rolls_back)
