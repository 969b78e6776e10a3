"""A relay whose answers a test writes down: a real HTTP server on loopback, in its own thread."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from grayscale.testing.loopback import Exchange, LoopbackServer, Request

Answer = Callable[[Request], tuple[int, Any]]


@dataclass(frozen=True)
class Seen:
    """A request as it reached the relay."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: Any


class FakeRelay(LoopbackServer):
    """`relay.answers["GET", "/v1/admin/keys"] = lambda request: (200, {...})`."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: dict[tuple[str, str], Answer] = {}
        self.seen: list[Seen] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def url(self) -> str:
        """What GRAYSCALE_URL is set to."""
        return f"{self.origin}/v1"

    @property
    def writes(self) -> list[Seen]:
        """What was not only looked at."""
        return [seen for seen in self.seen if seen.method != "GET"]

    def says(self, method: str, path: str, value: Any, *, status: int = 200) -> None:
        """Give the same answer from now on."""
        self.answers[method, path] = lambda _request: (status, value)

    def refuses(self, method: str, path: str, status: int, code: str, message: str) -> None:
        """Answer no from now on."""
        error = {"code": code, "message": message, "type": "invalid_request_error", "param": None}
        self.says(method, path, {"error": error}, status=status)

    async def handle(self, exchange: Exchange) -> None:
        request = exchange.request
        body = json.loads(request.body) if request.body else None
        self.seen.append(
            Seen(request.method, request.path, request.query, dict(request.headers), body)
        )
        answer = self.answers.get((request.method, request.path))
        if answer is None:
            exchange.answer_json(404, {"error": {"code": "not_found", "message": request.path}})
            return
        status, value = answer(request)
        exchange.answer_json(status, value)

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self.start(), self._loop).result(5)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self.stop(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()
