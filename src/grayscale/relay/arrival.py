"""A proxied request as it arrives: the headers that the relay reads, and the body's bytes."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.types import Receive, Scope

from grayscale.errors import Refused
from grayscale.relay.headers import RawHeaders, request_id_of
from grayscale.relay.watch import Cause, Interrupted, Watch
from grayscale.settings import Limits

_READ = frozenset(
    {
        b"content-encoding",
        b"content-length",
        b"transfer-encoding",
        b"x-relay-sticky-key",
        b"x-relay-version",
        b"x-request-id",
    }
)
_SMALL_BYTES = 64 * 1024
_LINGER_SECONDS = 1.0
_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Arrival:
    """The head of a request; `received` is in seconds of a monotonic clock."""

    headers: RawHeaders
    request_id: bytes
    received: float
    pinned: str | None
    sticky_key: str | None
    content_encoding: bytes | None
    content_length: int | None
    has_body: bool


def read_head(scope: Scope, received: float) -> Arrival:
    """The head in an ASGI scope."""
    headers: RawHeaders = scope["headers"]
    read: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in _READ:
            read.setdefault(name, value)
    declared = read.get(b"content-length")
    return Arrival(
        headers=headers,
        request_id=request_id_of(read.get(b"x-request-id")),
        received=received,
        pinned=_text(read.get(b"x-relay-version")),
        sticky_key=_text(read.get(b"x-relay-sticky-key")),
        content_encoding=read.get(b"content-encoding"),
        content_length=int(declared) if declared is not None else None,
        has_body=declared not in {None, b"0"} or b"transfer-encoding" in read,
    )


def _text(value: bytes | None) -> str | None:
    return value.decode("latin-1").strip() or None if value is not None else None


class Intake:
    """A request's body on its way in, never more of it than the limit."""

    def __init__(self, receive: Receive, arrival: Arrival, limits: Limits, watch: Watch) -> None:
        self._receive = receive
        self._arrival = arrival
        self._limits = limits
        self._watch = watch
        self.finished = not arrival.has_body

    async def read(self) -> bytes:
        """The whole body; raises Refused (408, 413, 415), or Interrupted if the caller leaves."""
        most = int(self._limits.body_mib * _MIB)
        encoding = self._arrival.content_encoding
        if encoding is not None and encoding.lower() != b"identity":
            raise Refused(415, "unsupported_encoding", "Send the body without Content-Encoding")
        if self._arrival.content_length is not None and self._arrival.content_length > most:
            raise self._too_large()
        self._watch.expect(Cause.BODY, self._limits.body_seconds)
        pieces: list[bytes] = []
        size = 0
        while not self.finished:
            piece = await self._next()
            size += len(piece)
            if size > most:
                raise self._too_large()
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def discard_small(self) -> None:
        """Read a small body that nobody wants, so that its connection can be used again."""
        length = self._arrival.content_length
        if self.finished or length is None or length > _SMALL_BYTES:
            return
        await self._discard()

    async def linger(self) -> None:
        """Let a caller who is still sending read the answer: closing at once would reset it."""
        if not self.finished:
            await self._discard()

    async def _discard(self) -> None:
        self._watch.expect(Cause.BODY, _LINGER_SECONDS)
        try:
            with self._watch:
                while not self.finished:
                    await self._next()
        except Interrupted:
            return

    async def _next(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self.finished = True
            raise Interrupted(Cause.CALLER_GONE)
        self.finished = not message.get("more_body", False)
        body: bytes = message.get("body", b"")
        return body

    def _too_large(self) -> Refused:
        message = f"The body is larger than {self._limits.body_mib:g} MiB, the most that is read"
        return Refused(413, "body_too_large", message)
