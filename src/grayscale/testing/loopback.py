"""A small HTTP/1.1 server on loopback with a hand on the socket.

The test servers must be able to cut an answer anywhere, which ASGI does not offer; and the demo's
upstreams must cost little beside the relay that they load.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Self, cast

import httptools
import msgspec

HOST = "127.0.0.1"
_LOG = logging.getLogger(__name__)
_REASONS = {status.value: status.phrase for status in HTTPStatus}


@dataclass(frozen=True, slots=True)
class Request:
    """A whole request as it came; header names in lower case, in order, repeats kept."""

    method: str
    path: str
    query: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """The first header of that name."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key == wanted), None)


class Exchange:
    """One request and its way back: an answer, a stream, or a closed socket."""

    def __init__(self, request: Request, connection: _Connection, *, keep_alive: bool) -> None:
        self.request = request
        self.status: int | None = None
        self.finished = False
        self.keep_alive = keep_alive
        self._connection = connection

    def answer(
        self, status: int, body: bytes, *, headers: Mapping[str, str], claim_bytes: int = 0
    ) -> None:
        """Send everything at once; `claim_bytes` promises more than follows, to be cut."""
        length = claim_bytes or len(body)
        self._connection.write(self._head(status, headers, f"content-length: {length}") + body)
        self.finished = length == len(body)

    def answer_json(
        self, status: int, value: object, *, headers: Mapping[str, str] | None = None
    ) -> None:
        """Send a value as JSON."""
        all_headers = {"content-type": "application/json", **(headers or {})}
        self.answer(status, msgspec.json.encode(value), headers=all_headers)

    def begin_stream(self, *, headers: Mapping[str, str]) -> None:
        """Send the head of a 200 whose body follows in chunks."""
        self._connection.write(self._head(200, headers, "transfer-encoding: chunked"))

    async def send_chunk(self, chunk: bytes) -> None:
        """Send one chunk, waiting while the caller reads too slowly."""
        self._connection.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        await self._connection.writable.wait()

    def end_stream(self) -> None:
        """Send the last, empty chunk."""
        self._connection.write(b"0\r\n\r\n")
        self.finished = True

    def hang_up(self) -> None:
        """Close the socket after what has been written, whatever was promised."""
        self.finished = True
        self._connection.close()

    def _head(self, status: int, headers: Mapping[str, str], framing: str) -> bytes:
        self.status = status
        lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Unknown')}", framing]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if not self.keep_alive:
            lines.append("connection: close")
        return "\r\n".join([*lines, "", ""]).encode("latin-1")


Handler = Callable[[Exchange], Awaitable[None]]


class _Connection(asyncio.Protocol):
    """Parses requests and has them answered one after the other."""

    def __init__(self, handler: Handler, everyone: set[_Connection]) -> None:
        self.writable = asyncio.Event()
        self.writable.set()
        self._handler = handler
        self._everyone = everyone
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: deque[Exchange] = deque()
        self.task: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport | None = None
        self._url = b""
        self._headers: list[tuple[str, str]] = []
        self._body = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast, not a check: uvloop's transports do not derive from asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._everyone.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._everyone.discard(self)
        self.writable.set()
        if self.task is not None:
            self.task.cancel()

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.write(
                b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            )
            self.close()

    def on_message_begin(self) -> None:
        self._url, self._headers, self._body = b"", [], bytearray()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        if ("expect", "100-continue") in self._headers:
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        path, _, query = self._url.decode("latin-1").partition("?")
        method = self._parser.get_method().decode("latin-1")
        request = Request(method, path, query, tuple(self._headers), bytes(self._body))
        keep_alive = self._parser.should_keep_alive()
        self._waiting.append(Exchange(request, self, keep_alive=keep_alive))
        if self.task is None:
            self.task = asyncio.get_running_loop().create_task(self._answer_all())

    def write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    async def _answer_all(self) -> None:
        try:
            while self._waiting:
                await self._answer(self._waiting.popleft())
        finally:
            self.task = None

    async def _answer(self, exchange: Exchange) -> None:
        try:
            await self._handler(exchange)
        except Exception:  # noqa: BLE001 (the request boundary: a broken handler must not hang its caller)
            _LOG.exception("a test server's handler failed")
            if exchange.status is None:
                exchange.answer_json(500, {"error": {"message": "the test server failed"}})
        if not (exchange.finished and exchange.keep_alive):
            self.close()


class LoopbackServer:
    """Serves a handler on a loopback port; after `stop`, `start` takes the same port again."""

    def __init__(self, *, port: int = 0) -> None:
        self.port = port
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()

    def __repr__(self) -> str:
        """Show where it listens."""
        state = "listening" if self._server is not None else "stopped"
        return f"<{type(self).__name__} {self.origin} {state}>"

    @property
    def origin(self) -> str:
        """Scheme, host and port, without a slash behind."""
        return f"http://{HOST}:{self.port}"

    async def handle(self, exchange: Exchange) -> None:
        """Answer one request."""
        raise NotImplementedError

    async def start(self) -> None:
        """Listen; a port of 0 becomes a free one and stays it."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Connection(self.handle, self._connections), HOST, self.port
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and cut every connection; from now on connecting is refused."""
        if self._server is None:
            return
        self._server.close()
        tasks = [connection.task for connection in self._connections if connection.task]
        for connection in tuple(self._connections):
            connection.abort()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop."""
        await self.stop()
