"""Somebody sets the clock: what is counted in seconds goes on, what has a date ends safely."""

from typing import Any

import pytest

from grayscale.plane import document, events, rollbacks, takeaway, versions
from grayscale.plane.actor import RELAY, Actor
from grayscale.plane.plane import Plane
from grayscale.relay.leader.lead import LeadLost, Lease
from grayscale.relay.leader.outbox import StoreOutbox
from grayscale.relay.leader.watch import RollbackCarrier
from grayscale.release.phases import State
from grayscale.testing.clock import FakeClock
from tests.plane.watching import Watch, start

HOUR = 3600.0


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
async def test_lease_and_soak_do_not_jump(story: Any, watch: Watch, jump: float) -> None:
    """An hour forward ends no lease and soaks nothing; an hour back lengthens none."""
    config_id = await start(story, lease={"seconds": 10})
    await watch.second(config_id)
    before = await story.record()
    watch.clock.shift_wall(jump)
    for _ in range(2):
        await watch.second(config_id)
    after = await story.record()
    assert (after.state, after.weight_percent) == (State.SOAKING, before.weight_percent)
    assert after.conductor.lease_left_seconds == before.conductor.lease_left_seconds - 2
    assert after.stage.watched_seconds <= before.stage.watched_seconds + 3
    watch.clock.shift_wall(-jump)
    for _ in range(10):
        await watch.second(config_id)
    assert (await story.record()).weight_percent == 0


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
async def test_draining_does_not_jump(story: Any, watch: Watch, plane: Plane, jump: float) -> None:
    """Requests of a candidate that was taken away keep the time that they were given."""
    config_id = await start(story)
    async with plane.write() as tx:
        wanted = rollbacks.Wanted(drain_seconds=3.0)
        await rollbacks.roll_back(plane, tx, wanted, actor=Actor("ann"))
    watch.clock.shift_wall(jump)
    carrier, states = RollbackCarrier(plane), []
    for _ in range(5):
        await watch.second(config_id, in_flight={"v2": 1})
        async with plane.write() as tx:
            await carrier.tick(tx, 1.0)
            latest = await takeaway.latest_rollback(tx)
        assert latest is not None
        states.append(latest["state"])
    assert states[:2] == ["draining", "draining"]
    assert states[-1] == "completed"


async def test_a_deadline_that_is_jumped_over_is_the_safe_end(story: Any, watch: Watch) -> None:
    """Nobody has decided by the clock on the wall: stable has the traffic."""
    await start(story, approval={"before_steps": [25], "timeout_minutes": 30})
    await story.act("ask")
    watch.clock.shift_wall(HOUR)
    await watch.silent_second()
    record = await story.record()
    assert (record.weight_percent, record.cause) == (0, "approval_timeout")


async def test_a_leader_that_was_relieved_can_write_nothing(plane: Plane, story: Any) -> None:
    """Its look finds the fence outdated, and what it does beside that is refused."""
    clock = plane.clock
    assert isinstance(clock, FakeClock)
    old, new = Lease(plane, "old"), Lease(plane, "new")
    assert await old.try_take()
    assert not await new.try_take()
    clock.advance(6)
    assert await new.try_take()
    async with plane.write() as tx:
        with pytest.raises(LeadLost):
            await old.prove(tx)
        await new.prove(tx)
        assert not await old.beat(tx)
        assert await new.beat(tx)
    assert not old.held
    assert not await old.try_take()


async def test_an_abort_that_nobody_recorded_is_recorded_in_every_state(
    story: Any, watch: Watch, plane: Plane
) -> None:
    """Before its first split a release is named on the brake page, and ends by the second look."""
    release_id = await story.create()
    await story.claim()
    plane.brake.end(release_id)
    await watch.silent_second()
    assert (await story.record()).state is State.PREPARING
    await watch.silent_second()
    record = await story.record()
    assert (record.state, record.cause) == (State.ROLLING_BACK, "aborted")
    async with plane.read() as tx:
        assert (await document.load(tx, release_id)).state is State.ROLLING_BACK


async def test_a_promotion_that_was_braked_is_undone(
    story: Any, watch: Watch, plane: Plane
) -> None:
    """Its ban, which nobody wrote down, becomes a way back to previous; previous may serve again.

    The version that comes back to stable loses the ban it had.
    """
    async with plane.write() as tx:
        stable = await versions.find(tx, "v1")
    assert stable is not None
    await story.begin()
    await story.change(watched_seconds=1e6, verdict={"outcome": "healthy", "sentence": "fine"})
    async with plane.write() as tx:
        release = await document.load(tx, story.release_id)
        release.promote_full = True
        await document.save(tx, release, now=plane.clock.now())
    for step in range(1, len(release.steps)):
        await story.act("set_split", step)
    await story.act("bake")
    await story.act("promote")
    async with plane.read() as tx:
        version = await versions.find(tx, "v2")
    assert version is not None
    plane.brake.ban(version.brake_slot)
    for _ in range(2):
        await watch.silent_second()
    async with plane.write() as tx:
        latest = await takeaway.latest_rollback(tx)
        assert latest is not None
        assert "could not write it down" in latest["reason"]
        wanted = rollbacks.Wanted(target="v2")
        config = await rollbacks.roll_back(plane, tx, wanted, actor=Actor("ann"))
    assert config.stable == "v2"
    assert not plane.brake.banned(version.brake_slot)


async def two_notices(plane: Plane, story: Any) -> None:
    """A release has two things to tell on one channel."""
    await story.create()
    async with plane.write() as tx:
        for kind in ("release.held", "release.resumed"):
            await events.append(
                tx, event_type=kind, now=plane.clock.now(), actor=RELAY, data={},
                release_id=story.release_id, channels=[("webhook", None)],
            )  # fmt: skip


@pytest.mark.parametrize("jump", [HOUR, -HOUR, -HOUR / 2])
async def test_a_notices_next_try_does_not_jump(story: Any, plane: Plane, jump: float) -> None:
    """Tried and failed, it is tried again after its back-off by no clock that can be set."""
    assert isinstance(plane.clock, FakeClock)
    await two_notices(plane, story)
    outbox = StoreOutbox(plane)
    first, second = [item.id for item in await outbox.due(limit=10)]
    await outbox.failed(item_id=first, error="away", retry_in_seconds=60)
    plane.clock.shift_wall(jump)
    plane.clock.advance(59)
    assert await outbox.due(limit=10) == []
    plane.clock.advance(1)
    assert [item.id for item in await outbox.due(limit=10)] == [first, second]


async def test_what_another_leader_tried_waits_no_longer_than_any_back_off(
    story: Any, plane: Plane
) -> None:
    """The date that it left is taken from the wall once, and never for more than an hour."""
    assert isinstance(plane.clock, FakeClock)
    await two_notices(plane, story)
    tried = (await StoreOutbox(plane).due(limit=10))[0]
    await StoreOutbox(plane).failed(item_id=tried.id, error="away", retry_in_seconds=60)
    later, after_a_jump = StoreOutbox(plane), StoreOutbox(plane)
    plane.clock.advance(30)
    assert await later.due(limit=10) == []
    plane.clock.shift_wall(-24 * HOUR)
    assert await after_a_jump.due(limit=10) == []
    plane.clock.advance(30)
    assert len(await later.due(limit=10)) == 2
    plane.clock.advance(HOUR)
    assert len(await after_a_jump.due(limit=10)) == 2
