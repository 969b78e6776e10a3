"""The relay as one ASGI callable: callers' requests here, the control plane's to its own app."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import httpx
from starlette.types import ASGIApp, Receive, Scope, Send

from grayscale.errors import Refused
from grayscale.relay.arrival import read_head
from grayscale.relay.endpoints import BY_PATH
from grayscale.relay.protocol import CONNECTION
from grayscale.relay.proxy import Proxy
from grayscale.relay.reply import Reply
from grayscale.relay.runtime import Runtime

LISTENER = "grayscale.listener"
"""The scope's key that tells the control app on which `Listener` a request came."""

_MODELS = "/v1/models"
_PROBES = frozenset({"/healthz", "/readyz", "/metrics"})


class Listener(StrEnum):
    """Who a listening socket is for; `ALL` where there is only one."""

    ALL = "all"
    CALLERS = "callers"
    ADMIN = "admin"


class RelayApp:
    """Dispatches by path; nothing here waits for anything."""

    def __init__(
        self,
        runtime: Runtime,
        transports: Mapping[str, httpx.AsyncBaseTransport],
        control: ASGIApp,
        *,
        listener: Listener = Listener.ALL,
    ) -> None:
        self._runtime = runtime
        self._proxy = Proxy(runtime, transports)
        self._control = control
        self._listener = listener

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request."""
        path: str = scope["path"]
        endpoint = BY_PATH.get(path)
        if self._goes_to_control(path):
            scope[LISTENER] = self._listener
            await self._control(scope, receive, self._closing(send))
        elif self._listener is Listener.ADMIN:
            await self._refuse(scope, send, _unknown(path))
        elif endpoint is not None and scope["method"] == "POST":
            await self._proxy.call(scope, receive, send, endpoint)
        elif path == _MODELS and scope["method"] == "GET":
            await self._proxy.models(scope, send)
        elif endpoint is not None or path == _MODELS:
            await self._refuse(scope, send, _wrong_method("POST" if endpoint else "GET"))
        else:
            await self._refuse(scope, send, _unknown(path))

    def _goes_to_control(self, path: str) -> bool:
        if path in _PROBES:
            return True
        is_admin = path == "/v1/admin" or path.startswith("/v1/admin/")
        return is_admin and self._listener is not Listener.CALLERS

    async def _refuse(self, scope: Scope, send: Send, refusal: Refused) -> None:
        arrival = read_head(scope, 0.0)
        reply = Reply(send, scope[CONNECTION], arrival.request_id, self._runtime.health)
        reply.closing = arrival.has_body
        await reply.refuse(refusal)

    def _closing(self, send: Send) -> Send:
        """While draining, the control app's answers too ask for the connection's end."""
        if not self._runtime.health.draining:
            return send

        async def closing_send(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
            await send(message)

        return closing_send


def _unknown(path: str) -> Refused:
    message = (
        f"There is nothing at {path[:200]!r}; see GET /v1/models and POST /v1/chat/completions"
    )
    return Refused(404, "unknown_path", message)


def _wrong_method(allowed: str) -> Refused:
    message = f"Only {allowed} is possible here"
    return Refused(405, "method_not_allowed", message, headers={"Allow": allowed})
