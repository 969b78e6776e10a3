"""The witness sees what it is there for: each rule, broken in the tables."""

import json
from typing import Any

import pytest

from tests.survival.invariants import Witness


class Tables:
    """A config and a release, as two queries show them."""

    def __init__(self, weights: dict[str, float], **release: Any) -> None:
        self.weights = weights
        self.aliases = {"stable": "v1"}
        self.releases = [{**RELEASE, **release}]

    def sql(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Whatever is asked for."""
        if "configs" in statement:
            return [(json.dumps(self.weights), json.dumps(self.aliases))]
        return [(json.dumps(release),) for release in self.releases]


STEP = {
    "step_percent": 10.0,
    "weight_percent": 10.0,
    "watched_seconds": 0.0,
    "required_seconds": 5.0,
    "verdict": None,
}
RELEASE: dict[str, Any] = {
    "id": "rel_1",
    "version": "v2",
    "state": "soaking",
    "revision": 3,
    "current_step": 0,
    "steps": [STEP, {**STEP, "weight_percent": 95.0}],
    "bake": None,
    "gate": None,
    "promote_full": False,
    "promote_now": False,
    "plan": {"approval": {"before_steps": []}},
}
HEALTHY = {**STEP, "watched_seconds": 5.0, "verdict": {"outcome": "healthy"}}


def after(before: Tables, now: Tables) -> list[str]:
    """What the witness says of a change."""
    witness = Witness(before)
    witness.look()
    witness.tables = now
    witness.look()
    return witness.broken


@pytest.mark.parametrize(
    ("tables", "rule"),
    [
        (Tables({"v1": 90.0, "v2": 5.0}), "split adds up to 100"),
        (Tables({"v1": 90.0, "v2": 10.0}, state="rolled_back"), "the candidate is at 0"),
        (Tables({"v1": 90.0, "v2": 10.0}, state="rolling_back"), "the candidate is at 0"),
    ],
)
def test_a_wrong_scene_is_seen(tables: Tables, rule: str) -> None:
    """A split that does not add up, or traffic after a rollback, is written down."""
    witness = Witness(tables)
    witness.look()
    assert rule in witness.broken[0]


def test_two_active_releases_are_seen() -> None:
    """At most one release is under way."""
    tables = Tables({"v1": 90.0, "v2": 10.0})
    tables.releases.append({**RELEASE, "id": "rel_2", "version": "v3", "state": "preparing"})
    witness = Witness(tables)
    witness.look()
    assert "at most one release is active" in witness.broken[0]


@pytest.mark.parametrize(
    ("changes", "may_rise"),
    [
        ({}, False),
        ({"steps": [{**STEP, "watched_seconds": 9.0}, STEP]}, False),
        ({"gate": {"state": "waiting"}}, False),
        ({"gate": {"state": "approved"}}, True),
        ({"promote_full": True}, True),
        ({"steps": [HEALTHY]}, True),
        ({"steps": [HEALTHY, STEP], "plan": {"approval": {"before_steps": [10.0]}}}, False),
        ({"state": "paused", "gate": {"state": "approved"}}, False),
    ],
)
def test_a_raise_needs_a_verdict_or_a_person(changes: dict[str, Any], may_rise: bool) -> None:  # noqa: FBT001 - a case
    """From 10 to 95 % only after a healthy soak, an approval, or a person's override."""
    low = Tables({"v1": 90.0, "v2": 10.0}, **changes)
    high = Tables({"v1": 5.0, "v2": 95.0}, current_step=1)
    assert (not after(low, high)) is may_rise


def test_giving_back_the_weight_already_judged_is_no_raise() -> None:
    """From 0 back to the step's own weight needs nobody."""
    assert not after(Tables({"v1": 100.0}), Tables({"v1": 90.0, "v2": 10.0}))


def test_a_final_state_stays() -> None:
    """Nothing leads out of an end."""
    ended = Tables({"v1": 100.0}, state="rolled_back")
    assert "a final state stays" in after(ended, Tables({"v1": 100.0}))[0]
