"""`/v1/admin/releases/{id}/intervals`: what `explain` tells and `replay` judges again."""

from __future__ import annotations

from starlette.responses import Response

from grayscale.plane import document, intervals
from grayscale.relay.admin.context import Call, answer

_HIGHEST = 2**31 - 1


async def show(call: Call) -> Response:
    """`GET …/{id}/intervals?after=&limit=`, oldest first; `after` is an interval's number."""
    limit = call.query_number("limit", 200, low=1, high=1000)
    after = call.query_number("after", 0, low=0, high=_HIGHEST)
    async with call.plane.read() as tx:
        release = await document.load(tx, str(call.request.path_params["id"]))
        found = await intervals.listed(tx, release.id, after=after, limit=limit + 1)
    return answer({"data": found[:limit], "has_more": len(found) > limit})
