"""The leader: one worker that watches releases, tells people, and calls conductors."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace

from grayscale.errors import GrayscaleError
from grayscale.plane import folding, idempotency, judging
from grayscale.plane.plane import Plane
from grayscale.relay.leader.lead import Lease, check_in_time
from grayscale.relay.leader.watch import RollbackCarrier, Watcher

_log = logging.getLogger(__name__)
TICK_SECONDS = 1.0

SideJob = Callable[[], Awaitable[object]]
MakeJobs = Callable[[Plane], tuple[SideJob, ...]]

_HOUSEKEEPING_EVERY_TICKS = 60


class Leader:
    """Runs in every worker; acts in the one that holds the lease.

    `side_jobs` makes what the leader does beside its transaction, each in its own time (telling
    people, calling conductors): a receiver or a Prefect that hangs never delays a rollback. Their
    plane asks in every transaction whether this worker still leads.
    """

    def __init__(
        self,
        plane: Plane,
        worker_id: str,
        side_jobs: MakeJobs,
        *,
        look_every_seconds: float = TICK_SECONDS,
    ) -> None:
        self._plane = plane
        self._look_every_seconds = look_every_seconds
        self._lease = Lease(plane, worker_id)
        self._side_jobs = side_jobs(replace(plane, permit=self._lease.prove))
        self._ticks = 0

    async def run(self) -> None:
        """Lead whenever the lease allows, until cancelled."""
        try:
            while True:
                await self._once()
                await self._plane.clock.sleep(self._look_every_seconds)
        finally:
            await self._give_up()

    async def _once(self) -> None:
        try:
            if self._lease.held or await self._lease.try_take():
                await self._lead()
        except GrayscaleError as error:
            _log.warning("leader: %s", error)

    async def _lead(self) -> None:
        watcher, carrier = Watcher(self._plane), RollbackCarrier(self._plane)
        jobs = [asyncio.create_task(self._repeat(job)) for job in self._side_jobs]
        try:
            before = self._plane.clock.monotonic()
            while True:
                now = self._plane.clock.monotonic()
                if not await self._tick(watcher, carrier, now - before):
                    return
                before = now
                await self._plane.clock.sleep(self._look_every_seconds)
        finally:
            for job in jobs:
                job.cancel()
            await asyncio.gather(*jobs, return_exceptions=True)

    async def _tick(self, watcher: Watcher, carrier: RollbackCarrier, elapsed: float) -> bool:
        try:
            async with self._plane.write() as tx:
                began = self._plane.clock.monotonic()
                if not await self._lease.beat(tx):
                    return False
                await watcher.tick(tx)
                await carrier.tick(tx, elapsed)
                check_in_time(self._plane, since=began)
            self._ticks += 1
            if self._ticks % _HOUSEKEEPING_EVERY_TICKS == 0:
                await self._keep_house()
        except GrayscaleError as error:
            _log.warning("leader: this look failed, the next one is due soon: %s", error)
            watcher.forget_bans()
        return True

    async def _keep_house(self) -> None:
        now = self._plane.clock.now()
        async with self._plane.write() as tx:
            await self._lease.prove(tx)
            await folding.fold(tx, now=now, judged_up_to=await judging.read_up_to(tx))
            await idempotency.forget_old(tx, now=now)

    async def _repeat(self, job: Callable[[], Awaitable[object]]) -> None:
        me = asyncio.current_task()
        # A group of tasks that fails as it is cancelled tells of its failure alone.
        while me is not None and not me.cancelling():
            try:
                await job()
            except* GrayscaleError as failed:
                _log.warning("leader: %s", failed.exceptions[0])
            except* Exception:  # noqa: BLE001 - the job's boundary: it may fail, but it does not end
                _log.exception("leader: a side job failed, and is begun again")
            await self._plane.clock.sleep(self._look_every_seconds)

    async def _give_up(self) -> None:
        try:
            await self._lease.give_up()
        except GrayscaleError as error:
            _log.warning("leader: the lease could not be given up: %s", error)
