"""Cancelling a release's run in Prefect's UI."""

from __future__ import annotations

from uuid import uuid4

from prefect.client.schemas.objects import FlowRun
from prefect.states import Cancelled

from flows.hooks import take_candidate_away
from flows.release import release
from grayscale.release.phases import State
from tests.flows.fake_relay import FakeRelay

PLAN = {"version_name": "v2"}


async def test_cancelling_the_conductor_takes_the_candidate_away(relay: FakeRelay) -> None:
    """Who cancels the run that conducts wants the release to end: at stable."""
    run = FlowRun(
        id=uuid4(), flow_id=uuid4(), tags=[f"release:{relay.release_id}"], name="v2 · 10 %"
    )
    relay.begin(PLAN, state=State.SOAKING, current_step=0, weight_percent=10.0)
    relay.conductor = str(run.id)
    await take_candidate_away(release, run, Cancelled())
    assert relay.there.state is State.ROLLED_BACK
    assert relay.bodies[-1] == {
        "note": "its run 'v2 · 10 %' was cancelled in Prefect",
        "approved_by": "somebody",
        "via": "prefect",
    }


async def test_cancelling_an_outdated_run_changes_nothing(relay: FakeRelay) -> None:
    """Tidying up old runs does not end a release that another run conducts."""
    run = FlowRun(id=uuid4(), flow_id=uuid4(), tags=[f"release:{relay.release_id}"])
    relay.begin(PLAN, state=State.SOAKING, current_step=0, weight_percent=10.0)
    relay.conductor = str(uuid4())
    await take_candidate_away(release, run, Cancelled())
    await take_candidate_away(release, FlowRun(id=uuid4(), flow_id=uuid4()), Cancelled())
    assert relay.there.state is State.SOAKING
