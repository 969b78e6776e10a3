"""Releases with all that a relay does for them, but for the callers, in one process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from starlette.types import Receive, Scope, Send

from grayscale.clock import SystemClock
from grayscale.plan import Plan, plan_from_mapping
from grayscale.plane import configs, document, people, releases, snapshots, takeaway, workers
from grayscale.plane.actor import GUARD, Actor
from grayscale.plane.bootstrap import first_start, prepare_data_dir
from grayscale.plane.plane import Plane
from grayscale.prefect_api import PrefectApi
from grayscale.relay.admin.app import admin_app
from grayscale.relay.brake import Brake
from grayscale.relay.leader.reconciler import Reconciler
from grayscale.relay.leader.watch import Watcher
from grayscale.relay.runtime import Runtime
from grayscale.release.phases import State
from grayscale.release.sleeping import is_asleep
from grayscale.settings import settings_from
from grayscale.store import schema
from grayscale.store.database import Database

KEY = "gs_waiting_0123456789abcdefghijklmnopqrst"
SETTINGS = {
    "upstreams": {"main": {"base_url": "http://127.0.0.1:9"}},
    "models": {"gpt-4.1": {"upstream": "main", "model": "gpt-4.1-2025-04-14"}},
}
EXPIRED = select(func.count()).where(schema.events.c.type == "lease.expired")
ANN = Actor("ann")


def plan(soak_seconds: float) -> Plan:
    """One step, then promotion: without callers there is nothing to judge."""
    return plan_from_mapping(
        {
            "version_name": "v2",
            "config_overrides": {"parameters": {"temperature": 0.2}},
            "health_check": {"enabled": False},
            "auto_promote": {"promotion_steps": [100], "step_duration_seconds": soak_seconds},
            "bake": {"duration_seconds": 0},
            "lease": {"sleep_above_seconds": min(120.0, soak_seconds / 2)},
        }
    )


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a release is: its state, whether its conductor sleeps, when it was over."""

    state: State
    asleep: bool
    over_at: float | None


class Relay:
    """One release with all that a relay does for it, but for the callers."""

    def __init__(self, number: int, data_dir: Path, prefect: PrefectApi) -> None:
        prepare_data_dir(data_dir)
        self._number = number
        self._data_dir = data_dir
        self._brake = Brake.open(data_dir / "brake")
        settings = settings_from(SETTINGS, source="the benchmark")
        self.plane = Plane(Database(data_dir, None), self._brake, SystemClock(), settings)
        self._watcher = Watcher(self.plane)
        self._reconciler = Reconciler(self.plane, prefect)
        self.app: Any = None
        self.release_id = ""
        self.due_at = 0.0
        self.deserves = State.PROMOTED

    async def begin(self, the_plan: Plan) -> None:
        """The store, the admin API, and a release on record."""
        await first_start(self.plane, self._data_dir, given_key=KEY)
        runtime = Runtime(self.plane.settings, self._brake, self.plane.clock)
        runtime.install(await snapshots.load(self.plane))
        self.app = admin_app(self.plane, runtime, self.flush)
        async with self.plane.write() as tx:
            made = await releases.create(self.plane, tx, the_plan, actor=ANN)
        self.release_id = made.id

    async def flush(self) -> None:
        """The sign of life of a worker that runs what is in force."""
        async with self.plane.read() as tx:
            seq = (await configs.current(tx)).state_seq
        await workers.flush(
            self.plane, worker_id="w", pid=1, applied_seq=seq, cells={}, in_flight={}
        )

    async def lead(self, look_seconds: float, *, first_after_seconds: float) -> None:
        """Look every so many seconds, until cancelled."""
        await asyncio.sleep(first_after_seconds)
        while True:
            await self.look()
            await self._reconciler.run_once()
            await asyncio.sleep(look_seconds)

    async def look(self) -> None:
        """The leader's look at soak, lease and deadlines."""
        await self.flush()
        async with self.plane.write() as tx:
            await self._watcher.tick(tx)

    async def standing(self) -> Standing:
        """Where the release is; remembers when its next run is due."""
        async with self.plane.read() as tx:
            found = await document.load(tx, self.release_id)
            record = await releases.record(self.plane, tx, found)
        asleep = is_asleep(record)
        if asleep and record.conductor.asleep_until is not None:
            self.due_at = timestamp(record.conductor.asleep_until)
        over_at = timestamp(record.finished_at) if record.finished_at is not None else None
        return Standing(record.state, asleep, over_at)

    async def disturb(self) -> None:
        """What happens to some of the releases while their conductors sleep."""
        async with self.plane.write() as tx:
            found = await document.load(tx, self.release_id)
            match self._number % 10:
                case 3:
                    await people.abort(self.plane, tx, found, actor=ANN, note="enough")
                    self.deserves = State.ROLLED_BACK
                case 6:
                    await takeaway.roll_back(
                        self.plane, tx, found, actor=GUARD, reason="7 % failed", cause="candidate"
                    )
                    self.deserves = State.ROLLED_BACK
                case 9:
                    await people.promote(self.plane, tx, found, actor=ANN, full=True, note="now")
                case _:
                    return
        self.due_at = time.time()

    async def ended_right(self) -> bool:
        """The end it deserves, the traffic where that puts it, and never at stable in between."""
        state = (await self.standing()).state
        async with self.plane.read() as tx:
            config = await configs.current(tx)
            expired = await tx.one(EXPIRED)
        at_v2 = config.stable == "v2" and config.weights == {"v2": 100.0}
        gone = config.stable != "v2" and not config.weights.get("v2")
        placed = at_v2 if self.deserves is State.PROMOTED else gone
        never = expired is not None and next(iter(expired.values())) == 0
        return state is self.deserves and placed and never

    async def close(self) -> None:
        """Let go of store and brake page."""
        await self.plane.database.close()
        self._brake.close()


class Switchboard:
    """One address for all relays: a call goes to the relay of the release that it names."""

    def __init__(self, relays: Mapping[str, Relay]) -> None:
        self._relays = relays

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            relay = self._relays[scope["path"].split("/")[4]]
            changes = scope["method"] == "POST"
            if changes:  # a leader that looks each second would have counted the time till now
                await relay.look()
            await relay.app(scope, receive, send)
            if changes:  # and a worker would report within a second that it runs the change
                await relay.flush()


def timestamp(text: str) -> float:
    """Seconds since 1970."""
    return datetime.fromisoformat(text).timestamp()
