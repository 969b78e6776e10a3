"""A load generator that costs little: fixed requests over keep-alive connections."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

import httptools


@dataclass(slots=True)
class Result:
    """What one run of requests showed; latencies in milliseconds."""

    requests: int = 0
    failed: int = 0
    latencies_ms: list[float] = field(default_factory=list)

    def quantile_ms(self, q: float) -> float:
        """The q-quantile of the latencies."""
        ordered = sorted(self.latencies_ms)
        return ordered[min(len(ordered) - 1, int(q * len(ordered)))]


class _Caller(asyncio.Protocol):
    def __init__(self, request: bytes, left: list[int], result: Result) -> None:
        self._request = request
        self._left = left
        self._result = result
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._sent_at = 0.0
        self.done = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._next()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if not self.done.is_set():
            self._result.failed += 1
            self.done.set()

    def on_message_complete(self) -> None:
        self._result.requests += 1
        self._result.failed += self._parser.get_status_code() != 200
        self._result.latencies_ms.append((time.perf_counter() - self._sent_at) * 1000)
        self._next()

    def _next(self) -> None:
        if self._transport is None:
            return
        if self._left[0] <= 0:
            self.done.set()
            self._transport.close()
            return
        self._left[0] -= 1
        self._sent_at = time.perf_counter()
        self._parser = httptools.HttpResponseParser(self)
        self._transport.write(self._request)


async def send(port: int, request: bytes, *, count: int, connections: int) -> Result:
    """Send `count` requests over `connections` connections; each waits for its answer."""
    loop = asyncio.get_running_loop()
    result, left = Result(), [count]
    callers = []
    for _ in range(connections):
        _, caller = await loop.create_connection(
            lambda: _Caller(request, left, result), "127.0.0.1", port
        )
        callers.append(caller)
    await asyncio.gather(*(caller.done.wait() for caller in callers))
    return result


def post(path: str, body: bytes, key: str) -> bytes:
    """The bytes of one POST, with the headers that an SDK sends."""
    head = (
        f"POST {path} HTTP/1.1\r\nhost: relay.example\r\nauthorization: Bearer {key}\r\n"
        "content-type: application/json\r\naccept: application/json\r\n"
        "accept-encoding: gzip, deflate\r\nuser-agent: OpenAI/Python 3\r\n"
        "x-stainless-lang: python\r\nx-stainless-retry-count: 0\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
