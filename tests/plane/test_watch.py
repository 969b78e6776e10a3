"""The leader's look: judge, guard, lease, ends, against a real store."""

from typing import Any

from grayscale.plane import (
    configs,
    document,
    events,
    rollbacks,
    splits,
    takeaway,
    versions,
)
from grayscale.plane.actor import Actor
from grayscale.plane.plane import Plane
from grayscale.relay.brake import Brake
from grayscale.relay.leader.watch import RollbackCarrier
from grayscale.release.phases import State
from tests.plane.watching import FAST, Watch, start


async def test_a_harmful_candidate_goes_without_a_conductor(
    story: Any, watch: Watch, plane: Plane
) -> None:
    """The guard brakes and rolls back by itself, and carries the release to its end."""
    config_id = await start(story)
    for _ in range(6):
        await watch.second(config_id, errors=0.5)
    record = await story.record()
    async with plane.read() as tx:
        version = await versions.find(tx, "v2")
        log = [envelope["type"] for _, envelope in await events.listed(tx)]
    assert record.state is State.ROLLED_BACK
    assert record.cause == "candidate"
    assert record.weight_percent == 0
    assert version is not None
    assert version.quarantined
    assert plane.brake.banned(version.brake_slot)
    assert log[-2:] == ["release.rolling_back", "release.rolled_back"]


async def test_a_healthy_candidate_soaks_only_watched_time(story: Any, watch: Watch) -> None:
    """Seconds count as soak when they were watched, and the verdict follows the evidence."""
    config_id = await start(story)
    for _ in range(7):
        await watch.second(config_id, errors=0.0)
    record = await story.record()
    assert record.stage is not None
    assert 5 <= record.stage.watched_seconds <= 7
    assert record.stage.verdict is not None
    assert record.stage.verdict.outcome == "healthy"


async def test_no_traffic_is_inconclusive(story: Any, watch: Watch) -> None:
    """Without data the verdict is neither good nor bad."""
    await start(story)
    for _ in range(7):
        await watch.second(None, errors=0.0)
    record = await story.record()
    assert record.verdict is not None
    assert record.verdict.outcome == "inconclusive"
    assert record.state is State.SOAKING


async def test_a_silent_conductor_loses_the_lease(story: Any, watch: Watch) -> None:
    """When the lease runs out the relay itself goes to stable, and the next conductor restores."""
    config_id = await start(story)
    for _ in range(95):
        await watch.second(config_id, errors=0.0)
    held = await story.record()
    await story.claim("run-2")
    await story.act("set_split", 0)
    record = await story.record()
    assert (held.state, held.cause, held.weight_percent) == (State.HELD, "lease_expired", 0)
    assert (record.state, record.weight_percent) == (State.SOAKING, 10)


async def test_a_ban_that_was_not_recorded_is_carried_out(
    story: Any, watch: Watch, plane: Plane
) -> None:
    """An abort whose store write failed still ends the release: the brake page is read back."""
    config_id = await start(story)
    async with plane.read() as tx:
        version = await versions.find(tx, "v2")
    assert version is not None
    plane.brake.ban(version.brake_slot)
    for _ in range(3):
        await watch.second(config_id, errors=0.0)
    assert (await story.record()).state is State.ROLLED_BACK


async def test_a_split_by_hand_is_guarded_too(watch: Watch, plane: Plane) -> None:
    """A harmful version that an operator gave weight to goes back to nothing."""
    async with plane.write() as tx:
        base = await versions.find(tx, "v1")
        overrides = {"models": {"gpt-4.1": {"model": "other"}}}
        await versions.create(
            tx,
            name="v2",
            base=base,
            overrides=overrides,
            upstreams=plane.upstreams,
            now=plane.clock.now(),
            actor=Actor("ann"),
        )
        split = {"v1": 90.0, "v2": 10.0}
        config = await splits.set_by_hand(plane, tx, split, actor=Actor("ann"), reason="try")
    for _ in range(30):
        await watch.second(config.config_id, errors=0.5)
    async with plane.read() as tx:
        after = await configs.current(tx)
    assert after.weights == {"v1": 100}
    assert "candidate requests failed" in after.reason


async def test_nobody_decides_in_time(story: Any, watch: Watch, plane: Plane) -> None:
    """A gate whose deadline passes does what the plan says: roll back."""
    await story.create(story.plan(**FAST, approval={"before_steps": [10], "timeout_minutes": 1.0}))
    await story.claim()
    await story.act("create_version")
    await story.act("ask")
    watch.clock.advance(61)
    for _ in range(3):
        await watch.second(None, errors=0.0)
    async with plane.read() as tx:
        release = await document.load(tx, story.release_id)
    assert (release.state, release.cause) == (State.ROLLED_BACK, "approval_timeout")


async def test_a_sick_upstream_is_not_the_candidates_fault(story: Any, watch: Watch) -> None:
    """While both versions fail the release is held at its weight, and goes on afterwards."""
    config_id = await start(story)
    for _ in range(5):
        await watch.second(config_id, errors=0.5, stable=0.5)
    held = await story.record()
    for _ in range(200):
        await watch.second(config_id, errors=0.0)
        await story.renew()
        if (await story.record()).state is not State.HELD:
            break
    record = await story.record()
    assert (held.state, held.cause, held.weight_percent) == (State.HELD, "upstream", 10)
    assert (record.state, record.weight_percent) == (State.SOAKING, 10)


async def test_a_drain_ends_when_its_time_is_up(story: Any, watch: Watch, plane: Plane) -> None:
    """Requests still running after `drain_timeout_seconds` are cut, and the rollback completes."""
    config_id = await start(story)
    async with plane.write() as tx:
        version = await versions.find(tx, "v2")
        assert version is not None
        plane.brake.ban(version.brake_slot)
        wanted = rollbacks.Wanted(drain_seconds=3.0)
        await rollbacks.roll_back(plane, tx, wanted, actor=Actor("ann"))
    states, carrier = [], RollbackCarrier(plane)
    for _ in range(6):
        await watch.second(config_id, errors=0.0, in_flight={"v2": 1})
        async with plane.write() as tx:
            await carrier.tick(tx, 1.0)
            latest = await takeaway.latest_rollback(tx)
        assert latest is not None
        states.append(latest["state"])
    assert isinstance(plane.brake, Brake)
    assert states[0] == "draining"
    assert states[-1] == "completed"
    assert plane.brake.wants_cut(version.brake_slot)
