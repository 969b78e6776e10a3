"""`GET /v1/models` in OpenAI's shape."""

from __future__ import annotations

import msgspec

from grayscale.relay.arrival import Arrival
from grayscale.relay.reply import Reply
from grayscale.relay.routing import Routing
from grayscale.traffic.snapshot import Key

_HEADERS = [(b"content-type", b"application/json")]


async def list_models(routing: Routing, key: Key, arrival: Arrival, reply: Reply) -> None:
    """The models of the version that this caller would get, as far as his key allows."""
    version, routes = routing.models(arrival.pinned)
    created = int(version.created_at.timestamp()) if version.created_at is not None else 0
    data = [
        {"id": name, "object": "model", "created": created, "owned_by": route.target.name}
        for name, route in sorted(routes.items())
        if key.models is None or route.model in key.models
    ]
    reply.version = version.name
    reply.config_id = routing.snapshot.config_id
    body = msgspec.json.encode({"object": "list", "data": data})
    await reply.whole(200, _HEADERS, body)
