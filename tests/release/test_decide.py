"""What a conductor does next, decided from the record alone."""

from typing import Any

import pytest

from grayscale.release.decide import (
    AskHuman,
    Bake,
    CreateVersion,
    Extend,
    Finish,
    Promote,
    SetSplit,
    WaitForHuman,
    Watch,
    decide,
)
from grayscale.release.phases import State
from tests.release.records import ENOUGH, HEALTHY, TOO_FEW, record

LAST: dict[str, Any] = {"current_step": 3, "weight_percent": 95.0}
BAKE: dict[str, Any] = {"index": 4, "step_percent": 100, "weight_percent": 95, **ENOUGH}
APPROVED: dict[str, Any] = {"state": "approved", "decided_by": "ann"}


def verdict(cause: str, outcome: str = "inconclusive") -> dict[str, Any]:
    """A soak that is over, with this verdict."""
    return {**ENOUGH, "verdict": {"outcome": outcome, "cause": cause, "sentence": "so it is"}}


def test_before_the_first_step() -> None:
    """The version comes first, then the first split, or a person where the plan asks for one."""
    new: dict[str, Any] = {"state": "preparing", "current_step": None, "weight_percent": 0.0}
    assert isinstance(decide(record(**new, version_created=False)), CreateVersion)
    assert decide(record(**new)) == SetSplit(0, "the first step")
    asks = record(**new, plan={"auto_promote": {"enabled": False}})
    assert decide(asks) == AskHuman("the plan asks before 10 %")
    approved = record(**new, plan={"auto_promote": {"enabled": False}}, gate=APPROVED)
    assert decide(approved) == SetSplit(0, "approved by ann")


def test_a_soak_is_watched_to_its_end() -> None:
    """Until the watched time is over there is nothing to do but to watch."""
    assert decide(record(stage={"required_seconds": 90.0})) == Watch("soaking at 10 %")
    lagging = record(stage=ENOUGH, workers={"total": 2, "applied": 1})
    assert isinstance(decide(lagging), Watch)
    lowered = record(stage=ENOUGH, weight_percent=0.0)
    assert decide(lowered) == SetSplit(0, "give back the weight already judged")


def test_health_leads_on() -> None:
    """A healthy step is followed by the next one, the last by the bake, the bake by promotion."""
    healthy: dict[str, Any] = {**ENOUGH, "verdict": HEALTHY}
    assert decide(record(stage=healthy)) == SetSplit(1, "the gates are green")
    assert isinstance(decide(record(stage=healthy, **LAST)), Bake)
    assert isinstance(decide(record(state="baking", **LAST, bake=BAKE | healthy)), Promote)
    gated = record(stage=healthy, plan={"approval": {"before_steps": [25]}})
    assert decide(gated) == AskHuman("the plan asks before 25 %")


def test_without_evidence_the_soak_is_extended_three_times_then_people_are_asked() -> None:
    """Inconclusive is neither good nor bad: three extensions, and then a person."""
    said = [
        decide(record(stage={**ENOUGH, "verdict": TOO_FEW, "extensions": times}))
        for times in range(4)
    ]
    assert said == [*[Extend("9 of 60 requests")] * 3, AskHuman("9 of 60 requests")]
    never: dict[str, Any] = {"judge": {"max_extensions": 0}}
    assert isinstance(decide(record(stage={**ENOUGH, "verdict": TOO_FEW}, plan=never)), AskHuman)


@pytest.mark.parametrize("cause", ["upstream", "split_mismatch", "stale_metrics"])
def test_more_soak_does_not_help_where_the_clock_stands_still(cause: str) -> None:
    """What stops the clock uses up no extension and asks nobody: it ends, or it holds."""
    assert decide(record(stage=verdict(cause))) == Watch("so it is")


def test_harm_is_the_guards() -> None:
    """On a harmful verdict the conductor only watches."""
    assert decide(record(stage=verdict("candidate", "harmful"))) == Watch("so it is")
    assert decide(record(stage=ENOUGH)) == Watch("no verdict yet")


def test_promote_ends_the_soak_only_if_the_judge_permits() -> None:
    """Moved on by hand, a healthy step ends early; an inconclusive one is neither left nor used up."""
    early: dict[str, Any] = {"watched_seconds": 60.0, "required_seconds": 900.0}
    healthy = record(stage={**early, "verdict": HEALTHY}, promote_now=True)
    unsure = record(stage={**early, "verdict": TOO_FEW}, promote_now=True)
    assert decide(healthy) == SetSplit(1, "the gates are green")
    assert isinstance(decide(unsure), Watch)


def test_promoted_in_full() -> None:
    """A person's word skips the soaks, the gates and the bake that are left."""
    said: dict[str, Any] = {"promote_full": True, "plan": {"approval": {"before_steps": [25]}}}
    assert decide(record(**said)) == SetSplit(1, "the gates are green")
    assert isinstance(decide(record(**LAST, **said)), Bake)
    assert isinstance(decide(record(state="baking", **LAST, bake=BAKE, **said)), Promote)


def test_without_health_check_time_alone_leads_on() -> None:
    """Where the plan judges nothing, a soak that is over is followed by the next step."""
    unjudged = record(stage=verdict("upstream"), plan={"health_check": {"enabled": False}})
    assert decide(unjudged) == SetSplit(1, "the gates are green")


def test_a_plan_without_a_bake_promotes_after_the_last_step() -> None:
    """`bake.duration_minutes: 0` waits for no verdict of a bake that does not take place."""
    none: dict[str, Any] = {"index": 4, "step_percent": 100, "weight_percent": 95}
    plan: dict[str, Any] = {"bake": {"duration_minutes": 0}}
    assert isinstance(decide(record(state="baking", **LAST, bake=none, plan=plan)), Promote)


def test_waiting_for_people() -> None:
    """A gate that is open, and a pause, suspend the run; a decision leads on."""
    waiting: dict[str, Any] = {"state": "awaiting_approval", "gate": {"state": "waiting"}}
    assert decide(record(**waiting)) == WaitForHuman("approval", "a person is asked")
    assert decide(record(state="paused", reason="hm")) == WaitForHuman("pause", "hm")
    approved: dict[str, Any] = {"state": "awaiting_approval", "gate": APPROVED}
    assert decide(record(**approved)) == SetSplit(1, "approved by ann")
    assert isinstance(decide(record(**approved, **LAST)), Bake)
    assert isinstance(decide(record(**approved, **LAST, bake=BAKE)), Promote)


def test_held() -> None:
    """Only a lost lease is ended by the conductor, who gives back the weight."""
    lease = record(state="held", cause="lease_expired", weight_percent=0.0)
    assert isinstance(decide(lease), SetSplit)
    assert decide(record(state="held", cause="split", reason="lagging")) == Watch("lagging")


@pytest.mark.parametrize("state", sorted(state for state in State if state.final))
def test_an_end_is_reported(state: State) -> None:
    """In a final state there is nothing left to do."""
    assert decide(record(state=state.value, reason="so it ended")) == Finish(state, "so it ended")


def test_nothing_to_do_yet() -> None:
    """Queued behind another release, and while the relay rolls back, the conductor watches."""
    assert isinstance(decide(record(state="queued", current_step=None)), Watch)
    assert isinstance(decide(record(state="rolling_back")), Watch)


def test_a_state_without_a_step_is_an_error() -> None:
    """A release cannot soak before its first split: such a record is not guessed about."""
    with pytest.raises(ValueError, match="no step was ever set"):
        decide(record(current_step=None))
