"""Who sleeps, until when, and what wakes them: asked of the record alone."""

from datetime import UTC, datetime
from typing import Any

import pytest

from grayscale.release.decide import Sleep, Watch, decide
from grayscale.release.sleeping import asleep_until, is_asleep, is_due
from tests.release.records import ENOUGH, HEALTHY, record

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LONG: dict[str, Any] = {"required_seconds": 900.0, "watched_seconds": 100.0}


def asleep(lease: float = 1700.0, **changes: Any) -> Any:
    """A release whose conductor has left its run behind."""
    conductor = {"flow_run_id": None, "fence": 2, "lease_left_seconds": lease}
    stage = changes.pop("stage", LONG)
    return record(stage=stage, conductor=conductor, waiting_run_id="run-1", **changes)


def test_only_a_long_wait_is_slept_through() -> None:
    """Two minutes are watched awake, unless the plan says otherwise."""
    long = record(stage=LONG)
    assert decide(long) == Sleep("soaking at 10 %", 800.0)
    nearly = {"required_seconds": 900.0, "watched_seconds": 780.0}
    assert decide(record(stage=nearly)) == Watch("soaking at 10 %")
    eager = record(stage=nearly, plan={"lease": {"sleep_above_seconds": 60}})
    assert decide(eager) == Sleep("soaking at 10 %", 120.0)


def test_a_hold_is_slept_through_where_soaks_are() -> None:
    """Nobody knows how long a hold takes: the soak's own length decides."""
    held: dict[str, Any] = {"state": "held", "cause": "upstream", "reason": "sick"}
    nearly = {"required_seconds": 900.0, "watched_seconds": 890.0}
    assert decide(record(**held, stage=nearly)) == Sleep("sick", 900.0)
    assert decide(record(**held, stage={"required_seconds": 60.0})) == Watch("sick")
    assert decide(record(**held, current_step=None)) == Watch("sick")


@pytest.mark.parametrize("state", ["soaking", "baking", "held"])
def test_who_left_a_run_behind_sleeps(state: str) -> None:
    """Nobody drives, and a run is there that people can stop."""
    assert is_asleep(asleep(state=state))
    assert not is_asleep(record(state=state))
    assert not is_asleep(asleep(state="awaiting_approval"))
    assert asleep_until(record(state=state), NOW) is None


def test_the_deadline_is_where_the_grace_begins() -> None:
    """The lease is the rest of the soak and the grace; time that is past is now."""
    assert asleep_until(asleep(lease=960.0), NOW) == "2026-01-02T03:05:05.000Z"
    assert asleep_until(asleep(lease=10.0), NOW) == "2026-01-02T03:04:05.000Z"


def test_what_wakes() -> None:
    """The deadline, held or not, a verdict at the soak's end, a person; nothing undecided does."""
    assert not is_due(asleep())
    assert is_due(asleep(lease=900.0))
    assert is_due(asleep(stage={**ENOUGH, "verdict": HEALTHY}))
    assert not is_due(asleep(stage={**ENOUGH, "verdict": None}))
    assert is_due(asleep(promote_full=True))
    assert is_due(asleep(weight_percent=0.0))
    assert not is_due(asleep(state="held", cause="upstream"))
    assert is_due(asleep(lease=900.0, state="held", cause="upstream"))
    assert is_due(asleep(lease=0.0, state="held", cause="lease_expired"))
