"""A release that soaks for long, against a relay on loopback and a real Prefect server."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.objects import State as RunState
from prefect.states import Completed

from flows.release import release
from grayscale.prefect_api import PrefectApi
from grayscale.release.phases import State
from tests.flows.conftest import Run
from tests.flows.fake_relay import FakeRelay, Refusal

PLAN: dict[str, Any] = {
    "version_name": "v2",
    "auto_promote": {"promotion_steps": [10, 100], "step_duration_seconds": 1},
    "judge": {"interval_seconds": 1},
    "lease": {"sleep_above_seconds": 0},
}


async def read(run: FlowRun) -> FlowRun:
    """The run as it is now."""
    async with get_client() as prefect:
        return await prefect.read_flow_run(run.id)


async def answer(run: FlowRun, **form: str) -> None:
    """A person fills the form in that a sleeping run shows."""
    async with get_client() as prefect:
        url = str(prefect.api_url)
    async with PrefectApi(url) as api:
        await api.resume(str(run.id), form)


def effects(relay: FakeRelay) -> list[str]:
    """What was done, without the looking."""
    looking = {"read", "renew", "events", "claim", "open"}
    return [call for call in relay.calls if call not in looking]


async def test_a_long_soak_holds_no_process(relay: FakeRelay, run: Run) -> None:
    """After the verified split the run is suspended; each next run goes on where the soak ended."""
    first = await run(release, plan=PLAN)
    assert first.state_name == "Suspended"
    assert first.name == "v2 · 10 %, goes on at 14:05 UTC"
    assert effects(relay) == ["create_version", "set_split", "sleep"]
    assert relay.there.waiting_run_id == str(first.id)
    for _ in range(2):
        relay.soak_ends()
        assert (await run(release, release_id=relay.release_id)).state_name == "Suspended"
    relay.soak_ends()
    last = await run(release, release_id=relay.release_id)
    assert last.state_name == "Completed"
    assert effects(relay)[3:] == ["set_split", "sleep", "bake", "sleep", "promote"]
    assert (await read(first)).state_name == "Superseded"


async def test_a_release_that_moved_on_is_not_left_alone(relay: FakeRelay, run: Run) -> None:
    """What happens just before the conductor sleeps makes the relay refuse, and it acts on it."""
    relay.before["sleep"] = relay.pause
    asleep = await run(release, plan=PLAN)
    assert (asleep.state_name, asleep.name) == ("Suspended", "v2 · paused at 10 %")
    assert effects(relay)[-2:] == ["sleep", "wait"]


async def test_a_decision_before_the_form_is_there_is_carried_out(
    relay: FakeRelay, run: Run
) -> None:
    """What is decided between the relay's yes and the form finds a conductor: the next one."""

    async def decide() -> None:
        relay.pause()

    relay.after["sleep"] = decide
    asleep = await run(release, plan=PLAN)
    assert (asleep.state_name, relay.there.state) == ("Suspended", State.PAUSED)
    following = await run(release, release_id=relay.release_id)
    assert (following.state_name, following.name) == ("Suspended", "v2 · paused at 10 %")
    assert (await read(asleep)).state_name == "Superseded"


@pytest.mark.parametrize(("verb", "approval"), [("sleep", {}), ("wait", {"before_steps": [10]})])
async def test_who_shows_a_form_too_late_stays_superseded(
    relay: FakeRelay, run: Run, verb: str, approval: dict[str, Any]
) -> None:
    """The next run may be there before the form is: no form is shown whose answer says nothing."""

    async def the_next_run_goes_on() -> None:
        relay.fence += 1
        superseded: RunState[Any] = Completed(name="Superseded")
        async with get_client() as prefect:
            run_id = UUID(relay.there.waiting_run_id or "")
            await prefect.set_flow_run_state(run_id, superseded, force=True)

    relay.after[verb] = the_next_run_goes_on
    late = await run(release, plan={**PLAN, "approval": approval})
    assert (late.state_name, late.state_type) == ("Superseded", "COMPLETED")
    assert relay.calls[-1] == verb  # the second one: it is refused
    assert relay.calls.count(verb) == 2


async def test_a_relay_that_is_away_is_told_again(relay: FakeRelay, run: Run) -> None:
    """Nobody sleeps before the relay has said yes."""
    relay.refuse["sleep"] = Refusal(503, "store_unavailable")
    assert (await run(release, plan=PLAN)).state_name == "Suspended"
    assert relay.calls.count("sleep") == 2


@pytest.mark.parametrize(("action", "state"), [("abort", "rolled_back"), ("pause", "paused")])
async def test_a_sleeping_run_stops_its_release(
    relay: FakeRelay, run: Run, action: str, state: str
) -> None:
    """The form of a sleeping run aborts or pauses, by the name that was given."""
    asleep = await run(release, plan=PLAN)
    await answer(asleep, action=action, by="Kim", note="enough")
    await run(release, asleep.id)
    assert relay.there.state == state
    body = relay.bodies[relay.calls.index(action)]
    assert {"note": "enough", "approved_by": "Kim", "via": "prefect-form"}.items() <= body.items()


async def test_an_answer_is_handed_in_once(relay: FakeRelay, run: Run) -> None:
    """A pause that was resumed does not come back with the next run."""
    asleep = await run(release, plan=PLAN)
    await answer(asleep, action="pause", by="Kim")
    await run(release, asleep.id)
    relay.change(state=State.SOAKING, reason="resumed", waiting_run_id=None)
    relay.conductor = None
    again = await run(release, release_id=relay.release_id)
    assert again.name == "v2 · 10 %, goes on at 14:05 UTC"
    assert relay.calls.count("pause") == 1


async def test_an_answer_counts_though_another_run_conducts(relay: FakeRelay, run: Run) -> None:
    """A form that is answered while the next run claims the release is heard all the same."""
    asleep = await run(release, plan=PLAN)
    await answer(asleep, action="abort", by="Kim")
    relay.refuse["claim"] = Refusal(409, "conductor_alive")
    assert (await run(release, asleep.id)).state_name == "Superseded"
    assert relay.there.state is State.ROLLED_BACK


async def test_an_answer_that_is_refused_fails_no_run(relay: FakeRelay, run: Run) -> None:
    """Who wants to pause what cannot be paused any more is told so; the release goes on."""
    asleep = await run(release, plan=PLAN)
    await answer(asleep, action="pause", by="Kim")
    relay.refuse["pause"] = Refusal(409, "release_changed")
    again = await run(release, asleep.id)
    assert (again.state_name, relay.calls.count("pause")) == ("Suspended", 1)
    assert relay.there.state is State.SOAKING
