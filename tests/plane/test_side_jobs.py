"""Rules of what the leader does beside its look."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from grayscale.plane.plane import Plane
from grayscale.relay.leader.lead import LeadLost
from grayscale.relay.leader.leader import Leader


async def _lost() -> None:
    raise LeadLost("another worker leads by now")


async def _lost_in_a_group() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(_lost())


async def _mistaken() -> None:
    raise KeyError("a slip")


async def _said(
    plane: Plane, job: Callable[[], Awaitable[object]], caplog: pytest.LogCaptureFixture
) -> str:
    ended = asyncio.Event()

    async def noticed() -> None:
        try:
            await job()
        finally:
            ended.set()

    leading = asyncio.create_task(Leader(plane, "w", lambda _: (noticed,)).run())
    async with asyncio.timeout(20):
        await ended.wait()
    leading.cancel()
    await asyncio.gather(leading, return_exceptions=True)
    return caplog.text


@pytest.mark.parametrize("job", [_lost, _lost_in_a_group])
async def test_a_handover_is_no_mistake_of_a_side_job(
    plane: Plane, job: Callable[[], Awaitable[object]], caplog: pytest.LogCaptureFixture
) -> None:
    """Who leads no more is told so in a line, wherever in the job it was noticed."""
    said = await _said(plane, job, caplog)
    assert "leader: another worker leads by now" in said
    assert "a side job failed" not in said


async def test_a_job_that_fails_as_it_is_cancelled_is_not_begun_again(
    plane: Plane, caplog: pytest.LogCaptureFixture
) -> None:
    """A group of tasks tells of a failure instead of the cancellation; the leader ends all the same."""
    begun = asyncio.Event()

    async def fails_in_the_end() -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await _lost()

    async def job() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(fails_in_the_end())

    leading = asyncio.create_task(Leader(plane, "w", lambda _: (job,)).run())
    async with asyncio.timeout(20):
        await begun.wait()
        leading.cancel()
        await asyncio.gather(leading, return_exceptions=True)
    assert caplog.text.count("leader: another worker leads by now") == 1


async def test_a_mistake_of_a_side_job_is_told_whole(
    plane: Plane, caplog: pytest.LogCaptureFixture
) -> None:
    """What nobody foresaw has its traceback in the log, and the job is begun again."""
    said = await _said(plane, _mistaken, caplog)
    assert "a side job failed, and is begun again" in said
    assert "KeyError: 'a slip'" in said
