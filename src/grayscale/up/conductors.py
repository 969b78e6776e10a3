"""Pool, deployments and worker in one process: `python -m grayscale.up.conductors`.

Importing Prefect takes seconds, so it happens once, while the server is still starting. This
module, `abandoned`, `deploying` and `prefect_server` are the only ones in the library that import
Prefect. A SIGTERM ends the process at once, by default action: a graceful worker was seen to live
on.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from pathlib import Path

import httpx
from prefect.client.orchestration import get_client
from prefect.workers.process import ProcessWorker

from grayscale.up.abandoned import give_up_abandoned
from grayscale.up.deploying import POOL, create_pool, deploy_all, read_project

_SERVER_SECONDS = 180.0
_LOOK_SECONDS = 0.2
_PREFETCH_SECONDS = 5


async def conduct(app_dir: Path, home: Path, *, limit: int | None = None) -> None:
    """Deploy once Prefect answers, then run flows until ended, at most `limit` at once."""
    project = read_project(app_dir / "prefect.yaml")
    await asyncio.wait_for(_server_is_ready(os.environ["PREFECT_API_URL"]), _SERVER_SECONDS)
    async with get_client() as client:
        await create_pool(client, working_dir=home)
        names = await deploy_all(client, project)
        abandoned = await give_up_abandoned(client, POOL)
    print(f"deployed {', '.join(names)}", flush=True)  # noqa: T201 - the log of `up`
    if abandoned:
        print(f"{abandoned} flow runs died with the last worker", flush=True)  # noqa: T201
    worker = ProcessWorker(
        work_pool_name=POOL, name="conductors", prefetch_seconds=_PREFETCH_SECONDS, limit=limit
    )
    await worker.start()


async def _server_is_ready(api_url: str) -> None:
    async with httpx.AsyncClient(trust_env=False) as http:
        while True:
            try:
                if (await http.get(f"{api_url}/ready")).is_success:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(_LOOK_SECONDS)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="grayscale.up.conductors")
    parser.add_argument("--limit", type=int, help="flow processes at once")
    app_dir, home = Path(os.environ["GRAYSCALE_APP_DIR"]), Path(os.environ["PREFECT_HOME"])
    asyncio.run(conduct(app_dir, home, limit=parser.parse_args().limit))


if __name__ == "__main__":
    main()
