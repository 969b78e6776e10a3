"""Plans: what a release is told to do."""

from grayscale.plan.conditions import Condition, ConditionError, parse_condition
from grayscale.plan.errors import PlanError, Problem
from grayscale.plan.lint import PlanWarning, warnings
from grayscale.plan.loading import load_plan, parse_plan, plan_from_mapping
from grayscale.plan.models import Plan

__all__ = [
    "Condition",
    "ConditionError",
    "Plan",
    "PlanError",
    "PlanWarning",
    "Problem",
    "load_plan",
    "parse_condition",
    "parse_plan",
    "plan_from_mapping",
    "warnings",
]
