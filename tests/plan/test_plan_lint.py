"""Rules of lint: what is allowed, but hardly meant, is said."""

from __future__ import annotations

from typing import Any

import pytest

from grayscale.plan import plan_from_mapping, warnings

SOUND: dict[str, Any] = {
    "version_name": "v1",
    "config_overrides": {"parameters": {"temperature": 0}},
}


def doubts(
    *, rps: float | None = None, stable_p95_ms: float | None = None, **fields: Any
) -> list[str]:
    plan = plan_from_mapping({**SOUND, **fields})
    return [str(doubt) for doubt in warnings(plan, rps=rps, stable_p95_ms=stable_p95_ms)]


def test_a_sound_plan_has_no_doubts() -> None:
    """The defaults are not warned about."""
    assert doubts(rps=10, stable_p95_ms=900) == []


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"auto_promote": {"promotion_steps": [0.5, 100]}}, "0.5 is below 1 %"),
        ({"auto_promote": {"promotion_steps": [10, 96, 100]}}, "96 and 100 both give 95"),
        ({"bake": {"hold_back_percent": 0}}, "bake.hold_back_percent: 0 leaves no control"),
        ({"bake": {"duration_minutes": 0}}, "bake.duration_minutes: 0 promotes right after"),
        ({"auto_promote": {"step_duration_seconds": 5}}, "5 s is shorter than one look"),
        ({"lease": {"seconds": 20}}, "lease.seconds: 20 s is less than three looks"),
        (
            {"rollback_rules": [{"name": "r", "condition": "error_rate > 5"}]},
            "rollback_rules[0].condition: 'error_rate > 5' repeats what health_check says",
        ),
        ({"health_check": {"enabled": False}}, "nothing but people will stop it"),
        ({"auto_promote": {"enabled": False}}, "approval.approvers: every step waits"),
        (
            {"approval": {"before_steps": [50]}, "notifications": {"channels": []}},
            "notifications.channels: people are asked, but nobody is told",
        ),
        ({"config_overrides": {}}, "config_overrides: changes nothing"),
    ],
)
def test_doubts_name_their_field(fields: dict[str, Any], expected: str) -> None:
    """Each doubt is the only one of its plan, and says what it is about."""
    (doubt,) = doubts(**fields)
    assert expected in doubt


def test_limits_below_what_stable_does_are_doubted() -> None:
    """A limit that stable breaks today would hold every release."""
    found = doubts(
        stable_p95_ms=2500,
        rollback_rules=[
            {"name": "a", "condition": "p95_latency_ms > 2400"},
            {"name": "b", "condition": "p95_latency_ms > 2600"},
            {"name": "c", "condition": "p99_latency_ms > 100"},
        ],
    )
    assert found == [
        "health_check.latency_threshold_ms: 2000 ms is below stable's present p95 of 2500 ms",
        "rollback_rules[0].condition: 2400 ms is below stable's present p95 of 2500 ms",
    ]


def test_steps_too_short_to_be_healthy_are_doubted_with_what_they_need() -> None:
    """A step that even a good candidate leaves late says how long it would take."""
    (doubt,) = [text for text in doubts(rps=0.75) if "the step of" in text]
    assert doubt == (
        "auto_promote.step_duration_minutes: at 0.75 requests per second the step of 10 % sees 68 "
        "of the about 130 requests that it needs to be healthy, at 1 % errors; that takes about "
        "28 min: the step will be extended"
    )


def test_steps_that_no_extension_saves_are_doubted_with_who_is_asked() -> None:
    """Where three extensions are too few, a person will have to decide."""
    (doubt,) = [text for text in doubts(rps=0.1) if "the step of 10 %" in text]
    assert doubt.endswith("that takes about 3.5 h: then a person is asked")


def test_a_first_step_too_short_to_see_the_plans_limit_is_doubted() -> None:
    """Errors at the limit should be found before the traffic grows."""
    (doubt,) = [text for text in doubts(rps=2) if "(the limit)" in text]
    assert "the first step sees 180 of the about 200 requests by which 5 % errors" in doubt
    assert [text for text in doubts(rps=3) if "(the limit)" in text] == []


def test_a_ramp_too_short_to_see_doubled_errors_is_doubted_with_the_time_it_takes() -> None:
    """Doubled errors below the limit are found by comparison alone, and that takes its time."""
    (doubt,) = [text for text in doubts(rps=2) if "doubling" in text]
    assert (
        "at 2 requests per second and 10 % a doubling of 1 % errors is seen after about 2.7 h"
        in (doubt)
    )
    assert "at 50 % after 65 min" in doubt
    longer = {"step_duration_minutes": 60}
    assert [text for text in doubts(rps=2, auto_promote=longer) if "doubling" in text] == []


def test_what_stable_does_decides_how_much_is_needed() -> None:
    """The nearer stable is to the limit, the longer a step needs."""
    plan = plan_from_mapping(SOUND)
    few, many = (warnings(plan, rps=1, stable_error_percent=percent) for percent in (0.1, 4.0))
    assert not any("the step of" in str(doubt) for doubt in few)
    assert sum("the step of" in str(doubt) for doubt in many) == 4


def test_nobody_looks_for_harm_where_nothing_is_judged() -> None:
    """Without health check only the missing requests are doubted."""
    found = doubts(rps=2, health_check={"enabled": False})
    assert not any("doubling" in text or "(the limit)" in text for text in found)


def test_without_traffic_no_step_is_long_enough() -> None:
    """No requests per second is no division by zero."""
    (doubt,) = doubts(rps=0)
    assert doubt.endswith("without requests no step ever becomes healthy: people will be asked")
