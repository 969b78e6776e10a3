"""The conductor's calls, against a real store."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from sqlalchemy import select

from grayscale.plane import conduct, configs, document, people, releases, takeaway, versions
from grayscale.plane.actor import GUARD, Actor
from grayscale.plane.plane import Plane
from grayscale.release.phases import State
from grayscale.store import schema
from grayscale.testing.clock import FakeClock

Refusal = Callable[[str], AbstractContextManager[None]]
HEALTHY = {"outcome": "healthy", "sentence": "fine"}


async def soaked(story: Any) -> None:
    """The running stage has soaked and is healthy."""
    await story.change(watched_seconds=1e6, verdict=HEALTHY)


async def test_the_ramp_goes_up_step_by_step_to_promotion(story: Any, plane: Plane) -> None:
    """A release goes 10, 25, 50, 95 %, bakes, and its version becomes stable."""
    await story.begin()
    weights = [(await story.record()).weight_percent]
    for step in (1, 2, 3):
        await soaked(story)
        await story.act("set_split", step)
        weights.append((await story.record()).weight_percent)
    assert weights == [10, 25, 50, 95]
    await soaked(story)
    await story.act("bake")
    await soaked(story)
    await story.act("promote")
    async with plane.read() as tx:
        config = await configs.current(tx)
    assert (await story.record()).state is State.PROMOTED
    assert config.weights == {"v2": 100}
    assert config.aliases == {"stable": "v2", "previous": "v1"}


async def test_no_weight_rises_without_evidence(story: Any, refused: Refusal) -> None:
    """A raise is refused before the soak is over, and without a healthy verdict."""
    await story.begin()
    with refused("release_changed"):
        await story.act("set_split", 1)
    await story.change(watched_seconds=1e6, verdict={"outcome": "inconclusive"})
    with refused("release_changed"):
        await story.act("set_split", 1)
    with refused("step_moved_on"):
        await story.act("set_split", 2)
    assert (await story.record()).weight_percent == 10


async def test_conductor_reads_guard_takes_away_conductor_raises(
    story: Any, plane: Plane, refused: Refusal
) -> None:
    """A raise that was decided before the guard took the candidate away is refused."""
    await story.begin()
    await soaked(story)
    seen = await story.record()
    async with plane.write() as tx:
        release = await document.load(tx, story.release_id)
        await takeaway.roll_back(
            plane, tx, release, actor=GUARD, reason="7 % failed", cause="candidate"
        )
    with refused("release_changed"):
        await story.act("set_split", 1, revision=seen.revision)
    with refused("release_changed"):
        await story.act("set_split", 1)
    after = await story.record()
    assert (after.state, after.weight_percent) == (State.ROLLING_BACK, 0)


async def test_an_outdated_fence_is_refused(story: Any, refused: Refusal) -> None:
    """A conductor that was replaced can do nothing any more."""
    await story.begin()
    old = story.fence
    await story.claim()
    await soaked(story)
    with refused("stale_fence"):
        await story.act("set_split", 1, fence=old)
    assert (await story.record()).current_step == 0


async def test_a_living_conductor_is_not_replaced(
    story: Any, plane: Plane, refused: Refusal
) -> None:
    """Another run may claim a release only when its conductor has been silent for 15 s."""
    await story.begin()
    with refused("conductor_alive"):
        await story.claim("run-2")
    async with plane.write() as tx:
        await document.put_conductor(
            tx, story.release_id, silent_seconds=conduct.SILENT_AFTER_SECONDS
        )
    assert await story.claim("run-2") == 2


async def test_the_brake_wins_over_a_raise(story: Any, plane: Plane, refused: Refusal) -> None:
    """A version that was braked gets no weight, whatever was decided."""
    await story.begin()
    await soaked(story)
    async with plane.read() as tx:
        version = await versions.find(tx, "v2")
    assert version is not None
    plane.brake.ban(version.brake_slot)
    with refused("release_changed"):
        await story.act("set_split", 1)


async def test_only_the_changed_model_is_split(story: Any, plane: Plane) -> None:
    """A change to one model of two leaves the other one's requests alone."""
    await story.begin()
    async with plane.read() as tx:
        config = await configs.current(tx)
    assert config.affected == ("gpt-4.1",)


async def test_an_approval_opens_the_gate_once(story: Any, plane: Plane, refused: Refusal) -> None:
    """The plan's gate needs a person; the second decision hears who was first."""
    await story.create(story.plan(approval={"before_steps": [25]}))
    await story.claim()
    await story.act("create_version")
    await story.act("set_split", 0)
    await soaked(story)
    with refused("release_changed"):
        await story.act("set_split", 1)
    await story.act("ask")
    async with plane.write() as tx:
        release = await document.load(tx, story.release_id)
        await people.approve(plane, tx, release, actor=Actor("bob"), step=0, note="go")
    async with plane.write() as tx:
        release = await document.load(tx, story.release_id)
        with refused("step_moved_on"):
            await people.reject(plane, tx, release, actor=Actor("eve"), step=0, note="")
    await story.act("set_split", 1)
    record = await story.record()
    assert record.weight_percent == 25
    assert record.steps[1].approval is not None
    assert record.steps[1].approval.decided_by == "bob"


async def test_a_second_release_waits_for_its_turn(
    story: Any, plane: Plane, refused: Refusal
) -> None:
    """A queued release cannot be claimed while another one is under way."""
    await story.begin()
    await story.create(story.plan(version_name="v3"))
    with refused("release_in_progress"):
        await story.claim("run-9")
    assert (await story.record()).state is State.QUEUED


async def test_a_split_that_is_put_twice_is_two_configs(story: Any, plane: Plane) -> None:
    """Each config has its own id and names the one before it."""
    await story.begin()
    async with plane.read() as tx:
        rows = await tx.all(select(schema.configs).order_by(schema.configs.c.seq))
    assert [row["previous_config_id"] for row in rows[1:]] == [
        row["config_id"] for row in rows[:-1]
    ]


async def test_pause_at_stable_takes_the_weight_and_resume_gives_it_back(
    story: Any, plane: Plane
) -> None:
    """Paused at stable the candidate has nothing; after resume the conductor restores its step."""
    await story.begin()
    async with plane.write() as tx:
        release = await document.load(tx, story.release_id)
        await people.pause(plane, tx, release, actor=Actor("ann"), at_stable=True, note="")
    paused = await story.record()
    async with plane.write() as tx:
        release = await document.load(tx, story.release_id)
        await people.resume(plane, tx, release, actor=Actor("ann"), note="")
    await story.act("set_split", 0)
    record = await story.record()
    assert (paused.state, paused.weight_percent) == (State.PAUSED, 0)
    assert (record.state, record.weight_percent) == (State.SOAKING, 10)


async def test_a_plan_without_a_name_releases_the_candidate(
    story: Any, plane: Plane, refused: Refusal
) -> None:
    """Without version_name the present beta is meant; without a beta there is nothing to release."""
    unnamed = story.plan(version_name="", config_overrides={})
    with refused("invalid_plan"):
        await story.create(unnamed)
    async with plane.write() as tx:
        version, _ = await versions.create(
            tx,
            name="v9",
            base=await versions.find(tx, "v1"),
            overrides={"parameters": {"temperature": 0.2}},
            upstreams=plane.upstreams,
            now=plane.clock.now(),
            actor=Actor("ann"),
        )
        config = await configs.current(tx)
        candidate = replace(config, aliases={**config.aliases, "beta": version.name})
        await configs.put(
            tx, candidate, now=plane.clock.now(), actor=Actor("ann"), reason="a candidate"
        )
    await story.create(unnamed)
    assert (await story.record()).version == "v9"


async def test_a_flow_run_opens_one_release(story: Any, plane: Plane) -> None:
    """The run that opened a release finds it for ever, also when Prefect retries it after its end."""
    made = []
    for _ in range(2):
        async with plane.write() as tx:
            release = await releases.create(
                plane, tx, story.plan(), actor=Actor("ann"), origin_run_id="run-1"
            )
            made.append(release.id)
            await people.abort(plane, tx, release, actor=Actor("ann"), note="")
        assert isinstance(plane.clock, FakeClock)
        plane.clock.advance(100 * 3600)
    assert made[0] == made[1]
    async with plane.write() as tx:
        again = await releases.create(plane, tx, story.plan(), actor=Actor("ann"))
    assert again.id != made[0]
