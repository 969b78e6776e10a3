"""The loopback server speaks HTTP/1.1 soundly enough for every client that we use."""

import asyncio
import logging

import pytest

from grayscale.testing.loopback import Exchange, LoopbackServer


class Echo(LoopbackServer):
    async def handle(self, exchange: Exchange) -> None:
        request = exchange.request
        if request.path == "/broken":
            raise RuntimeError("broken on purpose")
        text = f"{request.method} {request.path}?{request.query} ".encode()
        exchange.answer(200, text + request.body, headers={"content-type": "text/plain"})


async def converse(server: LoopbackServer, raw: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(raw)
    async with asyncio.timeout(2):
        answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_pipelined_requests_are_answered_in_order() -> None:
    """Two requests in one packet get two answers, in order; `close` ends the connection."""
    raw = (
        b"POST /a?x=1 HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n"
        b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"
        b"GET /b HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n"
    )
    async with Echo() as server:
        answer = await converse(server, raw)
    assert answer.count(b"HTTP/1.1 200 OK") == 2
    assert answer.index(b"POST /a?x=1 onetwo") < answer.index(b"GET /b? ")


async def test_expect_continue_is_honoured() -> None:
    """A caller that waits for 100 Continue, as curl does with large bodies, gets it."""
    raw = (
        b"POST / HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\n"
        b"content-length: 2\r\nconnection: close\r\n\r\nhi"
    )
    async with Echo() as server:
        answer = await converse(server, raw)
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")


async def test_nonsense_is_400() -> None:
    """What is no HTTP is answered 400 and hung up on."""
    async with Echo() as server:
        answer = await converse(server, b"nonsense\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 Bad Request")


async def test_broken_handler_answers_500(caplog: pytest.LogCaptureFixture) -> None:
    """A handler that raises is logged and answered for, not left hanging."""
    with caplog.at_level(logging.CRITICAL):
        async with Echo() as server:
            answer = await converse(server, b"GET /broken HTTP/1.1\r\nconnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 500")


async def test_repr_says_where_and_whether() -> None:
    """The repr is a status line."""
    server = Echo()
    async with server:
        assert repr(server) == f"<Echo http://127.0.0.1:{server.port} listening>"
    assert repr(server).endswith("stopped>")
