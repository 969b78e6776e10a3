"""Prefect's server as `up` runs it: as it is, but patient with its own SQLite file.

Under concurrency Prefect answers 503 ("database is locked") at once: its transactions read first
and write later, and SQLite does not let a late writer wait. Its own clients try again, but a
person who submits an approval form, or a plain curl, would have to do so by hand. The transaction
was rolled back then, so the request is simply carried out again.
"""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

RETRY_DELAYS_SECONDS = (0.05, 0.1, 0.2, 0.4, 0.8)


class RetryWhenBusy:
    """Carries a request out again while the answer is 503; other answers pass as they come."""

    def __init__(self, app: ASGIApp, delays_seconds: tuple[float, ...]) -> None:
        self._app = app
        self._delays = delays_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = await _whole_body(receive)
        for delay in self._delays:
            attempt = _Attempt(body, receive, send)
            try:
                await self._app(dict(scope), attempt.receive, attempt.send_unless_busy)
            except Exception:  # the request boundary: Starlette answers an error, then raises it
                if not attempt.busy:
                    raise
            if not attempt.busy:
                return
            await asyncio.sleep(delay)
        await self._app(dict(scope), _Attempt(body, receive, send).receive, send)


class _Attempt:
    """One try: the request from memory, and an answer that is dropped if it is 503."""

    def __init__(self, body: bytes, receive: Receive, send: Send) -> None:
        self._body: bytes | None = body
        self._receive, self._send = receive, send
        self.busy = False

    async def receive(self) -> Message:
        if self._body is None:
            return await self._receive()  # whether the caller leaves
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}

    async def send_unless_busy(self, message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] == 503:
            self.busy = True
        if not self.busy:
            await self._send(message)


async def _whole_body(receive: Receive) -> bytes:
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


def create_app() -> Any:
    """The factory that uvicorn is given."""
    from prefect.server.api.server import create_app as create_prefect  # noqa: PLC0415 - 3 s

    return RetryWhenBusy(create_prefect(final=True), RETRY_DELAYS_SECONDS)
