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


def test_steps_too_short_for_the_traffic_are_doubted_with_what_they_need() -> None:
    """The doubt tells how long the step would have to be."""
    (doubt,) = doubts(rps=0.5)
    assert "the step of 10 % sees 45 of the 60 requests" in doubt
    assert doubt.endswith("that takes 1200 s")


def test_without_traffic_no_step_is_long_enough() -> None:
    """No requests per second is no division by zero."""
    assert all(doubt.endswith("that takes for ever") for doubt in doubts(rps=0))
    assert len(doubts(rps=0)) == 4
