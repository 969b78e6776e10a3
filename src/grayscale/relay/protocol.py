"""uvicorn's HTTP/1.1 protocol, with the limits that it leaves out and a word when callers leave."""

from __future__ import annotations

import asyncio
import fcntl
import json
import termios
from array import array
from collections.abc import Callable
from typing import Any, cast

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from grayscale.settings import Limits

CONNECTION = "grayscale.connection"
"""The scope's key under which a request finds its `RelayProtocol`."""

_MAX_HEADERS = 128
_LINGER_SECONDS = 1.0
_MAX_URL_BYTES = 16 * 1024
_REASONS = {400: "Bad Request", 414: "URI Too Long", 431: "Request Header Fields Too Large"}


class _HeadRefused(Exception):
    pass


class RelayProtocol(HttpToolsProtocol):
    """Deadline and size of the head, exactly one Host, no transfer coding in HTTP/1.0."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limits: Limits,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._head_seconds = limits.head_seconds
        self._most_head_bytes = int(limits.header_kib * 1024)
        self._head_bytes = 0
        self._head_open = True
        self._head_timer: asyncio.TimerHandle | None = None
        self._refusal = (400, "The request is not valid HTTP/1.1")
        self._active: RequestResponseCycle | None = None
        self._on_lost: Callable[[], None] | None = None
        self._deaf = False

    # -- for the request that is being answered

    def watch_caller(self, on_lost: Callable[[], None]) -> None:
        """Call `on_lost` if the caller leaves before `unwatch_caller`."""
        if self.transport.is_closing():
            on_lost()
        else:
            self._on_lost = on_lost

    def unwatch_caller(self) -> None:
        """The answer is out; the caller may leave."""
        self._on_lost = None

    def cut_answer(self) -> None:
        """Close after what is written, without the end of the body."""
        if self._active is not None:
            self._active.disconnected = True
        if self.flow.write_paused:
            self.transport.abort()
        else:
            self.transport.close()

    @property
    def idle(self) -> bool:
        """Whether no request is being received or answered, nor waits to be read."""
        if self._head_bytes or not (self._active is None or self._active.response_complete):
            return False
        return not _unread_bytes(self.transport)

    # -- the wire

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(self._head_seconds, self._head_too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        on_lost, self._on_lost = self._on_lost, None
        self._stop_head_timer()
        super().connection_lost(exc)
        if on_lost is not None:
            on_lost()

    def timeout_keep_alive_handler(self) -> None:
        if self.idle:
            super().timeout_keep_alive_handler()

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        if self._head_open:
            self._head_bytes += len(data)
        super().data_received(data)
        if not self._head_open or self._head_bytes == 0 or self.transport.is_closing():
            return
        if self._head_bytes > self._most_head_bytes:
            self._refuse(431, "The request's head is too large")
            self.send_400_response("")
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(self._head_seconds, self._head_too_slow)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's signature
        """Answer what cannot be read, and close; within another answer, only close."""
        if self._deaf or self.transport.is_closing():
            return
        self._stop_head_timer()
        if self._active is not None and not self._active.response_complete:
            self.transport.close()
            return
        status, message = self._refusal
        self.transport.write(_bare_answer(status, message))
        self.transport.write_eof()
        self._deaf = True  # closing on unread bytes would reset the answer on its way
        self._head_timer = self.loop.call_later(_LINGER_SECONDS, self.transport.close)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_open = True
        cast("dict[str, Any]", self.scope)[CONNECTION] = self

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > _MAX_URL_BYTES:
            self._refuse(414, "The URL is too long")
            raise _HeadRefused

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        if len(self.headers) > _MAX_HEADERS:
            self._refuse(431, f"More than {_MAX_HEADERS} headers")
            raise _HeadRefused

    def on_headers_complete(self) -> None:
        self._stop_head_timer()
        self._check_head()
        self._head_open = False
        self._head_bytes = 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._head_open = True

    def _check_head(self) -> None:
        version = self.parser.get_http_version()
        names = [name for name, _ in self.headers]
        hosts = names.count(b"host")
        if self._head_bytes > self._most_head_bytes and self._head_size() > self._most_head_bytes:
            self._refuse(431, "The request's head is too large")
        elif version not in {"1.0", "1.1"}:
            self._refuse(400, f"HTTP/{version} is not spoken here")
        elif hosts > 1 or (hosts == 0 and version == "1.1"):
            self._refuse(400, "Exactly one Host header is needed")
        elif b"transfer-encoding" in names and not self._is_plainly_chunked(version):
            self._refuse(400, "The only Transfer-Encoding is 'chunked', and only in HTTP/1.1")
        elif not self.url.startswith(b"/"):
            self._refuse(400, "The request target must be a path")
        else:
            return
        raise _HeadRefused

    def _is_plainly_chunked(self, version: str) -> bool:
        codings = [value.lower() for name, value in self.headers if name == b"transfer-encoding"]
        return version == "1.1" and codings == [b"chunked"]

    def _head_size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._active = cycle
        super()._start_asgi_task(cycle, app)

    def _unsupported_upgrade_warning(self) -> None:
        """An offer to upgrade may be ignored, and is no news."""

    def _refuse(self, status: int, message: str) -> None:
        self._refusal = (status, message)

    def _head_too_slow(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self.transport.close()

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


def _unread_bytes(transport: asyncio.BaseTransport) -> int:
    """How many bytes the kernel has that the event loop has not seen: closing would lose them."""
    waiting = array("i", [0])
    if not transport.is_closing():  # else its socket may be gone
        fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.FIONREAD, waiting)
    return waiting[0]


def _bare_answer(status: int, message: str) -> bytes:
    error = {"code": "bad_request", "message": message, "type": "invalid_request_error"}
    body = json.dumps({"error": error | {"param": None}}).encode()
    head = (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\nx-relay-error-source: relay\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body
