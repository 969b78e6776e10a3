"""An HTTP server on a socket that is already bound: uvicorn's protocol, our own way to leave."""

from __future__ import annotations

import asyncio
import socket

from starlette.types import ASGIApp
from uvicorn.config import Config
from uvicorn.server import ServerState

from grayscale.relay.protocol import RelayProtocol
from grayscale.settings import Limits

_BACKLOG = 2048
_POLL_SECONDS = 0.05


class HttpServer:
    """Serves one ASGI app on one socket."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._limits = limits
        self._state = ServerState()
        self._config = Config(
            app,
            http=RelayProtocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=int(limits.keep_alive_seconds),
        )
        self._config.load()
        self._server: asyncio.Server | None = None

    async def start(self, listening: socket.socket) -> None:
        """Accept connections on a bound socket, which stays the caller's."""
        loop = asyncio.get_running_loop()
        own = listening.dup()  # closing the server must not close what other workers inherited
        self._server = await loop.create_server(self._protocol, sock=own, backlog=_BACKLOG)

    def stop_accepting(self) -> None:
        """Leave new connections to the others on this socket."""
        if self._server is not None:
            self._server.close()

    @property
    def connections(self) -> set[RelayProtocol]:
        """Every open connection."""
        return self._state.connections  # type: ignore[return-value]

    async def wait_closed(self, *, seconds: float, idle_seconds: float = 0.0) -> bool:
        """Whether all connections were closed within `seconds`.

        They close after their answers, or when they have been idle for `idle_seconds`.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        idle_since: dict[RelayProtocol, float] = {}
        while self.connections:
            now = loop.time()
            if now >= until:
                return False
            self._close_idle(idle_since, now, idle_seconds)
            await asyncio.sleep(_POLL_SECONDS)
        return True

    def _close_idle(
        self, idle_since: dict[RelayProtocol, float], now: float, idle_seconds: float
    ) -> None:
        for connection in list(self.connections):
            if not connection.idle:
                idle_since.pop(connection, None)
            elif now - idle_since.setdefault(connection, now) >= idle_seconds:
                connection.transport.close()

    def abort(self) -> None:
        """Close every connection at once."""
        for connection in list(self.connections):
            connection.transport.abort()

    def _protocol(self) -> asyncio.Protocol:
        return RelayProtocol(self._config, self._state, {}, limits=self._limits)
