"""The whole of `grayscale relay` as processes: parent, workers, signals."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from grayscale.errors import SettingsError
from grayscale.relay.process import bind
from grayscale.testing.upstreams import Behaviour, Upstream
from grayscale.up.children import descendants
from grayscale.up.lock import DataDirLock
from tests.relay.fake_control import publish, take_away
from tests.relay.harness import PATIENCE_SECONDS, SECRET, chat, config, settings, snapshot

_ROOT = Path(__file__).parents[2]
_START = """
import pickle, sys
from pathlib import Path
from grayscale.relay.process import run_relay
arguments = pickle.loads(sys.stdin.buffer.read())
assert "prefect" not in sys.modules
sys.exit(run_relay(control="tests.relay.fake_control:open_file_control", **arguments))
"""


@dataclass(frozen=True, slots=True)
class _Relay:
    process: Process
    url: str
    data_dir: Path

    def client(self) -> httpx.AsyncClient:
        headers = {"authorization": f"Bearer {SECRET}"}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=10)

    async def pid(self) -> int:
        async with self.client() as client:
            return int((await client.get("/healthz")).json()["pid"])

    async def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), PATIENCE_SECONDS)

    def flushed(self) -> list[dict[str, Any]]:
        path = self.data_dir / "flushed.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@asynccontextmanager
async def _relay(
    data_dir: Path,
    upstream: Upstream,
    *,
    workers: int = 1,
    inherit: socket.socket | None = None,
    **fields: Any,
) -> AsyncIterator[_Relay]:
    port = inherit.getsockname()[1] if inherit else _free_port()
    arguments = {
        "settings": settings({"main": upstream.base_url}, **fields),
        "data_dir": data_dir,
        "listen": f"fd://{inherit.fileno()}" if inherit else f"127.0.0.1:{port}",
        "workers": workers,
    }
    environ = os.environ | {"PYTHONPATH": f"{_ROOT / 'src'}:{_ROOT}:{os.getenv('PYTHONPATH', '')}"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _START),
        stdin=PIPE,
        env=environ,
        cwd=data_dir,
        pass_fds=(inherit.fileno(),) if inherit else (),
    )
    assert process.stdin is not None
    process.stdin.write(pickle.dumps(arguments))
    process.stdin.close()
    relay = _Relay(process, f"http://127.0.0.1:{port}", data_dir)
    try:
        await _until(lambda: _answers(relay))
        yield relay
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _workers_of(relay: _Relay) -> list[int]:
    return descendants(relay.process.pid)


def _lives(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def _answers(relay: _Relay) -> bool:
    try:
        async with relay.client() as client:
            return (await client.get("/healthz")).status_code in {200, 503}
    except httpx.TransportError:
        return False


async def _is_draining(relay: _Relay) -> bool:
    async with relay.client() as prober:
        return (await prober.get("/readyz")).status_code == 503


async def _until(check: Callable[[], Any]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await check():  # noqa: ASYNC110 - another process is looked at
            await asyncio.sleep(0.05)


async def _until_cut(lines: AsyncIterator[str]) -> list[str]:
    """The lines of an answer that does not end as it should."""
    seen: list[str] = []
    try:
        async for line in lines:
            seen.append(line)  # noqa: PERF401 - what came before the cut counts
    except httpx.RemoteProtocolError:
        return seen
    raise AssertionError("the answer ended as if it were complete")


async def test_workers_serve_follow_and_leave(tmp_path: Path) -> None:
    """Two workers on one socket serve, take over a new state at once, and end with code 0."""
    publish(tmp_path, snapshot(config_seq=1))
    async with Upstream() as upstream, _relay(tmp_path, upstream, workers=2) as relay:
        async with relay.client() as client:
            answer = await client.post("/v1/chat/completions", json=chat())
            assert answer.status_code == 200
            new = snapshot(config(model="gpt-4.1-2026"), config_id="config-2", config_seq=2)
            publish(tmp_path, new)

            async def is_applied() -> bool:
                applied = {row["pid"] for row in relay.flushed() if row.get("applied") == 2}
                return len(applied) == 2

            await _until(is_applied)
            answer = await client.post("/v1/chat/completions", json=chat())
            assert answer.headers["x-relay-config-id"] == "config-2"
            assert upstream.requests[-1].model == "gpt-4.1-2026"
        assert await relay.end() == 0
        rows = relay.flushed()
        assert sum(1 for row in rows if row.get("closed")) == 2
        started = sum(cell["started"] for row in rows for _, cell in row.get("cells", ()))
        assert started == 2


async def test_dead_worker_is_replaced(tmp_path: Path) -> None:
    """A worker that is killed is started again, and the socket was open all the time."""
    publish(tmp_path, snapshot())
    async with Upstream() as upstream, _relay(tmp_path, upstream) as relay:
        first = await relay.pid()
        os.kill(first, signal.SIGKILL)
        assert await relay.pid() != first
        assert await relay.end() == 0


async def test_hangups_restart_without_a_lost_request(tmp_path: Path) -> None:
    """Three rolling restarts under keep-alive callers and running streams: no request fails.

    Whom to tell stands in the file that docs/commands.md names.
    """
    publish(tmp_path, snapshot())
    behaviour = Behaviour(tokens=8, chunk_delay_ms=100)
    async with Upstream(behaviour) as upstream, _relay(tmp_path, upstream) as relay:
        answers: list[str] = []
        over = asyncio.Event()
        callers = [
            asyncio.create_task(_call_until(over, relay, answers, stream=number % 2 == 0))
            for number in range(6)
        ]
        await _until(partial(_is_in_office, relay))
        for _ in range(3):
            before = set(_workers_of(relay))
            os.kill(int((tmp_path / "relay.lock").read_text()), signal.SIGHUP)
            await _until(partial(_all_gone, before))
        over.set()
        await asyncio.gather(*callers)
        assert len(answers) > 20
        assert set(answers) == {"200 whole"}


async def test_a_replaced_worker_waits_for_callers_to_use_idle_connections(tmp_path: Path) -> None:
    """Who asks anew some seconds later is answered by the old worker, and told to close."""
    publish(tmp_path, snapshot())
    async with (
        Upstream() as upstream,
        _relay(tmp_path, upstream) as relay,
        relay.client() as client,
    ):
        before = (await client.get("/healthz")).json()["pid"]
        await _until(partial(_is_in_office, relay))
        relay.process.send_signal(signal.SIGHUP)
        await _until(partial(_is_another, relay, before))
        await asyncio.sleep(3)
        answer = await client.get("/healthz")
        assert answer.json()["pid"] == before
        assert answer.headers["connection"] == "close"
        await _until(partial(_all_gone, {before}))


async def _is_another(relay: _Relay, pid: int) -> bool:
    return await relay.pid() != pid


async def _call_until(
    over: asyncio.Event, relay: _Relay, answers: list[str], *, stream: bool
) -> None:
    """One keep-alive caller, and what it got."""
    async with relay.client() as client:
        while not over.is_set():
            answer = await client.post("/v1/chat/completions", json=chat(stream=stream))
            whole = "data: [DONE]" in answer.text if stream else "choices" in answer.json()
            answers.append(f"{answer.status_code} {'whole' if whole else 'cut'}")
            await asyncio.sleep(0.01)


async def _is_in_office(relay: _Relay) -> bool:
    file = relay.data_dir / "relay.lock"
    return file.exists() and file.read_text() == f"{relay.process.pid}\n"


async def _all_gone(pids: set[int]) -> bool:
    return not any(_lives(pid) for pid in pids)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_orphans_serve_until_the_next_parent(tmp_path: Path) -> None:
    """Under a supervisor that keeps the socket, a killed parent costs no request at all."""
    publish(tmp_path, snapshot())
    lock = DataDirLock(tmp_path)
    lock.acquire()
    with ExitStack() as cleanup, bind("127.0.0.1:0") as listening:
        cleanup.callback(lock.release)
        async with Upstream() as upstream:
            async with _relay(tmp_path, upstream, inherit=listening) as first:
                orphan = await first.pid()
                answers: list[str] = []
                over = asyncio.Event()
                caller = asyncio.create_task(_call_until(over, first, answers, stream=False))
                first.process.kill()
                await first.process.wait()
                assert await first.pid() == orphan
            async with _relay(tmp_path, upstream, inherit=listening) as second:
                await _until(lambda: _all_gone({orphan}))
                over.set()
                await caller
                assert set(answers) == {"200 whole"}
                assert await second.pid() != orphan
                assert await second.end() == 0


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_orphans_leave_when_nobody_will_come(tmp_path: Path) -> None:
    """Without a supervisor nobody starts another parent: the workers of a killed one leave."""
    publish(tmp_path, snapshot())
    async with Upstream() as upstream, _relay(tmp_path, upstream) as relay:
        orphan = await relay.pid()
        relay.process.kill()
        await _until(lambda: _all_gone({orphan}))


@pytest.mark.parametrize(
    ("address", "why"), [("fd://0", "not a socket|non-socket"), ("fd://no", "fd://no")]
)
def test_unusable_descriptor_is_named(address: str, why: str) -> None:
    """An inherited descriptor that is no listening socket is refused with its number."""
    with pytest.raises(SettingsError, match=why):
        bind(address)


async def test_serves_stable_without_its_store(tmp_path: Path) -> None:
    """A worker that starts while the store is away serves the stable version it knew last."""
    publish(tmp_path, snapshot(candidate=config(model="gpt-4.1-2026"), weight=100))
    async with Upstream() as upstream:
        async with _relay(tmp_path, upstream) as relay, relay.client() as client:
            answer = await client.post("/v1/chat/completions", json=chat())
            assert answer.headers["x-relay-version"] == "v2-beta"
            await relay.end()
        take_away(tmp_path)
        async with _relay(tmp_path, upstream) as relay, relay.client() as client:
            answer = await client.post("/v1/chat/completions", json=chat())
            assert answer.status_code == 200
            assert answer.headers["x-relay-version"] == "v1"
            ready = await client.get("/readyz")
            assert ready.status_code == 200
            assert "store" in ready.json()["reasons"]
            publish(tmp_path, replace(snapshot(), config_id="config-3", config_seq=3))

            async def is_back() -> bool:
                answer = await client.post("/v1/chat/completions", json=chat())
                return answer.headers["x-relay-config-id"] == "config-3"

            await _until(is_back)


async def test_drain_finishes_streams(tmp_path: Path) -> None:
    """SIGTERM lets a running stream finish, and answers 503 to readiness probes meanwhile."""
    publish(tmp_path, snapshot())
    behaviour = Behaviour(tokens=20, chunk_delay_ms=150)
    async with (
        Upstream(behaviour) as upstream,
        _relay(tmp_path, upstream) as relay,
        relay.client() as client,
        client.stream("POST", "/v1/chat/completions", json=chat(stream=True)) as answer,
    ):
        lines = answer.aiter_lines()
        await anext(lines)
        relay.process.send_signal(signal.SIGTERM)
        await _until(partial(_is_draining, relay))
        rest = [line async for line in lines]
        assert "data: [DONE]" in rest
        assert await asyncio.wait_for(relay.process.wait(), PATIENCE_SECONDS) == 0


async def test_second_signal_ends_streams_with_an_error(tmp_path: Path) -> None:
    """A second SIGTERM ends what still runs with an error frame, and the relay leaves."""
    publish(tmp_path, snapshot())
    behaviour = Behaviour(tokens=500, chunk_delay_ms=100)
    async with (
        Upstream(behaviour) as upstream,
        _relay(tmp_path, upstream) as relay,
        relay.client() as client,
        client.stream("POST", "/v1/chat/completions", json=chat(stream=True)) as answer,
    ):
        lines = answer.aiter_lines()
        await anext(lines)
        relay.process.send_signal(signal.SIGTERM)
        await _until(partial(_is_draining, relay))
        relay.process.send_signal(signal.SIGTERM)
        rest = await _until_cut(lines)
        assert any('"error"' in line for line in rest)
        assert "data: [DONE]" not in rest
        assert await asyncio.wait_for(relay.process.wait(), PATIENCE_SECONDS) == 0


def test_taken_port_is_named() -> None:
    """A port that is taken is refused with its number and what to do."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        pytest.raises(SettingsError, match=f"port {listening.getsockname()[1]} .*--listen"),
    ):
        bind(f"127.0.0.1:{listening.getsockname()[1]}")


def test_port_that_is_being_left_is_waited_for() -> None:
    """The port of a relay that is just leaving is taken over as soon as it is free."""
    leaving = socket.create_server(("127.0.0.1", 0))
    port = leaving.getsockname()[1]
    with ThreadPoolExecutor(1) as other:
        waiting = other.submit(bind, f"127.0.0.1:{port}", patience_seconds=10)
        assert not waiting.done()
        leaving.close()
        with waiting.result() as listening:
            assert listening.getsockname()[1] == port


@pytest.mark.parametrize("address", ["8400", "127.0.0.1:", "127.0.0.1:99999", ":80x"])
def test_unusable_address_is_named(address: str) -> None:
    """An address that is none is refused with an example."""
    with pytest.raises(SettingsError, match="HOST:PORT"):
        bind(address)
