"""The fake clock jumps, and never waits."""

import asyncio
import time
from datetime import timedelta

import pytest

from grayscale.clock import Clock
from grayscale.testing.clock import FakeClock


async def test_an_hour_takes_no_time() -> None:
    """A sleep moves both clocks by its length and costs no real time."""
    clock = FakeClock()
    began, real = clock.now(), time.perf_counter()
    await clock.sleep(3600)
    assert clock.monotonic() == 3600
    assert clock.now() - began == timedelta(hours=1)
    assert time.perf_counter() - real < 1


async def test_sleepers_wake_in_order_and_overlap() -> None:
    """Concurrent sleeps pass together: the longest decides, the shortest wakes first."""
    clock = FakeClock()
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, *lengths: float) -> None:
        for seconds in lengths:
            await clock.sleep(seconds)
            woken.append((name, clock.monotonic()))

    await asyncio.gather(sleeper("long", 10), sleeper("ticks", 4, 4, 4), sleeper("short", 1))
    assert woken == [("short", 1), ("ticks", 4), ("ticks", 8), ("long", 10), ("ticks", 12)]


async def test_by_hand_nobody_wakes_early() -> None:
    """Without auto_jump time stands still until it is advanced."""
    clock = FakeClock(auto_jump=False)
    sleeping = asyncio.create_task(clock.sleep(10))
    for _ in range(50):
        await asyncio.sleep(0)
    clock.advance(9.9)
    for _ in range(50):
        await asyncio.sleep(0)
    assert not sleeping.done()
    clock.advance(0.2)
    await sleeping


async def test_cancelled_sleeper_holds_nobody_up() -> None:
    """A cancelled sleep is forgotten and the others go on."""
    clock = FakeClock()
    doomed = asyncio.create_task(clock.sleep(1))
    other = asyncio.create_task(clock.sleep(5))
    await asyncio.sleep(0)
    doomed.cancel()
    await other
    assert clock.monotonic() == 5


async def test_no_sleep_is_a_turn_of_the_loop() -> None:
    """Sleeping for no time lets the others run and moves nothing."""
    clock = FakeClock()
    await clock.sleep(0)
    assert (clock.monotonic(), clock.slept_seconds) == (0, [0])
    assert repr(clock) == "<FakeClock 2026-01-01T00:00:00+00:00 sleepers=0>"


async def test_wall_clock_can_be_set_back_alone() -> None:
    """A wall clock that is set back leaves the monotonic one as it was."""
    clock = FakeClock()
    began = clock.now()
    clock.shift_wall(-60)
    assert (clock.now() - began, clock.monotonic()) == (timedelta(seconds=-60), 0)
    with pytest.raises(ValueError, match="does not go back"):
        clock.advance(-1)


def test_it_is_a_clock() -> None:
    """The fake goes through the real seam."""
    clock: Clock = FakeClock()
    assert clock.monotonic() == 0
