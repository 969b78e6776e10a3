"""The control plane behind a worker: `ControlPlane` over the control store."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from starlette.types import ASGIApp

from grayscale.clock import SystemClock
from grayscale.notices import build_notifiers
from grayscale.notices.delivery import Delivery
from grayscale.plane import snapshots, workers
from grayscale.plane.bootstrap import first_start, prepare_data_dir
from grayscale.plane.ids import new_id
from grayscale.plane.plane import Plane
from grayscale.prefect_api import PrefectApi
from grayscale.relay.admin.app import admin_app
from grayscale.relay.brake import Brake
from grayscale.relay.control import Beat
from grayscale.relay.leader.leader import Leader
from grayscale.relay.leader.outbox import StoreOutbox
from grayscale.relay.leader.reconciler import Reconciler
from grayscale.relay.runtime import Runtime
from grayscale.settings import Settings
from grayscale.store.database import open_database
from grayscale.traffic.counters import Cells
from grayscale.traffic.snapshot import Snapshot


class StoreControlPlane:
    """One worker's control plane; made by `open_control_plane`."""

    def __init__(self, plane: Plane, runtime: Runtime) -> None:
        self._plane = plane
        self._runtime = runtime
        self._id = new_id("worker")
        self._flushing = asyncio.Lock()

    async def load_snapshot(self) -> Snapshot:
        """The newest state that requests are served by."""
        return await snapshots.load(self._plane)

    async def flush(self, *, cells: Cells, applied_seq: int, in_flight: Mapping[str, int]) -> Beat:
        """Write a delta of counters, and acknowledge the state that this worker runs."""
        beat = await workers.flush(
            self._plane,
            worker_id=self._id,
            pid=os.getpid(),
            applied_seq=applied_seq,
            cells=cells,
            in_flight=in_flight,
        )
        return Beat(config_seq=beat.config_seq, keys_seq=0, beat=beat.beat, workers=beat.workers)

    def control_app(self) -> ASGIApp:
        """The admin app."""
        return admin_app(self._plane, self._runtime, self._flush_now)

    async def run_leader(self) -> None:
        """Lead whenever the lease allows; runs until cancelled."""
        notifiers = build_notifiers(self._plane.settings.notifications)
        delivery = Delivery(StoreOutbox(self._plane), notifiers, self._plane.clock)
        prefect = self._plane.settings.prefect
        auth = prefect.auth_string.get_secret_value() if prefect.auth_string else None
        async with PrefectApi(prefect.api_url, auth_string=auth) as api:
            jobs: tuple[Callable[[], Awaitable[object]], ...] = (delivery.run_once,)
            if prefect.enabled:
                jobs = (*jobs, Reconciler(self._plane, api).run_once)
            await Leader(self._plane, self._id, jobs).run()

    async def close(self) -> None:
        """Say goodbye and let go of the store."""
        await workers.leave(self._plane, self._id)
        await self._plane.database.close()

    async def _flush_now(self) -> None:
        """Write what this worker has counted before somebody looks at it."""
        async with self._flushing:
            cells = self._runtime.meter.take()
            snapshot = self._runtime.snapshot
            try:
                await self.flush(
                    cells=cells,
                    applied_seq=snapshot.config_seq if snapshot else 0,
                    in_flight=self._runtime.in_flight.counts(),
                )
            except BaseException:
                self._runtime.meter.put_back(cells)
                raise


async def open_plane(settings: Settings, data_dir: Path, brake: Brake) -> Plane:
    """Open the control store of a data directory."""
    database = await open_database(data_dir, settings.store_url)
    return Plane(database, brake, SystemClock(), settings)


async def set_up(settings: Settings, data_dir: Path, *, given_key: str | None) -> str | None:
    """Make data directory, store, first version and admin key; returns a key made just now.

    Run once by the parent, before there are workers. Raises SettingsError or StoreError.
    """
    prepare_data_dir(data_dir)
    brake = Brake.open(data_dir / "brake")
    plane = await open_plane(settings, data_dir, brake)
    try:
        return await first_start(plane, data_dir, given_key=given_key)
    finally:
        await plane.database.close()
        brake.close()


async def open_control_plane(
    settings: Settings, data_dir: Path, runtime: Runtime
) -> StoreControlPlane:
    """A worker's control plane; raises StoreError if the store cannot be opened."""
    return StoreControlPlane(await open_plane(settings, data_dir, runtime.brake), runtime)
