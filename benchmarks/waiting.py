"""What waiting costs: many releases that soak at once, on one machine.

    python -m benchmarks.waiting --releases 200 --soak-seconds 600

Real: a Prefect server (SQLite), the flows with their tasks, and for each release a control store,
judge, lease, reconciler and admin API of its own (a relay carries one release at a time). Left
out: callers, the proxying workers, and process starts: the flows run in this process, at most
`--awake` at once, so that its memory is that of all that waits. Two hundred leaders in one process
look every `--look-seconds` each.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import Pause, PrefectException
from prefect.flow_engine import run_flow_async
from prefect.testing.utilities import prefect_test_harness
from starlette.types import Receive, Scope, Send

from flows.release import release
from grayscale.clock import SystemClock
from grayscale.plan import Plan, plan_from_mapping
from grayscale.plane import configs, document, releases, snapshots, workers
from grayscale.plane.actor import Actor
from grayscale.plane.bootstrap import first_start, prepare_data_dir
from grayscale.plane.plane import Plane
from grayscale.prefect_api import PrefectApi
from grayscale.relay.admin.app import admin_app
from grayscale.relay.brake import Brake
from grayscale.relay.leader.reconciler import Reconciler
from grayscale.relay.leader.watch import Watcher
from grayscale.relay.runtime import Runtime
from grayscale.release.sleeping import is_asleep
from grayscale.settings import settings_from
from grayscale.store.database import Database

KEY = "gs_waiting_0123456789abcdefghijklmnopqrst"
SETTINGS = {
    "upstreams": {"main": {"base_url": "http://127.0.0.1:9"}},
    "models": {"gpt-4.1": {"upstream": "main", "model": "gpt-4.1-2025-04-14"}},
}


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


class Relay:
    """One release with all that a relay does for it, but for the callers."""

    def __init__(self, data_dir: Path, prefect: PrefectApi) -> None:
        prepare_data_dir(data_dir)
        self._data_dir = data_dir
        self._brake = Brake.open(data_dir / "brake")
        settings = settings_from(SETTINGS, source="the benchmark")
        self.plane = Plane(Database(data_dir, None), self._brake, SystemClock(), settings)
        self._watcher = Watcher(self.plane)
        self._reconciler = Reconciler(self.plane, prefect)
        self.app: Any = None
        self.release_id = ""

    async def begin(self, the_plan: Plan) -> None:
        """The store, the admin API, and a release on record."""
        await first_start(self.plane, self._data_dir, given_key=KEY)
        runtime = Runtime(self.plane.settings, self._brake, self.plane.clock)
        runtime.install(await snapshots.load(self.plane))
        self.app = admin_app(self.plane, runtime, self.flush)
        async with self.plane.write() as tx:
            made = await releases.create(self.plane, tx, the_plan, actor=Actor("bench"))
        self.release_id = made.id

    async def flush(self) -> None:
        """The sign of life of a worker that runs what is in force."""
        async with self.plane.read() as tx:
            seq = (await configs.current(tx)).state_seq
        await workers.flush(
            self.plane, worker_id="w", pid=1, applied_seq=seq, cells={}, in_flight={}
        )

    async def lead(self, look_seconds: float) -> None:
        """Look every so many seconds, until cancelled."""
        while True:
            await self.flush()
            async with self.plane.write() as tx:
                await self._watcher.tick(tx)
            await self._reconciler.run_once()
            await asyncio.sleep(look_seconds)

    async def standing(self) -> tuple[str, bool]:
        """The release's state, and whether its conductor sleeps."""
        async with self.plane.read() as tx:
            found = await document.load(tx, self.release_id)
            record = await releases.record(self.plane, tx, found)
        return record.state, is_asleep(record)

    async def close(self) -> None:
        """Let go of store and brake page."""
        await self.plane.database.close()
        self._brake.close()


class Switchboard:
    """One address for all relays: a call goes to the relay of the release that it names."""

    def __init__(self, relays: dict[str, Relay]) -> None:
        self._relays = relays

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._relays[scope["path"].split("/")[4]].app(scope, receive, send)


@dataclass(slots=True)
class Conductors:
    """Takes up the runs that the reconcilers create, a few at once."""

    awake: int
    most_awake: int = 0
    waited_seconds: list[float] = field(default_factory=list)
    _running: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    async def work(self) -> None:
        """Until cancelled; a Prefect that is busy with its SQLite file is asked again."""
        async with get_client() as prefect:
            while True:
                with suppress(PrefectException, httpx.HTTPError):
                    await self._take_up(prefect)
                await asyncio.sleep(0.5)

    async def _take_up(self, prefect: PrefectClient) -> None:
        self._running = {i: t for i, t in self._running.items() if not t.done()}
        scheduled = FlowRunFilter.model_validate({"state": {"type": {"any_": ["SCHEDULED"]}}})
        for run in await prefect.read_flow_runs(flow_run_filter=scheduled, limit=50):
            if len(self._running) < self.awake and str(run.id) not in self._running:
                self._start(run)
        self.most_awake = max(self.most_awake, len(self._running))

    def _start(self, run: FlowRun) -> None:
        if run.state is not None and run.state.type is StateType.SCHEDULED:
            self.waited_seconds.append(time.time() - run.state.timestamp.timestamp())
        self._running[str(run.id)] = asyncio.create_task(self._conduct(run))

    async def _conduct(self, run: FlowRun) -> None:
        with suppress(Pause):  # how a conductor leaves that goes to sleep
            await run_flow_async(
                release, flow_run=run, parameters=run.parameters, return_type="state"
            )


def resident_mib(pid: int) -> float:
    """A process's resident memory."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def children() -> Iterator[int]:
    """The processes below this one: Prefect's server."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if stat.read_text().rpartition(")")[2].split()[1] == str(os.getpid()):
                yield int(stat.parent.name)


async def deploy() -> str:
    """The flow as the reconcilers know it; returns the URL of Prefect's API."""
    async with get_client() as prefect:
        await prefect.create_deployment(await prefect.create_flow(release), name="on-demand")
        return str(prefect.api_url)


async def until_over(relays: list[Relay], conductors: Conductors) -> None:
    """Report until every release has ended."""
    began, most_asleep, most_mib = time.monotonic(), 0, 0.0
    while True:
        standings = [await relay.standing() for relay in relays]
        asleep = sum(sleeps for _, sleeps in standings)
        ends = [state for state, _ in standings if state == "promoted"]
        most_asleep, most_mib = max(most_asleep, asleep), max(most_mib, resident_mib(os.getpid()))
        print(
            f"{time.monotonic() - began:6.0f} s  asleep {asleep}  promoted {len(ends)}  "
            f"this process {resident_mib(os.getpid()):.0f} MiB",
            flush=True,
        )
        if len(ends) == len(relays):
            break
        await asyncio.sleep(10)
    server_mib = sum(resident_mib(pid) for pid in children())
    waited = sorted(conductors.waited_seconds)
    print(
        f"waiting: {len(relays)} releases, {most_asleep} asleep at once, at most "
        f"{conductors.most_awake} awake, {most_mib:.0f} MiB beside Prefect's {server_mib:.0f} MiB, "
        f"a called run waited {waited[len(waited) // 2]:.0f} s in the median and {waited[-1]:.0f} s "
        f"at most, {len(ends)} promoted"
    )


async def measure(options: argparse.Namespace, data_dir: Path) -> None:
    """All of it, on a Prefect server that is there."""
    relays: dict[str, Relay] = {}
    async with AsyncExitStack() as stack:
        prefect = await stack.enter_async_context(PrefectApi(await deploy()))
        for number in range(options.releases):
            relay = Relay(data_dir / str(number), prefect)
            stack.push_async_callback(relay.close)
            await relay.begin(plan(options.soak_seconds))
            relays[relay.release_id] = relay
        config = uvicorn.Config(Switchboard(relays), port=options.port, log_level="warning")
        config.lifespan = "off"
        server, conductors = uvicorn.Server(config), Conductors(options.awake)
        os.environ["GRAYSCALE_URL"] = f"http://127.0.0.1:{options.port}/v1"
        os.environ["GRAYSCALE_API_KEY"] = KEY
        jobs = [asyncio.create_task(server.serve()), asyncio.create_task(conductors.work())]
        jobs += [asyncio.create_task(relay.lead(options.look_seconds)) for relay in relays.values()]
        try:
            await until_over(list(relays.values()), conductors)
        finally:
            for job in jobs:
                job.cancel()
            await asyncio.gather(*jobs, return_exceptions=True)


def main() -> None:
    """Measure, on a Prefect server of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--releases", type=int, default=200)
    parser.add_argument("--soak-seconds", type=float, default=600.0)
    parser.add_argument("--awake", type=int, default=4, help="conductors that may run at once")
    parser.add_argument("--look-seconds", type=float, default=20.0)
    parser.add_argument("--port", type=int, default=18740)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, prefect_test_harness(server_startup_timeout=150):
        asyncio.run(measure(options, Path(folder)))


if __name__ == "__main__":
    main()
