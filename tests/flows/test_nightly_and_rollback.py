"""The nightly canary and the rollback, against a relay on loopback and a real Prefect server."""

from __future__ import annotations

from pathlib import Path

from flows.nightly import nightly_canary
from flows.rollback import rollback
from grayscale.plan import plan_from_mapping
from tasks.nightly import nightly_plan
from tests.flows.conftest import Run
from tests.flows.fake_relay import FakeRelay

PLAN = """\
version_name: nightly-{date}
auto_promote: {promotion_steps: [50, 100], step_duration_seconds: 1}
judge: {interval_seconds: 1}
"""


async def test_the_newest_new_version_is_released(
    relay: FakeRelay, run: Run, tmp_path: Path
) -> None:
    """The nightly run takes the version from the relay and the ramp from the file."""
    (tmp_path / "plan.yaml").write_text(PLAN)
    relay.versions = [{"name": "v9", "status": "candidate", "created_at": "2026-01-01T00:00:00Z"}]
    done = await run(nightly_canary, plan_file=str(tmp_path / "plan.yaml"))
    assert done.state is not None
    assert done.state.name == "Completed"
    assert relay.there.version == "v9"
    assert relay.bodies[0]["trigger"] == "schedule"
    assert relay.there.plan.config_overrides == {}


async def test_nothing_new_is_nothing_to_release(relay: FakeRelay, run: Run) -> None:
    """Without a new version, the nightly run completes and opens no release."""
    relay.versions = [{"name": "v1", "status": "active", "created_at": "2026-01-01T00:00:00Z"}]
    done = await run(nightly_canary)
    assert done.state is not None
    assert (done.state.name, done.state.message) == ("Completed", "nothing to release")
    assert relay.record is None


async def test_a_nightly_run_goes_on_with_its_own_release(
    relay: FakeRelay, run: Run, tmp_path: Path
) -> None:
    """Begun again after a form, the run looks for no other version."""
    (tmp_path / "plan.yaml").write_text(PLAN + "approval: {before_steps: [100]}\n")
    relay.versions = [{"name": "v9", "status": "candidate", "created_at": "2026-01-01T00:00:00Z"}]
    asleep = await run(nightly_canary, plan_file=str(tmp_path / "plan.yaml"))
    assert asleep.state is not None
    assert asleep.state.name == "Suspended"
    relay.versions = [{"name": "v10", "status": "candidate", "created_at": "2026-01-02T00:00:00Z"}]
    relay.take_away()
    done = await run(nightly_canary, asleep.id)
    assert relay.calls.count("open") == 1
    assert done.tags == [f"release:{relay.release_id}"]


async def test_a_rollback_is_seen_through(relay: FakeRelay, run: Run) -> None:
    """The run hands in who asked, and ends when the relay has carried the rollback out."""
    gradual = {"step_size": 10, "step_delay_seconds": 1}
    asked = {"to": "previous", "reason": "too slow", "requested_by": "Kim"}
    done = await run(rollback, **asked, gradual=gradual)
    assert done.state is not None
    assert done.state.message == "Traffic is on previous (completed): too slow"
    assert done.name == "roll back to previous"
    assert relay.bodies == [{"via": "prefect-form", "by": "Kim", "gradual": gradual}]


def test_a_plan_file_is_the_ramp_of_any_version(tmp_path: Path) -> None:
    """A split that names the file's own version does not bind tonight's version."""
    (tmp_path / "plan.yaml").write_text(PLAN + "traffic_split: {stable: 50, beta: 50}\n")
    plan = nightly_plan(str(tmp_path / "plan.yaml"), "v9")
    sent = plan.model_dump(mode="json", exclude_unset=True)
    assert plan_from_mapping(sent).version_name == "v9"
