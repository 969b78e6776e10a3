"""When the children are ready, asked over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx

_LOOK_SECONDS = 0.1
_RELAY_SECONDS = 60.0
_ANSWER_SECONDS = 1.0  # a relay that is starting does not refuse: the connection waits
_WORKER_FILTER = {"workers": {"status": {"any_": ["ONLINE"]}}}
_LAST_DEPLOYED = "nightly-canary/nightly"


async def relay_is_ready(origin: str, *, still_running: Callable[[], None]) -> None:
    """Wait until the relay serves; raises what `still_running` raises, or TimeoutError."""
    async with (
        asyncio.timeout(_RELAY_SECONDS),
        httpx.AsyncClient(trust_env=False, timeout=_ANSWER_SECONDS) as http,
    ):
        while not await _good(http, "GET", f"{origin}/readyz"):
            still_running()
            await asyncio.sleep(_LOOK_SECONDS)


async def prefect_is_ready(origin: str, *, still_running: Callable[[], None]) -> None:
    """Wait until everything is deployed and a worker is there to run it."""
    deployed = f"{origin}/api/deployments/name/{_LAST_DEPLOYED}"
    workers = f"{origin}/api/work_pools/grayscale/workers/filter"
    async with httpx.AsyncClient(trust_env=False) as http:
        while not (await _good(http, "GET", deployed) and await _some(http, workers)):
            still_running()
            await asyncio.sleep(_LOOK_SECONDS)


async def _good(http: httpx.AsyncClient, method: str, url: str) -> bool:
    try:
        return (await http.request(method, url)).is_success
    except httpx.TransportError:
        return False


async def _some(http: httpx.AsyncClient, url: str) -> bool:
    try:
        answer = await http.post(url, json=_WORKER_FILTER)
        return answer.is_success and len(answer.json()) > 0
    except (httpx.TransportError, ValueError):
        return False
