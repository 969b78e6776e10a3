"""Streams through the whole relay: passed on event by event, ended as they ended."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from grayscale.testing.loopback import Exchange, LoopbackServer
from grayscale.testing.upstreams import Behaviour, Fault, Upstream
from tests.relay.harness import (
    CANDIDATE,
    MODEL,
    PATIENCE_SECONDS,
    SECRET,
    STABLE,
    Running,
    chat,
    config,
    relay,
    snapshot,
)

_CHAT = "/v1/chat/completions"


class Scripted(LoopbackServer):
    """An upstream that sends these pieces as a 200 event stream, and perhaps no end."""

    def __init__(self, *pieces: bytes, ends: bool = True, pause_seconds: float = 0) -> None:
        super().__init__()
        self.pieces = pieces
        self.ends = ends
        self.pause_seconds = pause_seconds
        self.sent = 0
        self.left = asyncio.Event()

    async def handle(self, exchange: Exchange) -> None:
        """Send the script."""
        exchange.begin_stream(headers={"content-type": "text/event-stream"})
        try:
            for piece in self.pieces:
                await exchange.send_chunk(piece)
                self.sent += len(piece)
                await asyncio.sleep(self.pause_seconds)
        except asyncio.CancelledError:
            self.left.set()
            raise
        if self.ends:
            exchange.end_stream()
        else:
            exchange.hang_up()


async def _until(check: Any) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not check():  # noqa: ASYNC110 - everything runs in this loop
            await asyncio.sleep(0.01)


async def _stream(
    client: httpx.AsyncClient, **fields: Any
) -> tuple[httpx.Response, list[str], bool]:
    """The answer, its lines, and whether it ended as HTTP says."""
    lines: list[str] = []
    async with client.stream("POST", _CHAT, json=chat(stream=True) | fields) as answer:
        try:
            async for line in answer.aiter_lines():
                lines.append(line)  # noqa: PERF401 - kept when the stream is cut
        except httpx.RemoteProtocolError:
            return answer, lines, False
    return answer, lines, True


async def test_stream_passes(tmp_path: Path) -> None:
    """A stream arrives whole, with its `[DONE]`, and is counted with tokens and first content."""
    async with (
        Upstream(Behaviour(tokens=8)) as upstream,
        relay(tmp_path, {"main": upstream.base_url}, snapshot()) as running,
        running.client() as client,
    ):
        answer, lines, ended = await _stream(client)
        assert (answer.status_code, ended) == (200, True)
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["x-relay-version"] == STABLE
        assert lines[-2:] == ["data: [DONE]", ""]
        assert not any('"choices":[]' in line for line in lines)
        await _until(lambda: running.cell(STABLE).ok == 1)
        cell = running.cell(STABLE)
        assert cell.started == 1
        assert cell.tokens_out == 8
        assert sum(cell.ttft.values()) == sum(cell.latency.values()) == 1
        assert {cell_key.stream for cell_key in running.cells()} == {True}
        sent = json.loads(upstream.requests[-1].body)
        assert sent["stream_options"] == {"include_usage": True}


async def test_usage_reaches_those_who_ask(tmp_path: Path) -> None:
    """A caller who asks for the usage chunk gets it."""
    async with (
        Upstream() as upstream,
        relay(tmp_path, {"main": upstream.base_url}, snapshot()) as running,
        running.client() as client,
    ):
        _, lines, _ = await _stream(client, stream_options={"include_usage": True})
        assert any('"choices":[]' in line for line in lines)


async def test_metering_off_adds_nothing(tmp_path: Path) -> None:
    """With metering off the upstream is asked for nothing that the caller did not ask for."""
    async with (
        Upstream() as upstream,
        relay(tmp_path, {"main": upstream.base_url}, snapshot(), metering="off") as running,
        running.client() as client,
    ):
        await _stream(client)
        assert "stream_options" not in json.loads(upstream.requests[-1].body)


async def test_responses_stream(tmp_path: Path) -> None:
    """A responses stream ends with `response.completed`, whose usage is counted."""
    body = {"model": MODEL, "input": "Hi", "stream": True}
    async with (
        Upstream() as upstream,
        relay(tmp_path, {"main": upstream.base_url}, snapshot()) as running,
        running.client() as client,
        client.stream("POST", "/v1/responses", json=body) as answer,
    ):
        text = (await answer.aread()).decode()
        assert "event: response.completed" in text
        await _until(lambda: running.cell(STABLE).ok == 1)
        assert running.cell(STABLE).tokens_out > 0


async def test_upstream_connection_is_used_again(tmp_path: Path) -> None:
    """After `[DONE]` the rest is read, so that the next request needs no new connection."""
    async with (
        Upstream() as upstream,
        relay(tmp_path, {"main": upstream.base_url}, snapshot()) as running,
        running.client() as client,
    ):
        for _ in range(3):
            await _stream(client)
            await _until(lambda: running.runtime.in_flight.total == 0)
        assert len(upstream._connections) == 1


@pytest.mark.parametrize("fault", [Fault.CUT_STREAM, Fault.STALL_STREAM])
async def test_broken_stream_never_looks_complete(tmp_path: Path, fault: Fault) -> None:
    """A stream that is cut or stalls ends with an error frame, no `[DONE]`, no last chunk."""
    state = snapshot(config(timeouts={"idle_seconds": 0.2}))
    async with (
        Upstream(Behaviour(fault=fault, tokens=20)) as upstream,
        relay(tmp_path, {"main": upstream.base_url}, state) as running,
        running.client() as client,
    ):
        answer, lines, ended = await _stream(client)
        assert (answer.status_code, ended) == (200, False)
        assert "data: [DONE]" not in lines
        error = json.loads(lines[-2].removeprefix("data: "))["error"]
        assert error["type"] == "server_error"
        code = "504" if fault is Fault.STALL_STREAM else "502"
        assert running.cell(STABLE).by_code == {code: 1}
        assert running.cell(STABLE).upstream_error == 1


async def test_clean_end_without_done_is_a_cut(tmp_path: Path) -> None:
    """A stream that ends neatly but without its ending is cut all the same."""
    event = b'data: {"choices":[{"delta":{"content":"Hi"}}]}\n\n'
    async with (
        Scripted(event, b"data: {torn") as upstream,
        relay(tmp_path, {"main": upstream.origin}, snapshot()) as running,
        running.client() as client,
    ):
        _, lines, ended = await _stream(client)
        assert not ended
        assert lines[0].startswith('data: {"choices"')
        assert '"error"' in lines[-2]
        assert running.cell(STABLE).upstream_error == 1


async def test_error_frame_in_the_middle(tmp_path: Path) -> None:
    """An upstream's own error frame reaches the caller as it is, and nothing after it."""
    async with (
        Upstream(Behaviour(fault=Fault.ERROR_FRAME, cut_after_chunks=3)) as upstream,
        relay(tmp_path, {"main": upstream.base_url}, snapshot()) as running,
        running.client() as client,
    ):
        _, lines, ended = await _stream(client)
        assert not ended
        assert "The server had an error." in lines[-2]
        assert running.cell(STABLE).upstream_error == 1


async def test_error_frame_first_is_an_http_error(tmp_path: Path) -> None:
    """An error before any content is answered with an error status: nothing was promised yet."""
    async with (
        Upstream(Behaviour(fault=Fault.ERROR_FRAME, cut_after_chunks=0)) as upstream,
        relay(tmp_path, {"main": upstream.base_url}, snapshot()) as running,
        running.client() as client,
    ):
        answer = await client.post(_CHAT, json=chat(stream=True))
        assert answer.status_code == 502
        assert answer.json()["error"]["message"] == "The server had an error."
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-relay-error-source"] == "upstream"


@pytest.mark.parametrize("fault", [Fault.GARBAGE_HTML, Fault.GARBAGE_JSON])
async def test_no_stream_where_one_was_asked_for(tmp_path: Path, fault: Fault) -> None:
    """A 200 that is no event stream is 502 for a caller who asked for one."""
    async with (
        Upstream(Behaviour(fault=fault)) as upstream,
        relay(tmp_path, {"main": upstream.base_url}, snapshot()) as running,
        running.client() as client,
    ):
        answer = await client.post(_CHAT, json=chat(stream=True))
        assert answer.status_code == 502
        assert "event stream" in answer.json()["error"]["message"]


async def test_single_bytes_make_whole_events(tmp_path: Path) -> None:
    """An upstream that sends byte by byte, cutting characters, changes nothing for the caller."""
    text = 'data: {"choices":[{"delta":{"content":"Grüße"}}]}\n\ndata: [DONE]\n\n'.encode()
    async with (
        Scripted(*(bytes([byte]) for byte in text)) as upstream,
        relay(tmp_path, {"main": upstream.origin}, snapshot()) as running,
        running.client() as client,
    ):
        _, lines, ended = await _stream(client)
        assert ended
        assert lines[0] == 'data: {"choices":[{"delta":{"content":"Grüße"}}]}'


async def test_comments_before_the_first_event_are_kept(tmp_path: Path) -> None:
    """Keep-alive comments do not count as the first event, and are passed on with it."""
    async with (
        Scripted(b": wait\n\n", b'data: {"a":1}\n\n', b"data: [DONE]\n\n") as upstream,
        relay(tmp_path, {"main": upstream.origin}, snapshot()) as running,
        running.client() as client,
    ):
        _, lines, ended = await _stream(client)
        assert ended
        assert lines[0] == ": wait"


async def test_caller_who_leaves_ends_the_upstream(tmp_path: Path) -> None:
    """When a caller leaves in mid-stream the upstream is cancelled long before its end."""
    async with (
        Upstream(Behaviour(tokens=5000, chunk_delay_ms=20)) as upstream,
        relay(tmp_path, {"main": upstream.base_url}, snapshot()) as running,
        running.client() as client,
    ):
        async with client.stream("POST", _CHAT, json=chat(stream=True)) as answer:
            await anext(answer.aiter_bytes())
        await asyncio.wait_for(upstream.requests[-1].ended.wait(), PATIENCE_SECONDS)
        assert upstream.requests[-1].client_gone
        cell = running.cell(STABLE)
        assert (cell.started, cell.client_gone, cell.errors) == (1, 1, 0)


async def test_caller_who_leaves_before_the_answer(tmp_path: Path) -> None:
    """A caller who leaves while the upstream is thinking cancels it, and says how long he waited."""
    async with (
        Upstream(Behaviour(latency_ms=60_000)) as upstream,
        relay(tmp_path, {"main": upstream.base_url}, snapshot()) as running,
    ):
        async with running.client() as client:
            waiting = asyncio.create_task(client.post(_CHAT, json=chat()))
            await _until(lambda: upstream.requests)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        await asyncio.wait_for(upstream.requests[-1].ended.wait(), PATIENCE_SECONDS)
        cell = running.cell(STABLE)
        assert (cell.client_gone, sum(cell.gone_after.values())) == (1, 1)
        assert running.runtime.in_flight.total == 0


async def test_slow_reader_slows_the_upstream(tmp_path: Path) -> None:
    """A caller who does not read makes the relay stop reading too, and is left in the end."""
    event = b'data: {"choices":[{"delta":{"content":"' + b"x" * 65_000 + b'"}}]}\n\n'
    state = snapshot(config(timeouts={"idle_seconds": 1}))
    async with (
        Scripted(*[event] * 2000) as upstream,
        relay(tmp_path, {"main": upstream.origin}, state) as running,
    ):
        reader = await _begin_and_stop_reading(running)
        await _until(lambda: running.cell(STABLE).client_gone == 1)
        assert upstream.sent < 40_000_000 < len(event) * 2000
        await asyncio.wait_for(upstream.left.wait(), PATIENCE_SECONDS)
        reader.close()


async def _begin_and_stop_reading(running: Running) -> socket.socket:
    body = json.dumps(chat(stream=True)).encode()
    head = f"POST {_CHAT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {SECRET}\r\n"
    reader = socket.create_connection(("127.0.0.1", running.port))
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    reader.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(reader, f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
    return reader


async def _events(lines: AsyncIterator[str]) -> list[str]:
    seen: list[str] = []
    try:
        async for line in lines:
            seen.append(line)  # noqa: PERF401 - kept when the stream is cut
    except httpx.RemoteProtocolError:
        pass
    return seen


async def test_cut_ends_running_streams_with_an_error(tmp_path: Path) -> None:
    """Cutting a version ends its running streams with an error frame; stable's go on."""
    state = snapshot(candidate=config(model="gpt-4.1-2026"), weight=0)
    async with (
        Upstream(Behaviour(tokens=40, chunk_delay_ms=20)) as upstream,
        relay(tmp_path, {"main": upstream.base_url}, state) as running,
        running.client() as client,
    ):
        pin = {"x-relay-version": "beta"}
        body = chat(stream=True)
        async with (
            client.stream("POST", _CHAT, json=body, headers=pin) as beta,
            client.stream("POST", _CHAT, json=body) as stable,
        ):
            betas, stables = beta.aiter_lines(), stable.aiter_lines()
            await anext(betas)
            assert running.runtime.in_flight.in_flight(CANDIDATE) == 1
            assert running.runtime.in_flight.cut(CANDIDATE) == 1
            seen = await _events(betas)
            assert "version_withdrawn" in seen[-2]
            assert "data: [DONE]" in await _events(stables)
        cell = running.cell(CANDIDATE)
        assert (cell.client_gone, cell.errors) == (1, 0)
        assert running.runtime.in_flight.counts() == {}


async def test_cut_moves_waiting_requests_to_stable(tmp_path: Path) -> None:
    """A request that a cut version has not begun to answer is served by stable instead."""
    state = snapshot(candidate=config(model="slow"), weight=100)
    behaviour = Behaviour.model_validate({"models": {"slow": {"latency_ms": 10_000}}})
    async with (
        Upstream(behaviour) as upstream,
        relay(tmp_path, {"main": upstream.base_url}, state) as running,
        running.client() as client,
    ):
        task = asyncio.create_task(client.post(_CHAT, json=chat()))
        await _until(lambda: upstream.total == 1)
        running.runtime.in_flight.cut(CANDIDATE)
        answer = await task
        assert answer.status_code == 200
        assert answer.headers["x-relay-version"] == STABLE
        assert running.cell(STABLE, "failover").ok == 1
        assert running.cell(CANDIDATE).errors == 0
