"""One server process of the benchmark: the relay, a proxy on stock httpx, or no proxy at all.

`python benchmarks/candidates.py relay http://127.0.0.1:9000/v1` prints `{"port": …}` when ready.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
import sys
import tempfile
from pathlib import Path

import httpx
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from grayscale.relay.app import RelayApp
from grayscale.relay.brake import Brake
from grayscale.relay.runtime import Runtime
from grayscale.relay.server import HttpServer
from grayscale.relay.upstream import SoundAiohttpTransport
from grayscale.settings import Limits, Settings
from grayscale.traffic.snapshot import Key, Snapshot, Version
from grayscale.traffic.versions import VersionConfig

KEY = "gs_benchmark_0123456789abcdef01234567"
_ANSWER = b'{"id":"chatcmpl-1","object":"chat.completion","choices":[]}'


def relay(upstream: str) -> ASGIApp:
    """The relay: two versions, 90 to 10, a checked key, metering on."""
    settings = Settings.model_validate(
        {"upstreams": {"main": {"base_url": upstream, "api_key": "sk-upstream"}}}
    )
    brake = Brake.open(Path(tempfile.mkdtemp()) / "brake")
    runtime = Runtime(settings, brake)
    runtime.install(_snapshot())
    return RelayApp(runtime, {"main": SoundAiohttpTransport(settings.limits)}, _nothing)


def _snapshot() -> Snapshot:
    def config(model: str) -> VersionConfig:
        models = {"gpt-4.1": {"upstream": "main", "model": model}}
        return VersionConfig.model_validate({"models": models})

    key = Key("key_1", "bench", hashlib.sha256(KEY.encode()).hexdigest(), frozenset({"invoke"}))
    return Snapshot(
        config_id="config-1",
        config_seq=1,
        weights={"v1": 90.0, "v2": 10.0},
        aliases={"stable": "v1", "beta": "v2"},
        versions={
            "v1": Version("v1", config("gpt-4.1-2025"), 8),
            "v2": Version("v2", config("gpt-4.1-2026"), 9),
        },
        keys={key.sha256: key},
    )


def starlette_httpx(upstream: str) -> ASGIApp:
    """What one writes first: Starlette, and one shared httpx.AsyncClient."""
    client = httpx.AsyncClient(timeout=60)

    async def call(request: Request) -> Response:
        body = await request.json()
        body["model"] = "gpt-4.1-2025"
        headers = {"authorization": "Bearer sk-upstream"}
        url = upstream + "/chat/completions"
        if not body.get("stream"):
            answer = await client.post(url, json=body, headers=headers)
            return Response(answer.content, answer.status_code, media_type="application/json")
        outgoing = client.build_request("POST", url, json=body, headers=headers)
        streamed = await client.send(outgoing, stream=True)
        return StreamingResponse(streamed.aiter_raw(), media_type="text/event-stream")

    return Starlette(routes=[Route("/v1/chat/completions", call, methods=["POST"])])


def null(upstream: str) -> ASGIApp:
    """The floor: the same server, a fixed answer, nobody called."""
    del upstream

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        del scope
        while (await receive()).get("more_body"):
            pass
        headers = [(b"content-type", b"application/json"), (b"content-length", b"59")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": _ANSWER})

    return app


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    del scope, receive, send


CANDIDATES = {"relay": relay, "starlette-httpx": starlette_httpx, "null": null}


async def main() -> None:
    """Serve until killed."""
    app = CANDIDATES[sys.argv[1]](sys.argv[2])
    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    await HttpServer(app, Limits()).start(listening)
    print(json.dumps({"port": listening.getsockname()[1]}), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
