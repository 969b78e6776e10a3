"""Only watched time is soak, and what lasts for too long holds the release until it is over."""

from typing import Any

import pytest

from grayscale.plane import document, events, people
from grayscale.plane.actor import Actor
from grayscale.plane.plane import Plane
from grayscale.release.phases import State
from grayscale.release.record import ReleaseRecord, StepView
from tests.plane.watching import Watch, start

DAY_SECONDS = 86_400


async def step_of(story: Any) -> StepView:
    """The step that soaks."""
    record: ReleaseRecord = await story.record()
    assert record.stage is not None
    return record.stage


async def kinds(plane: Plane, release_id: str) -> list[str]:
    """The types of a release's events, in order."""
    async with plane.read() as tx:
        return [event["type"] for _, event in await events.listed(tx, release_id=release_id)]


async def test_the_record_says_what_stopped_the_clock(
    story: Any, watch: Watch, plane: Plane
) -> None:
    """Each look is watched time or time that something stopped; nothing is lost in between."""
    config_id = await start(story, auto_promote={"step_duration_seconds": 60.0})
    await watch.second(config_id)
    for _ in range(3):
        await watch.second(config_id)
    for _ in range(4):
        await watch.second(config_id, lagging=True)
    await watch.second(config_id)
    async with plane.write() as tx:
        release = await document.load(tx, story.release_id)
        await people.pause(plane, tx, release, actor=Actor("ann"), at_stable=False, note="")
    for _ in range(2):
        await watch.second(config_id)
    step = await step_of(story)
    assert step.watched_seconds == pytest.approx(4)
    assert step.unwatched == pytest.approx({"split": 4, "paused": 2})


async def test_the_observed_share_is_that_of_the_whole_step(story: Any, watch: Watch) -> None:
    """Every request of the step counts, not the last interval's alone."""
    config_id = await start(story, auto_promote={"step_duration_seconds": 60.0})
    for requests in (20, 20, 20, 0):
        await watch.second(config_id, requests=requests)
    step = await step_of(story)
    assert (step.stable_requests, step.candidate_requests) == (540, 60)
    assert step.observed_percent == 10


async def test_a_split_that_stays_unverified_holds_and_goes_on(
    story: Any, watch: Watch, plane: Plane
) -> None:
    """A few seconds only stop the clock; more hold the release, which goes on by itself."""
    config_id = await start(story, auto_promote={"step_duration_seconds": 60.0})
    for _ in range(8):
        await watch.second(config_id, lagging=True)
    early = await story.record()
    for _ in range(5):
        await watch.second(config_id, lagging=True)
    held = await story.record()
    await watch.second(config_id)
    after = await story.record()
    assert early.state is State.SOAKING
    assert (held.state, held.cause, held.weight_percent) == (State.HELD, "split", 10)
    assert held.reason is not None
    assert "not every worker" in held.reason
    assert (after.state, after.cause) == (State.SOAKING, None)
    assert (await kinds(plane, after.id))[-2:] == ["release.held", "release.resumed"]


async def test_missing_counters_hold(story: Any, watch: Watch) -> None:
    """When no worker reports any more the release is held, and nothing counts as watched."""
    config_id = await start(story, auto_promote={"step_duration_seconds": 60.0})
    await watch.second(config_id)
    for _ in range(16):
        await watch.silent_second()
    held = await story.record()
    step = await step_of(story)
    await watch.second(config_id)
    assert (held.state, held.cause) == (State.HELD, "metrics")
    assert step.watched_seconds < 5
    assert step.unwatched["stale_metrics"] > 10
    assert (await story.record()).state is State.SOAKING


async def test_a_sick_upstream_adds_nothing(story: Any, watch: Watch) -> None:
    """The seconds in which both versions fail are no soak."""
    config_id = await start(story, auto_promote={"step_duration_seconds": 60.0})
    for _ in range(6):
        await watch.second(config_id, errors=0.5, stable=0.5)
    step = await step_of(story)
    assert step.unwatched["upstream"] >= 4
    assert step.watched_seconds + step.unwatched["upstream"] == pytest.approx(5)


async def test_after_a_day_a_person_is_asked_and_it_may_still_end(
    story: Any, watch: Watch, plane: Plane
) -> None:
    """A hold of 24 h opens a gate; when the cause is over first, the gate closes unanswered."""
    config_id = await start(story)
    for _ in range(13):
        await watch.second(config_id, lagging=True)
    watch.clock.advance(DAY_SECONDS)
    await watch.second(config_id, lagging=True)
    asked = await story.record()
    await watch.second(config_id)
    after = await story.record()
    assert (asked.state, asked.cause) == (State.AWAITING_APPROVAL, "split")
    assert asked.gate is not None
    assert asked.gate.why is not None
    assert asked.gate.why.startswith("Held for 24 h: ")
    assert asked.steps[1].approval is not None
    assert (after.state, after.gate, after.steps[1].approval) == (State.SOAKING, None, None)
    assert "release.approval_requested" in await kinds(plane, after.id)


async def test_a_hold_that_a_person_overrules_goes_on(
    story: Any, watch: Watch, plane: Plane
) -> None:
    """Whoever approves after a day's hold lets the release go to its next step."""
    config_id = await start(story)
    for _ in range(13):
        await watch.second(config_id, lagging=True)
    watch.clock.advance(DAY_SECONDS)
    await watch.second(config_id, lagging=True)
    async with plane.write() as tx:
        release = await document.load(tx, story.release_id)
        await people.approve(plane, tx, release, actor=Actor("ann"), step=0, note="go")
    await watch.second(config_id)
    await story.act("set_split", 1)
    record = await story.record()
    assert (record.state, record.weight_percent) == (State.SOAKING, 25)


async def test_a_pause_ends_at_stable_after_its_time(
    story: Any, watch: Watch, plane: Plane
) -> None:
    """`pause.timeout_minutes` after the pause, and not before, the candidate's weight goes to 0."""
    config_id = await start(story, pause={"timeout_minutes": 2.0})
    async with plane.write() as tx:
        release = await document.load(tx, story.release_id)
        await people.pause(plane, tx, release, actor=Actor("ann"), at_stable=False, note="")
    await watch.second(config_id)
    early = await story.record()
    watch.clock.advance(120)
    await watch.second(config_id)
    late = await story.record()
    assert (early.state, early.weight_percent) == (State.PAUSED, 10)
    assert (late.state, late.weight_percent) == (State.PAUSED, 0)


async def test_the_gates_time_begins_anew_after_a_pause(story: Any, plane: Plane) -> None:
    """A pause does not use up the time in which a person may decide."""
    await story.create(story.plan(approval={"before_steps": [10], "timeout_minutes": 60.0}))
    await story.claim()
    await story.act("create_version")
    await story.act("ask")
    before = await story.record()
    async with plane.write() as tx:
        release = await document.load(tx, story.release_id)
        await people.pause(plane, tx, release, actor=Actor("ann"), at_stable=False, note="")
    plane.clock.advance(7200)  # type: ignore[attr-defined]
    async with plane.write() as tx:
        release = await document.load(tx, story.release_id)
        await people.resume(plane, tx, release, actor=Actor("ann"), note="")
        assert release.deadline_at is not None
        assert release.gate is not None
        assert release.gate.deadline == release.deadline_at
    assert before.gate.deadline < release.deadline_at


async def test_a_hold_whose_cause_changes_stays_a_hold(
    story: Any, watch: Watch, plane: Plane
) -> None:
    """When counters go missing while the split is unverified, the record says so, and tells nobody twice."""
    config_id = await start(story, auto_promote={"step_duration_seconds": 60.0})
    for _ in range(13):
        await watch.second(config_id, lagging=True)
    for _ in range(6):
        await watch.silent_second()
    held = await story.record()
    assert (held.state, held.cause) == (State.HELD, "metrics")
    assert (await kinds(plane, held.id)).count("release.held") == 1


@pytest.mark.parametrize("on_expiry", ["hold_at_stable", "roll_back"])
async def test_a_dead_conductor_loses_a_held_release_too(
    story: Any, watch: Watch, on_expiry: str
) -> None:
    """Held with its weight kept, and nobody there to go on: the lease runs out as in a soak."""
    lease = {"seconds": 30, "on_expiry": on_expiry}
    config_id = await start(story, auto_promote={"step_duration_seconds": 60.0}, lease=lease)
    await watch.second(config_id)
    for _ in range(20):
        await watch.silent_second()
    held = await story.record()
    for _ in range(12):
        await watch.silent_second()
    out = await story.record()
    assert (held.state, held.cause, held.weight_percent) == (State.HELD, "metrics", 10)
    ends = State.HELD if on_expiry == "hold_at_stable" else State.ROLLING_BACK
    assert (out.state, out.cause, out.weight_percent) == (ends, "lease_expired", 0)


async def test_a_held_release_that_lost_its_lease_goes_on(story: Any, watch: Watch) -> None:
    """The next conductor restores the weight; nobody is asked for a hold that is long over."""
    lease = {"seconds": 30}
    config_id = await start(story, auto_promote={"step_duration_seconds": 60.0}, lease=lease)
    for _ in range(32):
        await watch.second(config_id, lagging=True)
    watch.clock.advance(DAY_SECONDS)
    await watch.second(config_id)
    assert (await story.record()).state is State.HELD
    await story.claim("run-2")
    await story.act("set_split", 0)
    record = await story.record()
    assert (record.state, record.weight_percent) == (State.SOAKING, 10)


async def test_a_renewed_lease_keeps_a_held_release(story: Any, watch: Watch) -> None:
    """While its conductor lives, a hold takes as long as it takes."""
    lease = {"seconds": 30}
    config_id = await start(story, auto_promote={"step_duration_seconds": 60.0}, lease=lease)
    for _ in range(60):
        await watch.second(config_id, lagging=True)
        await story.renew()
    record = await story.record()
    assert (record.cause, record.weight_percent) == ("split", 10)
