"""A control plane that may open late: a worker starts, and serves, while its store is away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from grayscale.errors import Refused
from grayscale.relay.control import Beat, ControlPlane
from grayscale.relay.runtime import Runtime
from grayscale.traffic.counters import Cells
from grayscale.traffic.snapshot import Snapshot


class LateControlPlane:
    """Opens the real one when it is first asked something; the errors until then pass through."""

    def __init__(self, opening: Callable[[], Awaitable[ControlPlane]], runtime: Runtime) -> None:
        self._opening = opening
        self._runtime = runtime
        self._real: ControlPlane | None = None
        self._app: ASGIApp | None = None
        self._opened = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()

    async def load_snapshot(self) -> Snapshot:
        """The newest state that requests are served by."""
        return await (await self._open()).load_snapshot()

    async def flush(self, *, cells: Cells, applied_seq: int, in_flight: Mapping[str, int]) -> Beat:
        """Write a delta of counters, and acknowledge the state that this worker runs."""
        real = await self._open()
        return await real.flush(cells=cells, applied_seq=applied_seq, in_flight=in_flight)

    def control_app(self) -> ASGIApp:
        """The real one's app once it is open; probes and a clear 503 before."""
        return self._dispatch

    async def run_leader(self) -> None:
        """Lead, once there is a store."""
        await self._opened.wait()
        await (await self._open()).run_leader()

    async def close(self) -> None:
        """Say goodbye, if there was a hello."""
        if self._real is not None:
            await self._real.close()

    async def _open(self) -> ControlPlane:
        async with self._one_at_a_time:
            if self._real is None:
                self._real = await self._opening()
                self._app = self._real.control_app()
                self._opened.set()
        return self._real

    async def _dispatch(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app or self._without_store(scope["path"])
        await app(scope, receive, send)

    def _without_store(self, path: str) -> Response:
        if path == "/healthz":
            return PlainTextResponse("ok\n")
        if path == "/readyz":
            return self._readiness()
        refusal = Refused(503, "store_unavailable", "The control store cannot be opened")
        headers = {"Retry-After": "1", "x-relay-error-source": "relay"}
        return JSONResponse(refusal.body(), status_code=503, headers=headers)

    def _readiness(self) -> Response:
        ready = self._runtime.ready
        snapshot = self._runtime.snapshot
        body = {
            "status": "degraded" if ready else "starting",
            "reasons": dict(self._runtime.health.reasons),
            "config_id": snapshot.config_id if snapshot is not None else None,
        }
        return JSONResponse(body, status_code=200 if ready else 503)
