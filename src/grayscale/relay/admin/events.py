"""`/v1/admin/events`: everything that happened, as a list or as a stream."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

from starlette.responses import Response, StreamingResponse

from grayscale.plane import events
from grayscale.relay.admin.context import Call, answer

_POLL_SECONDS = 0.5


async def show(call: Call) -> Response:
    """`GET /admin/events?after=&limit=`; SSE with `Accept: text/event-stream`."""
    limit = call.query_number("limit", 100, low=1, high=1000)
    after = call.request.query_params.get("after") or call.request.headers.get("last-event-id")
    async with call.plane.read() as tx:
        start = await events.seq_of(tx, after) if after else 0
        found = await events.listed(tx, after=start, limit=limit + 1)
    if "text/event-stream" in call.request.headers.get("accept", ""):
        return StreamingResponse(_stream(call, start), media_type="text/event-stream")
    data = [envelope for _, envelope in found[:limit]]
    return answer({"data": data, "has_more": len(found) > limit})


async def audit(call: Call) -> Response:
    """`GET /admin/audit?after=&limit=`: the log's records with their hashes, to be verified."""
    limit = call.query_number("limit", 500, low=1, high=1000)
    after = call.query_number("after", 0, low=0, high=2**53)
    async with call.plane.read() as tx:
        found = await events.chained(tx, after=after, limit=limit + 1)
    return answer({"data": found[:limit], "has_more": len(found) > limit})


async def _stream(call: Call, start: int) -> AsyncIterator[str]:
    seq = start
    while not await call.request.is_disconnected():
        async with call.plane.read() as tx:
            found = await events.listed(tx, after=seq)
        for number, envelope in found:
            seq = number
            yield f"id: {envelope['id']}\nevent: {envelope['type']}\ndata: {json.dumps(envelope)}\n\n"
        await asyncio.sleep(_POLL_SECONDS)
