"""The wire: what is not good HTTP/1.1, or too slow, or too big, never becomes a request."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.relay.harness import PATIENCE_SECONDS, SECRET, Running, chat, relay, snapshot

_UPSTREAMS = {"main": "http://127.0.0.1:9/v1"}
_HOST = b"host: relay\r\n"
_POST = b"POST /v1/chat/completions HTTP/1.1\r\n"
_GOOD = b"GET /v1/models HTTP/1.1\r\n" + _HOST + f"authorization: Bearer {SECRET}\r\n".encode()


@asynccontextmanager
async def _connect(
    running: Running,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def _exchange(running: Running, data: bytes) -> bytes:
    """Everything that comes back until the relay closes; fails if it does not."""
    async with _connect(running) as (reader, writer):
        writer.write(data)
        return await asyncio.wait_for(reader.read(), PATIENCE_SECONDS)


async def _head(reader: asyncio.StreamReader) -> bytes:
    return await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_SECONDS)


def _status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


@pytest.mark.parametrize(
    ("request_bytes", "statuses"),
    [
        (_POST + _HOST + b"content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n", {400}),
        (_POST + _HOST + b"content-length: 3\r\ncontent-length: 4\r\n\r\nabc", {400}),
        (_POST + _HOST + b"content-length: +3\r\n\r\nabc", {400}),
        (_POST + _HOST + b"content-length: -3\r\n\r\nabc", {400}),
        (_POST + _HOST + b"transfer-encoding: xchunked\r\n\r\n", {400}),
        (_POST + _HOST + b"transfer-encoding: chunked, identity\r\n\r\n", {400}),
        (_POST + _HOST + b"x-folded: a\r\n b\r\n\r\n", {400}),
        (_POST + _HOST + b"x-null: a\x00b\r\n\r\n", {400}),
        (_POST + _HOST + b"x-bare: a\rb\r\n\r\n", {400}),
        (_POST + b"host : relay\r\n\r\n", {400}),
        (_POST + b"\r\n", {400}),
        (_POST + _HOST + _HOST + b"\r\n", {400}),
        (b"GET http://elsewhere/v1/models HTTP/1.1\r\n" + _HOST + b"\r\n", {400}),
        (b"GET /v1/models HTTP/9.9\r\n" + _HOST + b"\r\n", {400}),
        (b"POST /v1/chat/completions HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n", {400}),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", {400}),
        (b"GET /v1/models\r\n\r\n", {400}),
        (b"GET /" + b"a" * 60_000 + b" HTTP/1.1\r\n" + _HOST + b"\r\n", {414}),
        (b"GET / HTTP/1.1\r\n" + _HOST + b"x-long: " + b"a" * 100_000 + b"\r\n\r\n", {431}),
        (b"GET / HTTP/1.1\r\n" + _HOST + b"x: y\r\n" * 1000 + b"\r\n", {431}),
        (b"GET / HTTP/1.1\r\n" + b"x-never-ending: " + b"a" * 200_000, {431}),
    ],
)
async def test_bad_heads_are_refused_and_closed(
    tmp_path: Path, request_bytes: bytes, statuses: set[int]
) -> None:
    """What one server could read so and another otherwise is refused, and its connection closed."""
    async with relay(tmp_path, _UPSTREAMS, snapshot()) as running:
        answer = await _exchange(running, request_bytes)
        assert _status(answer) in statuses
        error = json.loads(answer.split(b"\r\n\r\n", 1)[1])["error"]
        assert error["type"] == "invalid_request_error"
        assert running.cells() == {}


@pytest.mark.parametrize("chunk", [b"zz\r\nab\r\n", b"-2\r\nab\r\n", b"2\r\nabc\r\n"])
async def test_bad_chunks_never_become_a_body(tmp_path: Path, chunk: bytes) -> None:
    """A chunked body that is malformed ends the connection; nothing of it is acted on."""
    head = _POST + _HOST + f"authorization: Bearer {SECRET}\r\n".encode()
    async with relay(tmp_path, _UPSTREAMS, snapshot()) as running:
        answer = await _exchange(running, head + b"transfer-encoding: chunked\r\n\r\n" + chunk)
        assert answer == b"" or _status(answer) == 400
        assert running.cells() == {}


async def test_slow_heads_are_closed(tmp_path: Path) -> None:
    """A head that drips in is cut at the deadline, however lively; so is a silent connection."""
    async with relay(tmp_path, _UPSTREAMS, snapshot(), limits={"head_seconds": 0.3}) as running:
        assert await _exchange(running, b"") == b""
        async with _connect(running) as (reader, writer):
            started = time.monotonic()

            async def drip() -> None:  # for 20 s
                for byte in b"GET /v1/models HTTP/1.1\r\nx-slow: " + b"a" * 1000:
                    writer.write(bytes([byte]))
                    await asyncio.sleep(0.02)

            dripping = asyncio.create_task(drip())
            assert await asyncio.wait_for(reader.read(), PATIENCE_SECONDS) == b""
            assert time.monotonic() - started < 15
            dripping.cancel()


async def test_slow_second_head_is_closed(tmp_path: Path) -> None:
    """The deadline holds for every head on a connection, not for the first alone."""
    async with (
        relay(tmp_path, _UPSTREAMS, snapshot(), limits={"head_seconds": 0.3}) as running,
        _connect(running) as (reader, writer),
    ):
        writer.write(_GOOD + b"\r\n")
        assert _status(await _head(reader)) == 200
        writer.write(b"GET /v1")
        rest = await asyncio.wait_for(reader.read(), PATIENCE_SECONDS)
        assert b"HTTP/1.1" not in rest


async def test_slow_body_is_408(tmp_path: Path) -> None:
    """A body that does not arrive in time is answered 408, and the connection is closed."""
    head = _POST + _HOST + f"authorization: Bearer {SECRET}\r\n".encode()
    async with relay(tmp_path, _UPSTREAMS, snapshot(), limits={"body_seconds": 0.2}) as running:
        answer = await _exchange(running, head + b'content-length: 100\r\n\r\n{"model"')
        assert _status(answer) == 408
        assert b"connection: close" in answer


async def test_pipelined_requests_are_answered_in_order(tmp_path: Path) -> None:
    """Requests sent in one piece are answered one after the other."""
    async with relay(tmp_path, _UPSTREAMS, snapshot()) as running:
        answer = await _exchange(
            running, (_GOOD + b"\r\n") * 2 + _GOOD + b"connection: close\r\n\r\n"
        )
        assert answer.count(b"HTTP/1.1 200 OK") == 3


async def test_expect_continue(tmp_path: Path) -> None:
    """A caller who waits for 100 Continue gets it only when his body is wanted."""
    body = json.dumps(chat(model="nothing")).encode()
    expecting = f"expect: 100-continue\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    async with relay(tmp_path, _UPSTREAMS, snapshot()) as running:
        async with _connect(running) as (reader, writer):
            writer.write(_POST + _HOST + f"authorization: Bearer {SECRET}\r\n".encode() + expecting)
            assert _status(await _head(reader)) == 100
            writer.write(body)
            assert _status(await _head(reader)) == 404
        too_much = b"expect: 100-continue\r\ncontent-length: 999999999\r\n\r\n"
        async with _connect(running) as (reader, writer):
            writer.write(_POST + _HOST + f"authorization: Bearer {SECRET}\r\n".encode() + too_much)
            assert _status(await _head(reader)) == 413


async def test_upgrade_is_ignored(tmp_path: Path) -> None:
    """An offer to speak something else is ignored, as HTTP allows."""
    async with relay(tmp_path, _UPSTREAMS, snapshot()) as running:
        offer = b"connection: upgrade, close\r\nupgrade: h2c\r\n\r\n"
        assert _status(await _exchange(running, _GOOD + offer)) == 200


async def test_five_hundred_idle_connections_hurt_nobody(tmp_path: Path) -> None:
    """Connections that say nothing cost other callers nothing, and are gone at the deadline."""
    async with relay(tmp_path, _UPSTREAMS, snapshot(), limits={"head_seconds": 1}) as running:
        idle = [await asyncio.open_connection("127.0.0.1", running.port) for _ in range(500)]
        async with running.client() as client:
            assert (await client.get("/v1/models")).status_code == 200
        ends = await asyncio.wait_for(asyncio.gather(*(reader.read() for reader, _ in idle)), 30)
        assert set(ends) == {b""}
        for _, writer in idle:
            writer.close()


@pytest.mark.parametrize("closing", ["drain", "idle"])
async def test_a_request_that_waits_to_be_read_is_answered_before_closing(
    tmp_path: Path, closing: str
) -> None:
    """A relay that has no time to read drops no request that has come, however it would close."""
    async with relay(tmp_path, _UPSTREAMS, snapshot()) as running:
        with socket.create_connection(("127.0.0.1", running.port)) as caller:
            while not running.server.connections:  # noqa: ASYNC110 - the loop accepts meanwhile
                await asyncio.sleep(0.01)
            caller.sendall(_GOOD + b"\r\n")  # the loop that would read it is this one, and busy
            if closing == "idle":
                (connection,) = running.server.connections
                connection.timeout_keep_alive_handler()
            assert await running.server.wait_closed(seconds=PATIENCE_SECONDS)
            caller.settimeout(PATIENCE_SECONDS)
            assert _status(caller.recv(4096)) == 200
