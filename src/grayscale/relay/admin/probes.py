"""`/healthz`, `/readyz` and `/metrics`: for machines that watch the relay."""

from __future__ import annotations

import asyncio

from prometheus_client import generate_latest
from prometheus_client.registry import CollectorRegistry
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from grayscale.errors import GrayscaleError, StoreError
from grayscale.plane import events
from grayscale.plane.plane import Plane
from grayscale.relay.admin.context import Call, refusal, translated
from grayscale.relay.admin.exposition import Exposition
from grayscale.relay.admin.takeaways import unrecorded
from grayscale.relay.runtime import Runtime

_STORE_SECONDS = 1.0


async def healthz(_request: Request) -> Response:
    """The process answers."""
    return PlainTextResponse("ok\n")


async def readyz(request: Request) -> Response:
    """503 only when draining or not yet serving; otherwise 200, `degraded` with reasons."""
    runtime: Runtime = request.app.state.runtime
    plane: Plane = request.app.state.plane
    reasons = dict(runtime.health.reasons)
    head = None
    try:
        async with asyncio.timeout(_STORE_SECONDS), plane.read() as tx:
            head = await events.head_hash(tx)
    except StoreError as error:
        reasons["store"] = str(error)
    except TimeoutError:
        reasons["store"] = f"the control store did not answer within {_STORE_SECONDS:g} s"
    if not runtime.watched:
        reasons["watch"] = "no leader is watching: only stable is served"
    for name in unrecorded(runtime.snapshot, runtime.brake):
        reasons["brake"] = f"{name} is out of traffic, and that is not on record yet"
    status = "ok" if not reasons else "degraded"
    if not runtime.ready:
        status = "draining" if runtime.health.draining else "starting"
    snapshot = runtime.snapshot
    body = {
        "status": status,
        "reasons": reasons,
        "config_id": snapshot.config_id if snapshot else None,
        "audit_head": head,
        "in_flight": runtime.in_flight.total,
    }
    return JSONResponse(body, status_code=200 if runtime.ready else 503)


async def metrics(call: Call) -> Response:
    """Prometheus text for a key with scope `read`."""
    return await expose(call.request, call.plane)


async def expose(request: Request, plane: Plane) -> Response:
    """Prometheus text: the sum over all workers, which never falls."""
    try:
        await request.app.state.flush()
        exposition = await Exposition.read(plane)
    except GrayscaleError as error:
        return refusal(translated(error))
    registry = CollectorRegistry()
    registry.register(exposition)
    return Response(generate_latest(registry), media_type="text/plain; version=0.0.4")
