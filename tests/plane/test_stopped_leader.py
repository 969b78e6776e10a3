"""A leader that is stopped on its way to the brake page, and goes on, leaves nothing there."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from grayscale.errors import StoreUnavailable
from grayscale.plane import rollbacks, versions
from grayscale.plane.actor import Actor
from grayscale.plane.plane import Plane
from grayscale.prefect_api import PrefectApi
from grayscale.relay.brake import Brake
from grayscale.relay.leader.lead import TAKE_OVER_AFTER_SECONDS
from grayscale.relay.leader.reconciler import Reconciler
from grayscale.relay.leader.runs import LOOK_EVERY_SECONDS
from grayscale.relay.leader.watch import RollbackCarrier, Watcher
from grayscale.release.phases import State
from grayscale.testing.clock import FakeClock
from tests.plane.fake_prefect import FakePrefect
from tests.plane.watching import Watch, start

BEFORE, AFTER = "before the write", "after the write"


class Stopping(Brake):
    """The page of a process that is stopped where it writes a ban, and goes on much later."""

    stop: Callable[[], None]
    where = BEFORE

    def ban(self, slot: int, *, cut: bool = False) -> int:
        """Write it, and be stopped before or after."""
        if self.where == BEFORE:
            self.stop()
        value = super().ban(slot, cut=cut)
        if self.where == AFTER:
            self.stop()
        return value


@pytest.fixture(params=[BEFORE, AFTER])
def stopping(plane: Plane, tmp_path: Path, request: pytest.FixtureRequest) -> Plane:
    """The same page, by way of a process that is stopped there."""
    clock = plane.clock
    assert isinstance(clock, FakeClock)
    brake = Stopping.open(tmp_path / "brake")
    assert isinstance(brake, Stopping)
    brake.stop = lambda: clock.advance(TAKE_OVER_AFTER_SECONDS)
    brake.where = request.param
    return replace(plane, brake=brake)


async def ban_of(plane: Plane) -> int:
    """What the page says of the candidate."""
    async with plane.read() as tx:
        version = await versions.find(tx, "v2")
    assert version is not None
    return plane.brake.value(version.brake_slot)


async def sick_for(watch: Watch, config_id: str, *, seconds: int) -> None:
    """The candidate fails."""
    for _ in range(seconds):
        await watch.second(config_id, errors=0.9)


async def test_the_guards_ban_is_taken_back(
    story: Any, watch: Watch, plane: Plane, stopping: Plane
) -> None:
    """Neither record nor page has what it saw; the next look sees it anew, and is in time."""
    config_id = await start(story)
    watch.watcher = Watcher(stopping)
    with pytest.raises(StoreUnavailable):
        await sick_for(watch, config_id, seconds=20)
    assert await ban_of(plane) == 0
    assert (await story.record()).state is State.SOAKING
    watch.watcher = Watcher(plane)
    await sick_for(watch, config_id, seconds=2)
    assert (await story.record()).state is State.ROLLING_BACK
    assert await ban_of(plane)


async def test_a_cut_that_comes_too_late_takes_no_other_ban_away(
    story: Any, watch: Watch, plane: Plane, stopping: Plane
) -> None:
    """The drain's end is left to whoever leads then; the version stays out of traffic."""
    config_id = await start(story)
    async with plane.write() as tx:
        await rollbacks.roll_back(
            plane, tx, rollbacks.Wanted(drain_seconds=0.0), actor=Actor("ann")
        )
    async with plane.read() as tx:
        version = await versions.find(tx, "v2")
    assert version is not None
    plane.brake.ban(version.brake_slot)
    await watch.second(config_id, in_flight={"v2": 1})
    carrier = RollbackCarrier(stopping)
    with pytest.raises(StoreUnavailable):
        async with plane.write() as tx:
            await carrier.tick(tx, 1.0)
    assert plane.brake.banned(version.brake_slot)


async def test_a_cancelled_runs_ban_is_taken_back(
    story: Any, plane: Plane, stopping: Plane
) -> None:
    """What a person did in Prefect is heeded by whoever leads then, at the next look."""
    assert isinstance(plane.clock, FakeClock)
    await story.begin()
    async with FakePrefect() as prefect, PrefectApi(prefect.api_url) as api:
        prefect.put("run-1", "CANCELLED")
        plane.clock.advance(LOOK_EVERY_SECONDS)
        with pytest.raises(StoreUnavailable):
            await Reconciler(stopping, api).run_once()
        assert (await ban_of(plane), (await story.record()).state) == (0, State.SOAKING)
        plane.clock.advance(LOOK_EVERY_SECONDS)
        await Reconciler(plane, api).run_once()
    assert await ban_of(plane)
    assert (await story.record()).state is State.ROLLING_BACK
