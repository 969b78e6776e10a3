"""Where a worker meets its control store: the `ControlPlane` that workers are started with."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path

from starlette.types import ASGIApp

from grayscale.clock import SystemClock
from grayscale.errors import StoreError
from grayscale.notices import build_notifiers
from grayscale.notices.delivery import Delivery
from grayscale.plane import snapshots, takeaway, workers
from grayscale.plane.bootstrap import (
    FIRST_VERSION,
    first_start,
    prepare_data_dir,
    settings_drift,
)
from grayscale.plane.ids import new_id
from grayscale.plane.log_watch import LogWatch
from grayscale.plane.plane import Plane
from grayscale.prefect_api import PrefectApi
from grayscale.relay import snapshot_file
from grayscale.relay.admin.app import admin_app
from grayscale.relay.brake import Brake
from grayscale.relay.breaker import Trip
from grayscale.relay.control import Beat, Flush
from grayscale.relay.leader.leader import Leader, SideJob
from grayscale.relay.leader.outbox import StoreOutbox
from grayscale.relay.leader.reconciler import Reconciler
from grayscale.relay.runtime import Runtime
from grayscale.settings import Settings
from grayscale.store.database import Database
from grayscale.traffic.counters import Cells
from grayscale.traffic.snapshot import Snapshot

_log = logging.getLogger(__name__)


class StoreControlPlane:
    """One worker's control plane over the control store."""

    def __init__(self, plane: Plane, runtime: Runtime, worker_id: str, log_watch: LogWatch) -> None:
        self._plane = plane
        self._runtime = runtime
        self._worker_id = worker_id
        self._log_watch = log_watch

    async def load_snapshot(self) -> Snapshot:
        """The newest state that requests are served by."""
        return await snapshots.load(self._plane)

    async def flush(self, *, cells: Cells, applied_seq: int, in_flight: Mapping[str, int]) -> Beat:
        """Write a delta of counters, and acknowledge the state that this worker runs."""
        await self._log_watch.look()  # before it: what is counted is then written once or not
        self._runtime.health.report("audit", self._log_watch.problem)
        beat = await workers.flush(
            self._plane,
            worker_id=self._worker_id,
            pid=os.getpid(),
            applied_seq=applied_seq,
            cells=cells,
            in_flight=in_flight,
        )
        return Beat(config_seq=beat.config_seq, beat=beat.beat, workers=beat.workers)

    async def record_trip(self, trip: Trip) -> None:
        """Write down that the breaker took a version out of traffic, and end its release."""
        async with self._plane.write() as tx:
            await takeaway.trip(self._plane, tx, trip.version, reason=trip.reason)

    def control_app(self, flush: Flush) -> ASGIApp:
        """The admin app."""
        return admin_app(self._plane, self._runtime, flush)

    async def run_leader(self) -> None:
        """Lead whenever the lease allows; runs until cancelled."""
        settings = self._plane.settings
        notifiers = build_notifiers(settings.notifications)
        secret = settings.prefect.auth_string
        auth = secret.get_secret_value() if secret is not None else None
        async with PrefectApi(settings.prefect.api_url, auth_string=auth) as api:

            def side_jobs(plane: Plane) -> tuple[SideJob, ...]:
                delivery = Delivery(StoreOutbox(plane), notifiers, plane.clock)
                if not settings.prefect.enabled:
                    return (delivery.run_once,)
                return delivery.run_once, Reconciler(plane, api).run_once

            await Leader(self._plane, self._worker_id, side_jobs).run()

    async def close(self) -> None:
        """Say goodbye to the store."""
        try:
            await workers.leave(self._plane, self._worker_id)
        finally:
            await self._plane.database.close()


def control_plane(settings: Settings, data_dir: Path, runtime: Runtime) -> StoreControlPlane:
    """The control plane of one worker; the store is opened at its first use."""
    database = Database(data_dir, settings.store_url)
    plane = Plane(database, runtime.brake, runtime.clock, settings)
    log_watch = LogWatch(database, data_dir, runtime.clock)
    return StoreControlPlane(plane, runtime, new_id("worker"), log_watch)


async def set_up(settings: Settings, data_dir: Path, *, given_key: str | None) -> str | None:
    """Make data directory, store, first version and admin key; returns a key made just now.

    Run once, before there are workers. Raises SettingsError; where the store is away and there is
    a last good snapshot, the relay starts without it. StoreLost or StoreUnavailable otherwise.
    """
    prepare_data_dir(data_dir)
    brake = Brake.open(data_dir / "brake")
    database = Database(data_dir, settings.store_url)
    try:
        plane = Plane(database, brake, SystemClock(), settings)
        made = await first_start(plane, data_dir, given_key=given_key)
    except StoreError as error:
        if snapshot_file.load(data_dir) is None:
            raise
        _log.error("starting without the control store, with stable alone: %s", error)
        return None
    else:
        if await settings_drift(plane):
            _log.warning(
                "models in grayscale.yaml differ from version %s, which stays as it is; make them "
                "a version to release them",
                FIRST_VERSION,
            )
        return made
    finally:
        await database.close()
        brake.close()
