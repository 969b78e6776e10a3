"""What answers show, counted by a whole relay in front of a provider that misbehaves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from grayscale.testing.upstreams import Behaviour, Fault, Upstream
from grayscale.traffic.counters import Cell, bucket_of
from tests.relay.harness import MODEL, STABLE, Running, chat, config, relay, snapshot

_CHAT, _OLD, _RESPONSES = "/v1/chat/completions", "/v1/completions", "/v1/responses"
_PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}
_TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": _PARAMETERS}}]
_FLAT_TOOLS = [{"type": "function", "name": "weather", "parameters": _PARAMETERS}]
_JSON = {"type": "json_object"}

_BODIES: dict[str, dict[str, Any]] = {
    _CHAT: chat(tools=_TOOLS, response_format=_JSON),
    _OLD: {"model": MODEL, "prompt": "Hello", "response_format": _JSON},
    _RESPONSES: {"model": MODEL, "input": "Hi", "tools": _FLAT_TOOLS, "text": {"format": _JSON}},
}
_COLUMNS = (
    "refused", "empty", "truncated", "json_asked", "json_invalid",
    "tools_called", "tools_invalid", "aborted",
)  # fmt: skip


async def _until(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(2):
        while not check():  # noqa: ASYNC110 - everything runs in this loop
            await asyncio.sleep(0.01)


async def _finished(running: Running, count: int = 1) -> Cell:
    await _until(lambda: running.cell(STABLE).ok + running.cell(STABLE).errors == count)
    return running.cell(STABLE)


def _shown(cell: Cell) -> dict[str, int]:
    return {name: count for name in _COLUMNS if (count := getattr(cell, name))}


async def _call(running: Running, path: str, *, stream: bool, **fields: Any) -> None:
    body = _BODIES[path] | {"stream": stream} | fields
    async with running.client() as client:
        with suppress(httpx.RemoteProtocolError):  # the stream was cut
            await client.post(path, json=body)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", list(_BODIES))
@pytest.mark.parametrize(
    ("behaviour", "shown"),
    [
        ({}, {"json_asked": 1}),
        ({"refusal_rate": 1}, {"refused": 1}),
        ({"empty_rate": 1}, {"empty": 1, "json_asked": 1, "json_invalid": 1}),
        ({"truncation_rate": 1}, {"truncated": 1}),
        ({"bad_json_rate": 1}, {"json_asked": 1, "json_invalid": 1}),
    ],
)
async def test_answers_are_looked_at(
    tmp_path: Path, behaviour: dict[str, Any], shown: dict[str, int], path: str, *, stream: bool
) -> None:
    """On every surface, whole or streamed, a good answer is counted with what it showed."""
    async with (
        Upstream(Behaviour(**behaviour)) as upstream,
        relay(tmp_path, {"main": upstream.base_url}, snapshot()) as running,
    ):
        await _call(running, path, stream=stream)
        cell = await _finished(running)
        assert (cell.ok, _shown(cell)) == (1, shown)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", [_CHAT, _RESPONSES])
@pytest.mark.parametrize(
    ("behaviour", "shown"),
    [
        ({}, {"tools_called": 1}),
        ({"unknown_tool_rate": 1}, {"tools_called": 1, "tools_invalid": 1}),
        ({"bad_arguments_rate": 1}, {"tools_called": 1, "tools_invalid": 1}),
    ],
)
async def test_calls_are_looked_at(
    tmp_path: Path, behaviour: dict[str, Any], shown: dict[str, int], path: str, *, stream: bool
) -> None:
    """A tool call counts as one, and as a bad one if the caller cannot carry it out."""
    async with (
        Upstream(Behaviour(tool_call_rate=1, **behaviour)) as upstream,
        relay(tmp_path, {"main": upstream.base_url}, snapshot()) as running,
    ):
        await _call(running, path, stream=stream)
        cell = await _finished(running)
        assert (cell.ok, _shown(cell)) == (1, shown)


@pytest.mark.parametrize("stream", [False, True])
async def test_nothing_asked_nothing_judged(tmp_path: Path, *, stream: bool) -> None:
    """Whoever asks for plain text gets it, and neither JSON nor calls are looked for."""
    plain = {"tools": None, "response_format": None}
    async with (
        Upstream(Behaviour(bad_json_rate=1, tool_call_rate=1)) as upstream,
        relay(tmp_path, {"main": upstream.base_url}, snapshot()) as running,
    ):
        await _call(running, _CHAT, stream=stream, **plain)
        assert _shown(await _finished(running)) == {}


async def test_embeddings_are_not_empty(tmp_path: Path) -> None:
    """An answer that is no text is not looked at, but has its price."""
    price = {"input_usd_per_mtok": 1000, "output_usd_per_mtok": 1}
    target = {"upstream": "main", "model": "e", "price": price}
    state = snapshot(config(models={MODEL: target}))
    async with (
        Upstream() as upstream,
        relay(tmp_path, {"main": upstream.base_url}, state) as running,
        running.client() as client,
    ):
        await client.post("/v1/embeddings", json={"model": MODEL, "input": "hello"})
        cell = await _finished(running)
        assert _shown(cell) == {}
        assert cell.cost == {bucket_of(cell.tokens_in * 0.001 / 1e-5): 1}
        assert cell.token_ms == {}


@pytest.mark.parametrize("fault", [Fault.CUT_STREAM, Fault.STALL_STREAM, Fault.ERROR_FRAME])
@pytest.mark.parametrize(("frames", "aborted"), [(5, 1), (1, 0)])
async def test_aborted_streams(tmp_path: Path, fault: Fault, frames: int, aborted: int) -> None:
    """A stream that breaks off is aborted if content had been passed on, else it only failed."""
    state = snapshot(config(timeouts={"idle_seconds": 0.2}))
    async with (
        Upstream(Behaviour(fault=fault, cut_after_chunks=frames)) as upstream,
        relay(tmp_path, {"main": upstream.base_url}, state) as running,
    ):
        await _call(running, _CHAT, stream=True)
        cell = await _finished(running)
        assert (cell.ok, cell.upstream_error, cell.aborted) == (0, 1, aborted)


async def test_aborted_is_nobody_who_leaves(tmp_path: Path) -> None:
    """A caller who leaves in the middle of a stream aborts nothing."""
    async with (
        Upstream(Behaviour(tokens=1000, chunk_delay_ms=20)) as upstream,
        relay(tmp_path, {"main": upstream.base_url}, snapshot()) as running,
        running.client() as client,
    ):
        async with client.stream("POST", _CHAT, json=chat(stream=True)) as answer:
            async for piece in answer.aiter_bytes():
                if b'"content":" is"' in piece:
                    break
        await _until(lambda: running.cell(STABLE).client_gone == 1)
        assert running.cell(STABLE).aborted == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_pace_and_price(tmp_path: Path, *, stream: bool) -> None:
    """Time per token and the price of each good answer are in their histograms."""
    price = {"input_usd_per_mtok": 1, "output_usd_per_mtok": 1000}
    target = {"upstream": "main", "model": "m", "price": price}
    state = snapshot(config(models={MODEL: target}))
    behaviour = Behaviour(tokens=11, latency_ms=110, chunk_delay_ms=10)
    async with (
        Upstream(behaviour) as upstream,
        relay(tmp_path, {"main": upstream.base_url}, state) as running,
    ):
        await _call(running, _CHAT, stream=stream, response_format=None)
        cell = await _finished(running)
        (pace,) = cell.token_ms
        assert bucket_of(9) <= pace <= bucket_of(100)
        assert cell.cost == {bucket_of(cell.cost_usd / 1e-5): 1}
        assert cell.cost_usd > 0.01
