"""What every transport under the relay must do; a new one is added to TRANSPORTS and must pass.

Run on the host name `localhost`: cookie jars ignore IP addresses, and so would hide their leaks.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from grayscale.relay.upstream import SoundAiohttpTransport
from grayscale.settings import Limits
from tests.relay.harness import PATIENCE_SECONDS

TRANSPORTS: dict[str, Callable[[Limits], httpx.AsyncBaseTransport]] = {
    "httpx-aiohttp": SoundAiohttpTransport,
}
_TIMEOUT = {
    "connect": PATIENCE_SECONDS,
    "read": PATIENCE_SECONDS,
    "write": PATIENCE_SECONDS,
    "pool": PATIENCE_SECONDS,
}
_OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"

Handler = Callable[["_Seen", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass(slots=True)
class _Seen:
    """What a raw server saw."""

    heads: list[bytes] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    connections: int = 0
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)

    async def request(self, reader: asyncio.StreamReader) -> bool:
        """Read one request with a Content-Length; False if the peer closed instead."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionResetError):
            self.hung_up.set()
            return False
        self.heads.append(head)
        lines = head.lower().split(b"\r\n")
        lengths = [int(line[15:]) for line in lines if line.startswith(b"content-length:")]
        self.bodies.append(await reader.readexactly(lengths[0] if lengths else 0))
        return True


@asynccontextmanager
async def _server(handler: Handler) -> AsyncIterator[tuple[str, _Seen]]:
    """A raw server on localhost."""
    seen = _Seen()
    running: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.connections += 1
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        try:
            await handler(seen, reader, writer)
        except (asyncio.CancelledError, ConnectionResetError, BrokenPipeError):
            pass
        finally:
            writer.transport.abort()
            running.discard(task)

    server = await asyncio.start_server(serve, "localhost", 0, family=socket.AF_INET)
    try:
        yield f"http://localhost:{server.sockets[0].getsockname()[1]}/v1/chat", seen
    finally:
        server.close()
        for task in tuple(running):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await server.wait_closed()


async def _echo_ok(seen: _Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await seen.request(reader):
        writer.write(_OK)


def _answering(answer: bytes, *, hold: bool = False) -> Handler:
    async def handler(
        seen: _Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while await seen.request(reader):
            writer.write(answer)
            await writer.drain()
            if not hold:
                return

    return handler


def _request(
    url: str,
    body: bytes = b"{}",
    headers: list[tuple[str, str]] | None = None,
    **timeout: float,
) -> httpx.Request:
    own = [("host", httpx.URL(url).netloc.decode()), ("content-length", str(len(body)))]
    return httpx.Request(
        "POST",
        url,
        headers=own + (headers or []),
        stream=httpx.ByteStream(body),
        extensions={"timeout": _TIMEOUT | timeout},
    )


async def _read(response: httpx.Response) -> bytes:
    assert isinstance(response.stream, httpx.AsyncByteStream)
    try:
        return b"".join([chunk async for chunk in response.stream])
    finally:
        await response.aclose()


@pytest.fixture(params=sorted(TRANSPORTS))
async def make(request: Any) -> AsyncIterator[Callable[..., httpx.AsyncBaseTransport]]:
    """Makes the transport under test, with limits of choice."""
    made: list[httpx.AsyncBaseTransport] = []

    def _make(**limits: Any) -> httpx.AsyncBaseTransport:
        made.append(TRANSPORTS[request.param](Limits(**limits)))
        return made[-1]

    yield _make
    for transport in made:
        await transport.aclose()


Make = Callable[..., httpx.AsyncBaseTransport]


async def test_head_is_sent_as_given(make: Make) -> None:
    """Exactly the given headers go out, once each: nothing is added, not even a User-Agent."""
    async with _server(_echo_ok) as (url, seen):
        response = await make().handle_async_request(_request(url, b'{"a":1}', [("x-one", "1")]))
        assert await _read(response) == b"ok"
        lines = seen.heads[0].decode().lower().strip().split("\r\n")
        assert lines[0] == "post /v1/chat http/1.1"
        names = sorted(line.split(":")[0] for line in lines[1:])
        assert names == ["content-length", "host", "x-one"]
        assert seen.bodies == [b'{"a":1}']


async def test_cookies_stay_with_nobody(make: Make) -> None:
    """A Set-Cookie of one answer is not sent with the next request."""
    answer = _OK.replace(b"\r\n\r\n", b"\r\nset-cookie: who=alice; path=/\r\n\r\n")
    async with _server(_answering(answer, hold=True)) as (url, seen):
        transport = make()
        for _ in range(2):
            await _read(await transport.handle_async_request(_request(url)))
        assert b"cookie" not in seen.heads[1].lower()


async def test_connections_are_used_again(make: Make) -> None:
    """A connection whose answer was read to its end serves the next request."""
    async with _server(_echo_ok) as (url, seen):
        transport = make()
        for _ in range(3):
            await _read(await transport.handle_async_request(_request(url)))
        assert seen.connections == 1


async def test_redirects_are_answers(make: Make) -> None:
    """A redirect is handed back, never followed: a POST goes where it was sent or nowhere."""
    answer = b"HTTP/1.1 307 Go\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n"
    async with _server(_answering(answer, hold=True)) as (url, seen):
        response = await make().handle_async_request(_request(url))
        assert response.status_code == 307
        await _read(response)
        assert len(seen.heads) == 1


async def test_bytes_are_not_decoded(make: Make) -> None:
    """An encoded body comes as it is, with its Content-Encoding."""
    body = b"\x1f\x8bnot really gzip"
    head = f"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {len(body)}\r\n\r\n"
    async with _server(_answering(head.encode() + body)) as (url, _):
        response = await make().handle_async_request(_request(url))
        assert response.headers["content-encoding"] == "gzip"
        assert await _read(response) == body


async def test_refused_connection_is_a_connect_error(make: Make) -> None:
    """Nobody listening is a ConnectError: nothing was sent."""
    async with _server(_echo_ok) as (url, _):
        pass
    with pytest.raises(httpx.ConnectError):
        await make().handle_async_request(_request(url))


async def test_unknown_host_is_a_connect_error(make: Make) -> None:
    """A name that does not resolve is a ConnectError: nothing was sent."""
    with pytest.raises(httpx.ConnectError):
        await make().handle_async_request(_request("http://no-such-host.invalid/v1"))


async def test_reset_after_sending_is_no_connect_error(make: Make) -> None:
    """A connection closed on a sent request is not a connect error: it may have been acted on."""

    async def hang_up(
        seen: _Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await seen.request(reader)
        writer.transport.abort()

    async with _server(hang_up) as (url, seen):
        with pytest.raises(httpx.ReadError):
            await make().handle_async_request(_request(url))
        assert len(seen.heads) == 1


async def test_post_is_sent_once(make: Make) -> None:
    """A POST on a connection that dies under it is not repeated by the transport."""

    async def once_then_hang_up(
        seen: _Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await seen.request(reader)
        writer.write(_OK)
        await seen.request(reader)

    async with _server(once_then_hang_up) as (url, seen):
        transport = make()
        await _read(await transport.handle_async_request(_request(url)))
        with pytest.raises(httpx.ReadError):
            await transport.handle_async_request(_request(url))
        assert len(seen.heads) == 2


async def test_silence_is_a_read_timeout(make: Make) -> None:
    """An upstream that does not answer is a ReadTimeout after the read limit."""

    async def silent(
        seen: _Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while await seen.request(reader):
            pass

    async with _server(silent) as (url, seen):
        with pytest.raises(httpx.ReadTimeout):
            await make().handle_async_request(_request(url, read=0.1))
        await asyncio.wait_for(seen.hung_up.wait(), PATIENCE_SECONDS)


async def test_waiting_for_a_connection_is_bounded(make: Make) -> None:
    """With every connection in use the next request waits for a bounded time, and sends nothing."""
    async with _server(_answering(b"HTTP/1.1 200 OK\r\n", hold=True)) as (url, seen):
        transport = make(upstream_connections=1)
        first = asyncio.create_task(transport.handle_async_request(_request(url, read=5)))
        while not seen.heads:  # noqa: ASYNC110 - the server is in this very loop
            await asyncio.sleep(0.01)
        with pytest.raises((httpx.ConnectTimeout, httpx.PoolTimeout)):
            await transport.handle_async_request(_request(url, pool=0.1))
        assert len(seen.heads) == 1
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)


async def test_cancelling_closes_and_frees(make: Make) -> None:
    """A cancelled request closes its connection at once, and its slot is free again."""

    async def first_hangs(
        seen: _Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while await seen.request(reader):
            if len(seen.heads) > 1:
                writer.write(_OK)

    async with _server(first_hangs) as (url, seen):
        transport = make(upstream_connections=1)
        task = asyncio.create_task(transport.handle_async_request(_request(url, read=5)))
        while not seen.heads:  # noqa: ASYNC110 - the server is in this very loop
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.wait_for(seen.hung_up.wait(), PATIENCE_SECONDS)
        assert await _read(await transport.handle_async_request(_request(url))) == b"ok"


async def test_leaving_a_stream_closes_it(make: Make) -> None:
    """A stream that is closed half-way closes its connection at once."""
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"
    async with _server(_answering(head, hold=True)) as (url, seen):
        response = await make().handle_async_request(_request(url))
        assert isinstance(response.stream, httpx.AsyncByteStream)
        async for chunk in response.stream:
            assert chunk == b"hello"
            break
        await response.aclose()
        await asyncio.wait_for(seen.hung_up.wait(), PATIENCE_SECONDS)


async def test_chunks_come_as_they_are_sent(make: Make) -> None:
    """A stream's pieces are not held back until there are more of them."""
    go_on = asyncio.Event()

    async def two_pieces(
        seen: _Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await seen.request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n")
        await go_on.wait()
        writer.write(b"3\r\ntwo\r\n0\r\n\r\n")
        await writer.drain()

    async with _server(two_pieces) as (url, _):
        response = await make().handle_async_request(_request(url))
        assert isinstance(response.stream, httpx.AsyncByteStream)
        pieces = []
        async for chunk in response.stream:
            pieces.append(chunk)
            go_on.set()
        assert pieces == [b"one", b"two"]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nhello\r\n",
    ],
    ids=["short", "no last chunk", "bad chunk"],
)
async def test_torn_body_is_an_error(make: Make, answer: bytes) -> None:
    """A body that ends before its framing says so never looks complete."""
    async with _server(_answering(answer)) as (url, _):
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            await _read(await make().handle_async_request(_request(url)))


@pytest.mark.parametrize(
    "answer",
    [
        b"\x16\x03\x01 this is not HTTP\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx-long: " + b"a" * 200_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok",
    ],
    ids=["no HTTP", "endless header", "two lengths"],
)
async def test_garbage_is_a_protocol_error(make: Make, answer: bytes) -> None:
    """What is not HTTP is an error of the upstream's, not a connect error."""
    async with _server(_answering(answer)) as (url, _):
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            await _read(await make().handle_async_request(_request(url)))


async def test_informational_answers_are_passed_over(make: Make) -> None:
    """1xx answers before the real one are not taken for it."""
    answer = b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" * 3 + _OK
    async with _server(_answering(answer, hold=True)) as (url, _):
        response = await make().handle_async_request(_request(url))
        assert response.status_code == 200
        assert await _read(response) == b"ok"


async def test_slow_reader_slows_the_upstream(make: Make) -> None:
    """A body that nobody reads is not pulled in without bound."""
    sent = 0

    async def flood(
        seen: _Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        nonlocal sent
        await seen.request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()
            sent += 65536

    async with _server(flood) as (url, _):
        response = await make().handle_async_request(_request(url))
        before = -1
        while sent != before:
            before = sent
            await asyncio.sleep(0.2)
        assert sent < 32 * 1024 * 1024
        await response.aclose()
