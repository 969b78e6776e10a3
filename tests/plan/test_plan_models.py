"""Rules of the plan's models: what is accepted, what is refused, and what is derived."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from grayscale.plan import Plan, PlanError, plan_from_mapping


def a_plan(**fields: Any) -> Plan:
    return plan_from_mapping({"version_name": "v1", **fields})


def message_of(**fields: Any) -> str:
    with pytest.raises(PlanError) as caught:
        a_plan(**fields)
    return str(caught.value)


def test_version_name_is_all_a_plan_needs() -> None:
    """Every other field has the default of the design."""
    plan = a_plan()
    assert plan.base_version == "stable"
    assert list(plan.steps_percent) == [10, 25, 50, 100]
    assert plan.auto_promote.step_seconds == 900
    assert plan.bake.seconds == 900
    assert plan.health_check.error_threshold_percent == 5
    assert plan.health_check.latency_threshold_ms == 2000
    assert plan.approval.before_steps == ()
    assert plan.judge.min_requests == 60
    assert plan.lease.on_expiry == "hold_at_stable"
    assert plan.on_conflict == "queue"
    assert plan.traffic_split is None


def test_a_plan_survives_json() -> None:
    """A plan stored as JSON is the same plan when it is read again."""
    plan = a_plan(
        auto_promote={"step_duration_seconds": 10, "promotion_steps": [5, 100]},
        rollback_rules=[{"name": "r", "condition": "error_rate > 5"}],
        traffic_split={"stable": 95, "beta": 5},
    )
    assert Plan.model_validate_json(plan.model_dump_json()) == plan
    assert plan_from_mapping(plan.model_dump(mode="json")) == plan


def test_a_share_stays_on_stable_until_the_bake_is_over() -> None:
    """The weight of a step is the plan's, less what the bake holds back."""
    plan = a_plan(bake={"hold_back_percent": 20})
    assert [plan.weight_percent(index) for index in range(4)] == [10, 25, 50, 80]


def test_seconds_are_used_instead_of_the_default_minutes() -> None:
    """A form fills in the default minutes; given seconds win over them."""
    plan = a_plan(
        auto_promote={"step_duration_minutes": 15, "step_duration_seconds": 10},
        bake={"duration_seconds": 0},
    )
    assert plan.auto_promote.step_seconds == 10
    assert plan.bake.seconds == 0


def test_minutes_and_seconds_that_say_the_same_agree() -> None:
    """Both fields may be given as long as they mean one duration."""
    plan = a_plan(bake={"duration_minutes": 2, "duration_seconds": 120})
    assert plan.bake.seconds == 120


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"bake": {"duration_minutes": 3, "duration_seconds": 10}}, "bake: duration_minutes (3)"),
        ({"auto_promote": {"step_duration_minutes": 0}}, "step_duration_minutes: must be longer"),
        ({"auto_promote": {"promotion_steps": []}}, "promotion_steps: "),
        ({"auto_promote": {"promotion_steps": [10, 10, 100]}}, "has 10 after 10"),
        ({"auto_promote": {"promotion_steps": [0, 100]}}, "has 0 as the first step"),
        ({"auto_promote": {"promotion_steps": [50, 101]}}, "has 101 after 50"),
        ({"auto_promote": {"promotion_steps": [10, 50]}}, "must end at 100, not at 50"),
        ({"auto_promote": {"promotion_steps": [*range(1, 21), 100]}}, "promotion_steps: "),
        ({"auto_promote": {"promotion_steps": [10, True]}}, "promotion_steps[1]: must be a valid"),
        ({"traffic_split": {"stable": 90, "beta": 11}}, "must add up to 100, not 101"),
        ({"traffic_split": {"stable": 80, "beta": 20}}, "promotion_steps begins with 10"),
        ({"traffic_split": {"stable": 110, "beta": -10}}, "110 is no percentage"),
        ({"traffic_split": {"stable": float("nan")}}, "must be a finite number"),
        ({"traffic_split": {"stable": 90, "gamma": 10}}, "'gamma' is neither stable nor beta"),
        ({"approval": {"before_steps": [30]}}, "approval.before_steps: 30 is none of the steps"),
        ({"base_version": "v1"}, "base_version: is the version to release itself"),
        ({"base_version": "no good"}, "base_version: is no name"),
        ({"health_check": {"error_threshold_percent": "5"}}, "must be a valid number"),
        ({"judge": {"interval_seconds": 0.5}}, "judge.interval_seconds"),
        ({"labels": {"sha": 7}}, "labels.sha: must be text, not 7; put it in quotes"),
        ({"schema_version": 2}, "schema_version: must be 1"),
    ],
)
def test_what_makes_no_sense_is_refused_by_field(fields: dict[str, Any], expected: str) -> None:
    """The message names the field at fault and what is wrong with it."""
    assert expected in message_of(**fields)


def test_a_split_may_name_the_versions_themselves() -> None:
    """The first split may say v1 instead of beta."""
    plan = a_plan(traffic_split={"stable": 90, "v1": 10})
    assert plan.traffic_split == {"stable": 90, "v1": 10}


@pytest.mark.parametrize("name", ["stable", "beta", "previous", "list", "Beta"])
def test_the_names_of_aliases_are_reserved(name: str) -> None:
    """A version cannot be called like an alias."""
    assert "is reserved for an alias" in message_of(version_name=name)


@pytest.mark.parametrize("name", ["-v", "a b", "ü", "x" * 65, "{day}"])
def test_what_is_no_name_is_refused(name: str) -> None:
    """Names have 1 to 64 plain characters."""
    assert "version_name: is no name" in message_of(version_name=name)


def test_the_date_is_part_of_the_name_when_the_plan_is_carried_out() -> None:
    """{date} stands for the day of the release."""
    plan = a_plan(version_name="nightly-{date}")
    assert plan.resolve_version_name(date(2026, 11, 22)) == "nightly-2026-11-22"


def test_a_person_is_asked_before_the_named_steps() -> None:
    """approval.before_steps names steps by their percentage."""
    plan = a_plan(approval={"before_steps": [50, 100]})
    assert [plan.asks_before(index) for index in range(4)] == [False, False, True, True]


def test_without_auto_promote_a_person_is_asked_before_every_step() -> None:
    """auto_promote.enabled: false leaves every step to people, the first included."""
    plan = a_plan(auto_promote={"enabled": False})
    assert all(plan.asks_before(index) for index in range(4))


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([{"name": "r", "condition": "error_rate"}], "rollback_rules[0].condition: is not of the"),
        ([{"name": "r r", "condition": "error_rate > 5"}], "rollback_rules[0].name: is no name"),
        (
            [{"name": "r", "condition": "error_rate > 5", "target_version": "beta"}],
            "rollback_rules[0].target_version: 'beta' is the version to leave",
        ),
        (
            [{"name": "r", "condition": "error_rate > 5"}] * 2,
            "rollback_rules[1].name: 'r' is taken",
        ),
        ([{"name": "r", "condition": "error_rate > 5", "action": "alart"}], "mean 'alert'?"),
        ([{"condition": "error_rate > 5"}], "rollback_rules[0].name: is missing"),
    ],
)
def test_rules_are_checked_one_by_one(rules: list[dict[str, Any]], expected: str) -> None:
    """A rule's mistake is found in the plan, not during the release."""
    assert expected in message_of(rollback_rules=rules)


def test_extensions_are_ignored() -> None:
    """Fields that begin with x- are for the plan's readers."""
    assert a_plan(**{"x-owner": {"team": 1}}) == a_plan()


def test_something_else_than_a_mapping_is_refused() -> None:
    """The model refuses what is no mapping at all."""
    with pytest.raises(ValueError, match="valid dictionary"):
        Plan.model_validate(["v1"])


def test_plans_are_frozen() -> None:
    """A plan cannot change while it is carried out."""
    with pytest.raises(ValueError, match="frozen"):
        a_plan().base_version = "v0"  # type: ignore[misc]
