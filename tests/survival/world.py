"""A whole Grayscale in one event loop and virtual time: store, leaders, a worker, Prefect, people.

Real: the control plane on its real tables (SQLite in memory), the admin application, the leader
with all that it does, the judge, the notices' delivery, and the conductor
(tests.survival.conductor). Stood in for: the relay worker's proxying (it counts made-up
requests and acknowledges splits), Prefect's server, the receivers of notices, people.
"""

import asyncio
import mmap
import random
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import httpx

from grayscale.errors import StoreError
from grayscale.notices.delivery import Delivery
from grayscale.notices.seam import Notice, NoticeError
from grayscale.plan import Plan, plan_from_mapping
from grayscale.plan.parts import AnswerGates
from grayscale.plane import configs, releases, snapshots, workers
from grayscale.plane.actor import Actor
from grayscale.plane.bootstrap import first_start
from grayscale.plane.plane import Plane
from grayscale.relay.admin.app import admin_app
from grayscale.relay.brake import PAGE_BYTES, Brake
from grayscale.relay.leader.leader import SideJob
from grayscale.relay.leader.outbox import StoreOutbox
from grayscale.relay.leader.reconciler import Reconciler
from grayscale.relay.runtime import Runtime
from grayscale.settings import Settings, settings_from
from grayscale.testing.clock import FakeClock
from grayscale.traffic.counters import Cell, CellKey, Cells
from grayscale.traffic.snapshot import Snapshot
from tests.survival.conductor import Conductor
from tests.survival.invariants import Witness
from tests.survival.leading import Heeded, StruckLeader
from tests.survival.prefect import MemoryPrefect, Run
from tests.survival.processes import Effects, Lost, Process
from tests.survival.store import MemoryDatabase, at_once, empty_store
from tests.survival.virtual import VirtualClock
from tests.survival.wire import KEY, Wire, answered

ANN = Actor("ann")
LOOK_SECONDS = 4.8  # what moves less often than every 5 s is dead
_PUSH_SECONDS = 0.1
CANDIDATE, STABLE = "v2", "v1"
_PLAN: dict[str, Any] = {
    "version_name": CANDIDATE,
    "config_overrides": {"models": {"gpt-4.1": {"model": "gpt-4.1-2026"}}},
    "auto_promote": {"promotion_steps": [10, 100], "step_duration_seconds": 10},
    "approval": {"before_steps": [100], "timeout_minutes": 60},
    "bake": {"duration_seconds": 5},
    "judge": {
        "interval_seconds": LOOK_SECONDS,
        "max_extensions": 1,
        "gates": dict.fromkeys(AnswerGates.model_fields, False),  # answers are only counted here
    },
}


@cache
def _settings() -> Settings:
    return settings_from(
        {
            "upstreams": {"main": {"base_url": "http://127.0.0.1:9"}},
            "models": {"gpt-4.1": {"upstream": "main", "model": "gpt-4.1-2025-04-14"}},
            "notifications": {"webhook": {"url": "https://example.org/hook", "secret": "s" * 32}},
        },
        source="test",
    )


@cache
def _begun() -> tuple[sqlite3.Connection, Snapshot]:
    """A store in which a relay has begun, and its first picture: once for all worlds."""
    store = MemoryDatabase(empty_store())
    plane = Plane(store, Brake(mmap.mmap(-1, PAGE_BYTES)), FakeClock(), _settings())
    at_once(first_start(plane, Path("/nowhere"), given_key=KEY))
    store.keep()
    return store.connection, at_once(snapshots.load(plane))


class Inbox:
    """Where notices arrive; `told` are event ids, in order."""

    def __init__(self, effects: Effects) -> None:
        self._effects = effects
        self.told: list[str] = []

    async def send(self, *, notice: Notice) -> None:
        """A notice arrives."""

        async def arrive() -> None:
            self.told.append(notice.event_id)

        try:
            await self._effects.carry_out(f"notice {notice.type}", arrive)
        except Lost as lost:
            raise NoticeError(str(lost)) from lost


@dataclass(slots=True)
class Traffic:
    """What the worker counts per look: requests, and which share of the candidate's fail."""

    requests: int = 600
    sick_share: float = 0.0

    def cells(self, config: configs.Config) -> Cells:
        """A look's requests, split as the config says."""
        found: Cells = {}
        for name, weight in config.weights.items():
            count = round(self.requests * weight / 100)
            failed = round(count * self.sick_share) if name == CANDIDATE else 0
            if count:
                key = CellKey(config.config_id, name, "gpt-4.1", "main", "weighted", stream=False)
                found[key] = Cell(
                    started=count, ok=count - failed, upstream_error=failed,
                    latency={80: count - failed},
                )  # fmt: skip
        return found


class World:
    """One release from its creation to its end; `effects` say what befalls whom."""

    def __init__(
        self,
        effects: Effects,
        traffic: Traffic,
        database: Callable[[sqlite3.Connection], MemoryDatabase] = MemoryDatabase,
    ) -> None:
        self.effects = effects
        self.traffic = traffic
        self.clock = VirtualClock()
        begun, self._picture = _begun()
        self.store = database(begun)
        self.brake = Brake(mmap.mmap(-1, PAGE_BYTES))
        self.plane = Plane(self.store, self.brake, self.clock, _settings())
        self.prefect = MemoryPrefect(self.effects, self._conduct)
        self.inbox = Inbox(self.effects)
        self.witness = Witness(self.store)
        self.release_id = ""
        self._app: Any = None
        self.relay: dict[str, Process] = {}
        self.unforeseen: list[str] = []
        self._pushed = asyncio.Event()

    async def begin(self, plan: Plan | None = None) -> None:
        """A relay with two workers that may lead, and a release on record."""
        runtime = Runtime(self.plane.settings, self.brake, self.clock)
        runtime.install(self._picture)
        self._app = admin_app(self.plane, runtime, _nothing)
        self.store.committed = self._committed
        async with self.plane.write() as tx:
            release = await releases.create(self.plane, tx, plan or plan_of(), actor=ANN)
        self.release_id = release.id
        for name in ("leader-a", "leader-b", "worker"):
            self.restart(name)

    @property
    def release(self) -> dict[str, Any]:
        """The release as the store holds it."""
        scene = self.witness.before
        assert scene is not None
        return scene.releases[self.release_id]

    @property
    def told(self) -> bool:
        """Whether every notice has arrived."""
        return not self.store.sql("SELECT 1 FROM outbox WHERE state = 'pending'")

    def _committed(self) -> None:
        splits = len(self.witness.history)
        self.witness.look()
        if len(self.witness.history) > splits:
            self._pushed.set()

    def restart(self, name: str) -> None:
        """A process of the relay begins, again or for the first time."""
        process = Process(name)
        self.relay[name] = process
        main = self._work() if name == "worker" else self._lead(name)
        process.start(main).add_done_callback(self._look_at_end)

    def _look_at_end(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self.unforeseen.append(f"{task.get_name()}: {task.exception()!r}")

    async def api(self, method: str, path: str, body: dict[str, Any]) -> httpx.Response:
        """What a person does to releases over the admin API."""
        return await answered(self._app, method, f"/admin/releases/{path}", body)

    async def stop(self) -> None:
        """Everything ends."""
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.sleep(0)

    # ---------------------------------------------------------------- who lives in it

    async def _conduct(self, run: Run) -> str:
        wire = Wire(self._app, self.effects, self.witness)
        return await Conductor(run, self.prefect, wire).main()

    async def _lead(self, name: str) -> None:
        await StruckLeader(self.plane, name, self._jobs, self.effects, LOOK_SECONDS).run()

    def _jobs(self, plane: Plane) -> tuple[SideJob, ...]:
        delivery = Delivery(
            StoreOutbox(plane), {"webhook": self.inbox}, self.clock, jitter=random.Random(0)
        )
        jobs = (delivery.run_once, Reconciler(plane, self.prefect).run_once)
        return tuple(Heeded(job, self.unforeseen.append) for job in jobs)

    async def _work(self) -> None:
        """A relay worker: it runs the newest state that it has heard of, and counts."""
        cells: Cells = {}
        config: configs.Config | None = None
        heard = 0
        while True:
            with suppress(StoreError):  # as the real one: it goes on with what it knows
                if config is None or self._pushed.is_set():
                    async with self.plane.read() as tx:
                        config = await configs.current(tx)
                    self._pushed.clear()
                beat = await workers.flush(
                    self.plane, worker_id="worker", pid=1, applied_seq=config.state_seq,
                    cells=cells, in_flight={},
                )  # fmt: skip
                cells = self.traffic.cells(config)
                if beat.config_seq > heard:
                    heard = beat.config_seq
                    self._pushed.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._pushed.wait()
            await self.clock.sleep(_PUSH_SECONDS)


def plan_of(**changes: Any) -> Plan:
    """A ramp of two steps of some seconds, with a person's approval between them, and a bake."""
    return plan_from_mapping({**_PLAN, **changes})


async def _nothing() -> None:
    return None
