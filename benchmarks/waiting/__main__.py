"""What waiting costs: many releases that soak at once, on one machine.

    python -m benchmarks.waiting --releases 200 --database postgresql+asyncpg://…

Real: Prefect's server, worker and flow processes as `grayscale up` runs them, in a pool of `--awake`
slots, and for each release a control store, judge, lease, reconciler and admin API of its own (a
relay carries one release at a time). Left out: callers and the proxying workers; the leaders are in
this process and look every `--look-seconds`. When all sleep at once, of every ten releases one is
aborted by a person, one rolled back by the guard and one promoted by a person; the others wake
in time. Releases begin spread over a while and wake spread over another one; on a busy machine all
need more time. The exit code is 1 if the bar is not kept. docs/waiting.md has the latest run.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections import Counter
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from benchmarks.waiting.processes import Watchman, child
from benchmarks.waiting.relays import KEY, Relay, Switchboard, plan
from grayscale.prefect_api import PrefectApi
from grayscale.release.ending import RUN_ENDS_AS
from grayscale.release.phases import State
from grayscale.up.appdir import app_dir, source_dir
from grayscale.up.environment import prefect_environment
from grayscale.up.ports import Address, take
from grayscale.up.readiness import prefect_is_ready

BAR_MIB = 2000
BAR_LATE_SECONDS = 900
REPORT_SECONDS = 30
READY_SECONDS = 180
NOT_OVER = ["SCHEDULED", "PENDING", "RUNNING", "PAUSED", "CANCELLING"]


async def limit_slots(http: httpx.AsyncClient, count: int) -> None:
    """Let the pool have so many slots: a run that sleeps has to hold none."""
    answer = await http.patch("/work_pools/grayscale", json={"concurrency_limit": count})
    answer.raise_for_status()


async def runs(http: httpx.AsyncClient, kind: str, names: list[str]) -> int:
    """How many runs of releases are in states of these types or names."""
    wanted: dict[str, Any] = {"deployments": {"name": {"any_": ["on-demand"]}}}
    wanted["flow_runs"] = {"state": {kind: {"any_": names}}}
    while True:  # a Prefect that is busy is asked again
        with suppress(httpx.HTTPError):
            answer = await http.post("/flow_runs/count", json=wanted)
            return int(answer.raise_for_status().json())
        await asyncio.sleep(1)


async def until_over(
    relays: list[Relay], watchman: Watchman, http: httpx.AsyncClient
) -> tuple[int, list[float]]:
    """Report until every end is told in Prefect; how many slept at once, how late each was."""
    began, most_asleep, disturbed = time.monotonic(), 0, False
    while True:
        standings = [await relay.standing() for relay in relays]
        asleep = sum(standing.asleep for standing in standings)
        ends = Counter(str(standing.state) for standing in standings if standing.over_at)
        most_asleep = max(most_asleep, asleep)
        open_runs = await runs(http, "type", NOT_OVER)
        print(
            f"{time.monotonic() - began:6.0f} s  asleep {asleep}  awake {watchman.awake}  "
            f"{dict(ends)}  {open_runs} runs not over  {watchman.mib:.0f} MiB",
            flush=True,
        )
        if asleep == len(relays) and not disturbed:
            disturbed = True
            for relay in relays:
                await relay.disturb()
        if ends.total() == len(relays) and open_runs == 0:
            late = [(s.over_at or 0.0) - r.due_at for r, s in zip(relays, standings, strict=True)]
            return most_asleep, sorted(late)
        await asyncio.sleep(REPORT_SECONDS)


async def report(
    relays: list[Relay], watchman: Watchman, http: httpx.AsyncClient, slots: int
) -> bool:
    """Everything in one sentence; whether the bar is kept."""
    most_asleep, late = await until_over(relays, watchman, http)
    right = sum([await relay.ended_right() for relay in relays])
    rolled_back = sum(relay.deserves is State.ROLLED_BACK for relay in relays)
    told = await runs(http, "name", [RUN_ENDS_AS[State.ROLLED_BACK]])
    print(
        f"waiting: {len(relays)} releases, {most_asleep} asleep at once, at most "
        f"{watchman.most_awake} awake, {watchman.most_mib:.0f} MiB beside Prefect's server, "
        f"{late[len(late) // 2]:.0f} s late in the median and {late[-1]:.0f} s at most, "
        f"{right} ended right, {told} of {rolled_back} rollbacks told in Prefect"
    )
    counts = most_asleep == right == len(relays) and told == rolled_back
    kept = watchman.most_awake <= slots and watchman.most_mib < BAR_MIB
    return counts and kept and late[-1] <= BAR_LATE_SECONDS


async def carry_out(
    options: argparse.Namespace, folder: Path, prefect: PrefectApi, watchman: Watchman
) -> bool:
    """Begin every release and lead it to its end."""
    relays: dict[str, Relay] = {}
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(
            httpx.AsyncClient(base_url=options.prefect_api, timeout=60)
        )
        await limit_slots(http, options.awake)
        for number in range(options.releases):
            relay = Relay(number, folder / str(number), prefect)
            stack.push_async_callback(relay.close)
            closer = options.wake_within_seconds - options.begin_within_seconds
            soak_seconds = options.soak_seconds + closer * number / options.releases
            await relay.begin(plan(soak_seconds))
            relays[relay.release_id] = relay
        config = uvicorn.Config(Switchboard(relays), port=options.port, log_level="warning")
        config.lifespan = "off"
        async with asyncio.TaskGroup() as group:
            jobs = [group.create_task(uvicorn.Server(config).serve())]
            jobs += [group.create_task(watchman.watch())]
            for number, relay in enumerate(relays.values()):
                first = options.begin_within_seconds * number / len(relays)
                look = relay.lead(options.look_seconds, first_after_seconds=first)
                jobs += [group.create_task(look)]
            kept = await report(list(relays.values()), watchman, http, options.awake)
            for job in jobs:
                job.cancel()
    return kept


async def measure(options: argparse.Namespace, folder: Path, worker_pid: int) -> bool:
    """All of it, once Prefect is there; whether the bar is kept."""
    async with asyncio.timeout(READY_SECONDS):
        origin = options.prefect_api.removesuffix("/api")
        await prefect_is_ready(origin, still_running=lambda: None)
    async with PrefectApi(options.prefect_api) as prefect:
        return await carry_out(options, folder, prefect, Watchman(worker_pid))


def with_prefect(options: argparse.Namespace, folder: Path) -> bool:
    """Measure on a Prefect server of its own, with a worker of its own."""
    port = take(Address("127.0.0.1", 0), flag="--port").port
    paths = [app_dir(), source_dir()]
    env = prefect_environment(os.environ, home=folder, port=port, paths=paths)
    if options.database is not None:
        env["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = options.database
    env |= {
        "GRAYSCALE_URL": f"http://127.0.0.1:{options.port}/v1",
        "GRAYSCALE_API_KEY": KEY,
        "GRAYSCALE_APP_DIR": str(app_dir()),
    }
    options.prefect_api = env["PREFECT_API_URL"]
    app = ("--factory", "grayscale.up.prefect_server:create_app", "--port", str(port))
    server = ("uvicorn", *app, "--timeout-keep-alive", "30", "--log-level", "warning")
    worker_of_up = ("grayscale.up.conductors", "--limit", str(options.awake))
    with (
        child(*server, env=env, cwd=folder),
        child(*worker_of_up, env=env, cwd=folder) as worker,
    ):
        return asyncio.run(measure(options, folder, worker.pid))


def main() -> None:
    """Measure; exit code 1 if the bar is not kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--releases", type=int, default=200)
    parser.add_argument("--begin-within-seconds", type=float, default=900.0)
    parser.add_argument("--soak-seconds", type=float, default=1200.0, help="of the first release")
    parser.add_argument("--wake-within-seconds", type=float, default=600.0)
    parser.add_argument("--awake", type=int, default=4, help="the slots of Prefect's work pool")
    parser.add_argument("--look-seconds", type=float, default=30.0)
    parser.add_argument("--port", type=int, default=18740)
    parser.add_argument("--database", help="Prefect's, empty: postgresql+asyncpg://… (or SQLite)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        kept = with_prefect(options, Path(folder))
    sys.exit(0 if kept else 1)


if __name__ == "__main__":
    main()
