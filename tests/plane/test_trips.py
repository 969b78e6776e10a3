"""A trip of the breaker, from the brake page to the release's record."""

from typing import Any

import pytest

from grayscale.plane import configs, document, events, people, splits, takeaway, versions
from grayscale.plane.actor import Actor
from grayscale.plane.plane import Plane
from grayscale.relay.brake import Brake
from grayscale.relay.leader.trips import REASON
from grayscale.release.phases import State
from tests.plane.watching import Watch, start

WHY = "breaker: 6 of the last 6 candidate requests failed, stable 0 of 9 meanwhile"


async def put_trip(plane: Plane, name: str = "v2") -> bool:
    """What a worker does that could reach the store."""
    async with plane.write() as tx:
        return await takeaway.trip(plane, tx, name, reason=WHY)


async def trip_on_the_page(plane: Plane, name: str = "v2") -> None:
    """What a worker does that could not."""
    async with plane.read() as tx:
        version = await versions.find(tx, name)
    assert version is not None
    assert isinstance(plane.brake, Brake)
    assert plane.brake.trip(version.brake_slot)


async def log_of(plane: Plane) -> list[tuple[str, Any]]:
    """Every event's type and reason."""
    async with plane.read() as tx:
        found = await events.listed(tx, limit=1000)
    return [(event["type"], event["data"].get("reason")) for _, event in found]


async def split_by_hand(plane: Plane, percent: float = 10.0) -> None:
    """A version v2 that has traffic without a release."""
    async with plane.write() as tx:
        await versions.create(
            tx,
            name="v2",
            base=await versions.find(tx, "v1"),
            overrides={"models": {"gpt-4.1": {"model": "other"}}},
            upstreams=plane.upstreams,
            now=plane.clock.now(),
            actor=Actor("ann"),
        )
        split = {"v1": 100.0 - percent, "v2": percent}
        await splits.set_by_hand(plane, tx, split, actor=Actor("ann"), reason="try")


async def test_a_trip_ends_the_release_with_its_numbers(
    story: Any, watch: Watch, plane: Plane
) -> None:
    """The record has cause and reason at once, the events tell of it once, the version is barred."""
    config_id = await start(story)
    await trip_on_the_page(plane)
    assert await put_trip(plane)
    assert not await put_trip(plane)
    rolling_back = await story.record()
    for _ in range(3):
        await watch.second(config_id)
    record = await story.record()
    async with plane.read() as tx:
        version = await versions.find(tx, "v2")
    assert (rolling_back.state, rolling_back.weight_percent) == (State.ROLLING_BACK, 0)
    assert (record.state, record.cause, record.reason) == (State.ROLLED_BACK, "candidate", WHY)
    assert version is not None
    assert version.quarantined
    assert (await log_of(plane))[-5:] == [
        ("breaker.tripped", WHY),
        ("version.quarantined", WHY),
        ("split.changed", WHY),
        ("release.rolling_back", WHY),
        ("release.rolled_back", WHY),
    ]


async def test_a_trip_that_its_worker_could_not_write_down(
    story: Any, watch: Watch, plane: Plane
) -> None:
    """The leader reads the brake page: it leaves the worker one look's time, then does it itself."""
    config_id = await start(story)
    await trip_on_the_page(plane)
    await watch.second(config_id)
    first = await story.record()
    await watch.second(config_id)
    second = await story.record()
    assert first.state is State.SOAKING
    assert (second.state, second.cause, second.reason) == (State.ROLLING_BACK, "candidate", REASON)


async def test_a_persons_brake_is_no_trip(story: Any, watch: Watch, plane: Plane) -> None:
    """Whoever pulled the brake: the candidate goes, but is neither blamed nor barred."""
    config_id = await start(story)
    async with plane.read() as tx:
        version = await versions.find(tx, "v2")
    assert version is not None
    plane.brake.ban(version.brake_slot)
    await watch.second(config_id)  # whoever pulled it may still write down why
    assert (await story.record()).state is State.SOAKING
    await watch.second(config_id)
    record = await story.record()
    async with plane.read() as tx:
        version = await versions.find(tx, "v2")
    assert version is not None
    assert (record.state, record.cause) == (State.ROLLING_BACK, "aborted")
    assert not version.quarantined


async def test_a_waiting_release_trips_too(story: Any, plane: Plane) -> None:
    """A pause keeps the weight, and with it the breaker."""
    await start(story)
    async with plane.write() as tx:
        release = await document.load(tx, story.release_id)
        await people.pause(plane, tx, release, actor=Actor("ann"), at_stable=False, note="")
    assert await put_trip(plane)
    assert (await story.record()).cause == "candidate"


@pytest.mark.parametrize("writer", ["worker", "leader"])
async def test_a_split_by_hand_goes_back_to_stable(watch: Watch, plane: Plane, writer: str) -> None:
    """Without a release a trip still gives stable the traffic, bars the version and says why."""
    await split_by_hand(plane)
    await trip_on_the_page(plane)
    if writer == "worker":
        assert await put_trip(plane)
        assert not await put_trip(plane)
    for _ in range(3):
        await watch.second(None)
    async with plane.read() as tx:
        config = await configs.current(tx)
        version = await versions.find(tx, "v2")
    reason = WHY if writer == "worker" else REASON
    assert (dict(config.weights), config.beta, config.reason) == ({"v1": 100}, None, reason)
    assert version is not None
    assert version.quarantined
    tripped = [event for event in await log_of(plane) if event[0] == "breaker.tripped"]
    assert tripped == [("breaker.tripped", reason)]


async def test_stable_is_never_taken_away(plane: Plane) -> None:
    """A trip of what is stable by now, or of what has no traffic, changes nothing."""
    await split_by_hand(plane, percent=0.0)
    before = await log_of(plane)
    assert not await put_trip(plane, "v1")
    assert not await put_trip(plane, "v2")
    assert not await put_trip(plane, "nobody")
    assert await log_of(plane) == before
