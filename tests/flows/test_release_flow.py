"""The release flow against a relay on loopback and a real Prefect server."""

from __future__ import annotations

import re
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, FlowRunFilter
from prefect.client.schemas.objects import FlowRun, StateType

from flows.release import release
from grayscale.prefect_api import PrefectApi
from grayscale.release.phases import State
from grayscale.release.record import VerdictView
from tests.flows.conftest import Run
from tests.flows.fake_relay import HARMFUL, HEALTHY, FakeRelay, Refusal

PLAN: dict[str, Any] = {
    "version_name": "v2",
    "auto_promote": {"promotion_steps": [10, 100], "step_duration_seconds": 1},
    "judge": {"interval_seconds": 1},
}
ASKING = {**PLAN, "approval": {"before_steps": [100]}}
UNSURE = VerdictView(outcome="inconclusive", sentence="too few requests")


def state_of(run: FlowRun) -> tuple[str, str]:
    """Name and message of a run's state."""
    assert run.state is not None
    return str(run.state.name), str(run.state.message)


def effects(relay: FakeRelay) -> list[str]:
    """What was done, without the looking."""
    looking = {"read", "renew", "events", "claim", "open"}
    return [call for call in relay.calls if call not in looking]


async def task_names(run: FlowRun) -> list[str]:
    """The tasks of a run as the list in the UI shows them."""
    async with get_client() as prefect:
        wanted = FlowRunFilter.model_validate({"id": {"any_": [run.id]}})
        return [task.name for task in await prefect.read_task_runs(flow_run_filter=wanted)]


async def api_url() -> str:
    """Where the test server is."""
    async with get_client() as prefect:
        return str(prefect.api_url)


async def test_a_healthy_release_is_promoted(relay: FakeRelay, run: Run) -> None:
    """A good version goes up the ramp, is baked and becomes stable; the run says so."""
    done = await run(release, plan=PLAN)
    assert state_of(done)[0] == "Completed"
    assert "v2" in state_of(done)[1]
    assert effects(relay) == ["create_version", "set_split", "set_split", "bake", "promote"]
    assert done.name == "v2 · promoted"
    assert done.tags == [f"release:{relay.release_id}"]


async def test_the_tasks_read_like_a_runbook(relay: FakeRelay, run: Run) -> None:
    """Each step has its own line in Prefect's list, in the user's words."""
    done = await run(release, plan=PLAN)
    names = set(await task_names(done))
    assert {
        "open release", "claim release", "create version", "set split 10 %", "verify split 10 %",
        "soak at 10 %", "evaluate gates", "set split 95 %", "soak at 95 %", "begin bake",
        "bake at 95 %", "promote",
    } <= names  # fmt: skip


async def test_split_and_verdict_become_artifacts(relay: FakeRelay, run: Run) -> None:
    """The split is a table and each verdict is Markdown with the judge's sentence."""
    done = await run(release, plan=PLAN)
    async with get_client() as prefect:
        wanted = ArtifactFilter.model_validate({"flow_run_id": {"any_": [done.id]}})
        artifacts = await prefect.read_artifacts(artifact_filter=wanted)
    slug = re.sub(r"[^a-z0-9]+", "-", f"v2-{relay.release_id[-6:]}".lower())
    kinds = {(artifact.key, artifact.type) for artifact in artifacts}
    assert kinds == {(f"split-{slug}", "table"), (f"verdict-{slug}", "markdown")}
    pages = [str(artifact.data) for artifact in artifacts if artifact.type == "markdown"]
    assert any(HEALTHY.sentence in page for page in pages)


async def test_a_harmful_version_ends_rolled_back(relay: FakeRelay, run: Run) -> None:
    """A rollback is a completed run with that name, and its message has the verdict's sentence."""
    relay.verdicts = [HARMFUL]
    done = await run(release, plan=PLAN)
    name, message = state_of(done)
    assert (name, done.state_type) == ("RolledBack", StateType.COMPLETED)
    assert HARMFUL.sentence in message
    assert effects(relay) == ["create_version", "set_split"]


async def test_thin_evidence_extends_the_soak(relay: FakeRelay, run: Run) -> None:
    """An inconclusive verdict means a longer soak, not a decision."""
    relay.verdicts = [UNSURE, HEALTHY]
    assert state_of(await run(release, plan=PLAN))[0] == "Completed"
    assert effects(relay)[:4] == ["create_version", "set_split", "extend", "set_split"]


async def test_a_relay_that_is_away_fails_nothing(relay: FakeRelay, run: Run) -> None:
    """Answers of 503 and refused connections are waited for."""
    relay.away_for = 3
    assert state_of(await run(release, plan=PLAN))[0] == "Completed"


async def test_a_changed_release_is_decided_anew(relay: FakeRelay, run: Run) -> None:
    """When the guard acts between look and act, the raise is refused and the end reported."""
    relay.before["bake"] = relay.take_away
    assert state_of(await run(release, plan=PLAN))[0] == "RolledBack"
    assert "promote" not in relay.calls


@pytest.mark.parametrize(
    ("verb", "code", "ending"),
    [
        ("claim", "conductor_alive", "Superseded"),
        ("claim", "release_in_progress", "Queued"),
        ("renew", "stale_fence", "Superseded"),
        ("set_split", "stale_fence", "Superseded"),
    ],
)
async def test_an_outdated_conductor_leaves(
    relay: FakeRelay, run: Run, verb: str, code: str, ending: str
) -> None:
    """A run that may not conduct ends completed, with a name that says why, and does nothing."""
    relay.refuse[verb] = Refusal(409, code)
    done = await run(release, plan=PLAN)
    assert state_of(done) == (ending, f"no: {code}")
    assert "fail" not in relay.calls


async def test_a_plan_that_cannot_be_carried_out_fails(relay: FakeRelay, run: Run) -> None:
    """When the relay refuses a step for good, the release ends failed, with the reason."""
    relay.refuse["create_version"] = Refusal(404, "version_not_found")
    name, message = state_of(await run(release, plan=PLAN))
    assert name == "Failed"
    assert "no: version_not_found" in message
    assert effects(relay) == ["create_version", "fail"]


async def test_a_release_that_is_over_is_only_reported(relay: FakeRelay, run: Run) -> None:
    """A conductor that comes too late reports the end that the relay brought about."""
    relay.begin(PLAN)
    relay.take_away()
    done = await run(release, release_id=relay.release_id)
    assert state_of(done)[0] == "RolledBack"
    assert done.name == "v2 · rolled back"
    assert effects(relay) == []


async def test_a_new_conductor_goes_on_where_the_record_stands(relay: FakeRelay, run: Run) -> None:
    """A run that is given a release on record repeats nothing."""
    relay.begin(PLAN)
    relay.change(state=State.PREPARING, version_created=True)
    assert state_of(await run(release, release_id=relay.release_id))[0] == "Completed"
    assert effects(relay) == ["set_split", "set_split", "bake", "promote"]


@pytest.mark.parametrize("parameters", [{}, {"plan": PLAN, "release_id": "rel_1"}])
async def test_a_run_needs_a_plan_or_a_release(
    relay: FakeRelay, run: Run, parameters: dict[str, Any]
) -> None:
    """Exactly one of the two parameters is given."""
    name, message = state_of(await run(release, **parameters))
    assert name == "Failed"
    assert "give either a plan" in message
    assert relay.calls == []


async def test_an_approval_given_in_the_form_is_handed_in(relay: FakeRelay, run: Run) -> None:
    """The run sleeps behind a form; its answer starts the flow again, which goes on."""
    asleep = await run(release, plan=ASKING)
    assert state_of(asleep)[0] == "Suspended"
    assert asleep.name == "v2 · 10 %, waiting for approval"
    assert relay.there.waiting_run_id == str(asleep.id)
    async with PrefectApi(await api_url()) as prefect:
        await prefect.resume(
            str(asleep.id), {"approve": True, "approved_by": "Kim", "note": "looks good"}
        )
    done = await run(release, asleep.id)
    assert state_of(done)[0] == "Completed"
    assert relay.bodies[relay.calls.index("approve")] == {
        "step": 0, "note": "looks good", "approved_by": "Kim", "via": "prefect-form",
    }  # fmt: skip


async def test_a_rejection_given_in_the_form_ends_the_release(relay: FakeRelay, run: Run) -> None:
    """`approve` off rolls the release back, and the run ends with that name."""
    asleep = await run(release, plan=ASKING)
    async with PrefectApi(await api_url()) as prefect:
        await prefect.resume(str(asleep.id), {"approve": False, "approved_by": "Kim"})
    assert state_of(await run(release, asleep.id))[0] == "Rejected"


async def test_a_crash_after_the_answer_does_not_ask_again(relay: FakeRelay, run: Run) -> None:
    """Another run finds the answer that the crashed one was given."""
    asleep = await run(release, plan=ASKING)
    async with PrefectApi(await api_url()) as prefect:
        await prefect.resume(str(asleep.id), {"approve": True, "approved_by": "Kim"})
        await prefect.force_state(str(asleep.id), "CRASHED", name="Crashed", message="killed")
    assert state_of(await run(release, release_id=relay.release_id))[0] == "Completed"
    assert relay.calls.count("ask") == 1
    assert relay.calls.count("wait") == 1


async def test_a_decision_made_elsewhere_closes_the_form(relay: FakeRelay, run: Run) -> None:
    """After `grayscale approve`, the next conductor ends the run that shows the form."""
    asleep = await run(release, plan=ASKING)
    relay.change(
        gate=relay.there.gate and relay.there.gate.model_copy(update={"state": "approved"})
    )
    assert state_of(await run(release, release_id=relay.release_id))[0] == "Completed"
    async with get_client() as prefect:
        closed = await prefect.read_flow_run(asleep.id)
    assert state_of(closed)[0] == "Superseded"
    assert closed.name.endswith(" · went on in another run")


async def test_an_answer_that_is_not_accepted_is_asked_for_again(
    relay: FakeRelay, run: Run
) -> None:
    """When somebody answers who may not, the form comes again; the release goes on waiting."""
    asleep = await run(release, plan=ASKING)
    relay.refuse["approve"] = Refusal(403, "insufficient_scope")
    async with PrefectApi(await api_url()) as prefect:
        await prefect.resume(str(asleep.id), {"approve": True, "approved_by": "Mallory"})
    again = await run(release, asleep.id)
    assert state_of(again)[0] == "Suspended"
    async with PrefectApi(await api_url()) as prefect:
        await prefect.resume(str(asleep.id), {"approve": True, "approved_by": "Kim"})
    assert state_of(await run(release, asleep.id))[0] == "Completed"
    assert relay.there.state == "promoted"


async def test_a_pause_waits_behind_a_form(relay: FakeRelay, run: Run) -> None:
    """A paused release is resumed by the form; a later pause asks again, with its own answer."""
    relay.before["bake"] = relay.pause
    asleep = await run(release, plan=PLAN)
    assert state_of(asleep)[0] == "Suspended"
    relay.before["bake"] = relay.pause
    async with PrefectApi(await api_url()) as prefect:
        await prefect.resume(str(asleep.id), {"action": "resume", "by": "Kim"})
    again = await run(release, asleep.id)
    assert state_of(again)[0] == "Suspended"
    assert relay.calls.count("resume") == 1
    async with PrefectApi(await api_url()) as prefect:
        await prefect.resume(str(asleep.id), {"action": "abort", "by": "Kim", "note": "enough"})
    name, message = state_of(await run(release, asleep.id))
    assert (name, "enough" in message) == ("RolledBack", True)
