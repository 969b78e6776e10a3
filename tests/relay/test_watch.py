"""One request's end by something other than itself."""

from __future__ import annotations

import asyncio

import pytest

from grayscale.relay.watch import Cause, Interrupted, Watch


async def test_interrupt_ends_what_is_inside() -> None:
    """An interrupt ends the work inside the block, with its cause, and the task goes on."""
    watch = Watch(total_seconds=10)
    asyncio.get_running_loop().call_soon(watch.interrupt, Cause.CALLER_GONE)
    with pytest.raises(Interrupted) as news, watch:
        await asyncio.Event().wait()
    assert news.value.cause is Cause.CALLER_GONE
    await asyncio.sleep(0)  # a task that is still being cancelled would end here
    watch.close()


async def test_first_cause_counts() -> None:
    """Of several causes at once the first is the one that is told."""
    watch = Watch(total_seconds=10)
    asyncio.get_running_loop().call_soon(watch.interrupt, Cause.CUT)
    asyncio.get_running_loop().call_soon(watch.interrupt, Cause.CALLER_GONE)
    with pytest.raises(Interrupted) as news, watch:
        await asyncio.Event().wait()
    assert news.value.cause is Cause.CUT
    watch.close()


async def test_causes_wait_for_the_next_block() -> None:
    """Outside of a block nothing is torn: the cause is told where the next block begins."""
    watch = Watch(total_seconds=10)
    watch.interrupt(Cause.CUT)
    await asyncio.sleep(0)
    with pytest.raises(Interrupted) as news, watch:
        raise AssertionError("the block must not begin")
    assert news.value.cause is Cause.CUT
    with watch:
        await asyncio.sleep(0)
    watch.close()


async def test_deadlines_move() -> None:
    """A deadline that is moved in time does not end the work; one that is not does."""
    watch = Watch(total_seconds=10)
    with watch:
        for _ in range(5):
            watch.expect(Cause.IDLE, 0.5)
            await asyncio.sleep(0.11)
    watch.expect(Cause.FIRST_BYTE, 0.01)
    with pytest.raises(Interrupted) as news, watch:
        await asyncio.Event().wait()
    assert news.value.cause is Cause.FIRST_BYTE
    watch.close()


async def test_total_time_is_the_last_word() -> None:
    """No deadline goes beyond the total time."""
    watch = Watch(total_seconds=10)
    watch.limit_total(0.02)
    watch.expect(Cause.IDLE, 5)
    with pytest.raises(Interrupted) as news, watch:
        await asyncio.Event().wait()
    assert news.value.cause is Cause.TOTAL
    watch.close()


async def test_a_real_cancellation_stays_one() -> None:
    """When the task itself is cancelled from outside, the watch does not swallow it."""
    entered = asyncio.Event()

    async def work() -> None:
        watch = Watch(total_seconds=10)
        with watch:
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_after_closing_nothing_happens() -> None:
    """A closed watch ignores what comes late."""
    watch = Watch(total_seconds=10)
    watch.expect(Cause.IDLE, 0.01)
    watch.close()
    watch.interrupt(Cause.CALLER_GONE)
    with watch:
        await asyncio.sleep(0.03)
