"""What a caller gets back: the one place where answers and their headers are written."""

from __future__ import annotations

import msgspec
from starlette.types import Send

from grayscale.errors import Refused
from grayscale.relay.headers import RawHeaders
from grayscale.relay.protocol import RelayProtocol
from grayscale.relay.runtime import Health

_NO_RETRY = (b"x-should-retry", b"false")
_JSON = (b"content-type", b"application/json")
_FROM_RELAY = (b"x-relay-error-source", b"relay")
_RETRY_CAN_HELP = frozenset({408, 429})


class Reply:
    """The answer to one request, from its first header to its last byte or its cut."""

    __slots__ = (
        "_connection",
        "_health",
        "_send",
        "closing",
        "config_id",
        "request_id",
        "started",
        "version",
    )

    def __init__(
        self, send: Send, connection: RelayProtocol, request_id: bytes, health: Health
    ) -> None:
        self._send = send
        self._connection = connection
        self.request_id = request_id
        self._health = health
        self.closing = False
        self.started = False
        self.version: str | None = None
        self.config_id: str | None = None

    async def whole(
        self, status: int, headers: RawHeaders, body: bytes, *, more: bool = False
    ) -> None:
        """Send a complete answer (with `more`, without ending it yet)."""
        await self.begin(status, [*headers, (b"content-length", b"%d" % len(body))])
        self._connection.unwatch_caller()
        await self._send({"type": "http.response.body", "body": body, "more_body": more})

    async def begin(self, status: int, headers: RawHeaders) -> None:
        """Send status and headers."""
        self.started = True
        own = [(b"x-request-id", self.request_id)]
        if self.version is not None:
            own.append((b"x-relay-version", self.version.encode()))
        if self.config_id is not None:
            own.append((b"x-relay-config-id", self.config_id.encode()))
        if self.closing or self._health.draining:
            own.append((b"connection", b"close"))
        await self._send(
            {"type": "http.response.start", "status": status, "headers": [*headers, *own]}
        )

    async def write(self, data: bytes) -> None:
        """Send a piece of the body; waits while the caller does not read."""
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self, data: bytes = b"") -> None:
        """Send the last piece of the body."""
        self._connection.unwatch_caller()
        await self._send({"type": "http.response.body", "body": data, "more_body": False})

    def cut(self) -> None:
        """Close the connection with the body unended, so that nobody takes it for complete."""
        self._connection.cut_answer()

    async def refuse(self, refusal: Refused, *, more: bool = False) -> None:
        """Send an error of the relay's own."""
        await self.whole(refusal.status, refusal_headers(refusal), error_body(refusal), more=more)


def refusal_headers(refusal: Refused) -> RawHeaders:
    """The headers of an error of the relay's own."""
    headers = [_JSON, _FROM_RELAY]
    headers += [(k.lower().encode(), v.encode()) for k, v in refusal.headers.items()]
    if refusal.status < 500 and refusal.status not in _RETRY_CAN_HELP:
        headers.append(_NO_RETRY)
    return headers


def error_body(refusal: Refused) -> bytes:
    """The JSON of an error."""
    return msgspec.json.encode(refusal.body())


def error_event(refusal: Refused) -> bytes:
    """The last frame of a stream that could not be finished."""
    return b"data: " + error_body(refusal) + b"\n\n"
