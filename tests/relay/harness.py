"""A whole relay inside a test's event loop: real sockets, a control plane in memory."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from grayscale.relay.app import Listener, RelayApp
from grayscale.relay.brake import Brake
from grayscale.relay.runtime import Runtime
from grayscale.relay.server import HttpServer
from grayscale.relay.upstream import SoundAiohttpTransport
from grayscale.settings import Settings
from grayscale.traffic.counters import Cell, Cells
from grayscale.traffic.snapshot import Key, Snapshot, Version
from grayscale.traffic.versions import VersionConfig

PATIENCE_SECONDS = 20.0
"""How long a test waits for what it wants to see: an idle machine takes a tenth of a second."""
SECRET = "gs_test_0123456789abcdef0123456789"
OPERATOR = "gs_test_operator_0123456789abcdef0"
MODEL = "gpt-4.1"
STABLE, CANDIDATE = "v1", "v2-beta"


def key(secret: str = SECRET, **fields: Any) -> Key:
    """A relay key with scope `invoke`, unless told otherwise."""
    defaults: dict[str, Any] = {
        "id": f"key_{secret[-4:]}",
        "name": "test",
        "scopes": frozenset({"invoke"}),
    }
    sha256 = hashlib.sha256(secret.encode()).hexdigest()
    return Key(**(defaults | fields), sha256=sha256)


def config(upstream: str = "main", model: str = "gpt-4.1-2025", **fields: Any) -> VersionConfig:
    """A version's configuration that serves MODEL."""
    models = {MODEL: {"upstream": upstream, "model": model}}
    return VersionConfig.model_validate({"models": models} | fields)


def snapshot(
    stable: VersionConfig | None = None,
    candidate: VersionConfig | None = None,
    *,
    weight: float = 0,
    keys: tuple[Key, ...] = (),
    **fields: Any,
) -> Snapshot:
    """A state with a stable version, and a candidate at `weight` percent if one is given."""
    versions = {STABLE: Version(STABLE, stable or config(), brake_slot=8)}
    aliases, weights = {"stable": STABLE}, {STABLE: 100.0}
    if candidate is not None:
        versions[CANDIDATE] = Version(CANDIDATE, candidate, brake_slot=9)
        aliases["beta"] = CANDIDATE
        weights = {STABLE: 100.0 - weight, CANDIDATE: weight}
    known = keys or (key(), key(OPERATOR, scopes=frozenset({"invoke", "operate"})))
    defaults: dict[str, Any] = {"config_id": "config-1", "config_seq": 1}
    return Snapshot(
        **(defaults | fields),
        weights=weights,
        aliases=aliases,
        versions=versions,
        keys={one.sha256: one for one in known},
    )


def settings(upstreams: Mapping[str, str], **fields: Any) -> Settings:
    """Server settings with these upstream base URLs, each with a key of its own."""
    defined = {
        name: {"base_url": base_url, "api_key": f"sk-upstream-{name}"}
        for name, base_url in upstreams.items()
    }
    return Settings.model_validate({"upstreams": defined} | fields)


async def control_app(scope: Scope, receive: Receive, send: Send) -> None:
    """Stands where the admin API will: says on which listener it was asked."""
    answer = JSONResponse({"path": scope["path"], "listener": scope["grayscale.listener"]})
    await answer(scope, receive, send)


@dataclass(frozen=True, slots=True)
class Running:
    """A relay that can be called at `url`."""

    runtime: Runtime
    server: HttpServer
    url: str
    port: int

    def client(self, **options: Any) -> httpx.AsyncClient:
        """A caller with a valid key."""
        headers = {"authorization": f"Bearer {SECRET}"} | options.pop("headers", {})
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=10, **options)

    def cells(self) -> Cells:
        """Everything counted so far."""
        taken = self.runtime.meter.take()
        self.runtime.meter.put_back(taken)
        return taken

    def cell(self, version: str, assignment: str | None = None) -> Cell:
        """The sum of a version's cells."""
        total = Cell()
        for cell_key, cell in self.cells().items():
            if cell_key.version == version and assignment in {None, cell_key.assignment}:
                total.add(cell)
        return total

    def install(self, new: Snapshot, **changes: Any) -> None:
        """Serve by another snapshot."""
        self.runtime.install(replace(new, **changes))


@asynccontextmanager
async def relay(
    folder: Path,
    upstreams: Mapping[str, str],
    state: Snapshot | None = None,
    *,
    listener: Listener = Listener.ALL,
    **fields: Any,
) -> AsyncIterator[Running]:
    """A relay that serves by `state`, on a free port."""
    brake = Brake.open(folder / "brake")
    runtime = Runtime(settings(upstreams, **fields), brake)
    if state is not None:
        runtime.install(state)
    transports = {name: SoundAiohttpTransport(runtime.limits) for name in upstreams}
    server = HttpServer(
        RelayApp(runtime, transports, control_app, listener=listener), runtime.limits
    )
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    await server.start(listening)
    try:
        yield Running(runtime, server, f"http://127.0.0.1:{port}", port)
    finally:
        server.stop_accepting()
        server.abort()
        await server.wait_closed(seconds=2)
        for transport in transports.values():
            await transport.aclose()
        listening.close()
        brake.close()


def chat(**fields: Any) -> dict[str, Any]:
    """The body of a chat completion."""
    return {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}]} | fields
