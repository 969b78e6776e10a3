"""Steady traffic, and what comes of it as the callers see it."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import aiohttp

REQUESTS_PER_SECOND = 100
_STREAMED_EVERY = 4
_CALLERS = 1999  # odd, so that each of them is streamed to now and then
_TIMEOUT = aiohttp.ClientTimeout(total=30)
_RECENT_SECONDS = 10.0


@dataclass(slots=True)
class Tally:
    """Requests so far, and who answered the latest ones."""

    total: int = 0
    failed: int = 0
    why: Counter[str] = field(default_factory=Counter)
    _recent: deque[tuple[float, str]] = field(default_factory=deque)

    def count(self, *, version: str, problem: str | None, now: float) -> None:
        """One request has ended; `problem` is None if the caller got all that was asked for."""
        self.total += 1
        if problem is not None:
            self.failed += 1
            self.why[problem] += 1
        self._recent.append((now, version))
        while self._recent and self._recent[0][0] < now - _RECENT_SECONDS:
            self._recent.popleft()

    def recent(self) -> dict[str, float]:
        """Which share of the latest answers came from which version, in percent."""
        counted = Counter(version for _, version in self._recent)
        return {name: 100 * count / len(self._recent) for name, count in counted.items()}


class Traffic:
    """Callers who ask at an even pace whatever comes back, as callers do."""

    def __init__(
        self,
        base_url: str,
        api_key: str,
        *,
        model: str,
        requests_per_second: float = REQUESTS_PER_SECOND,
    ) -> None:
        self.tally = Tally()
        self._url = f"{base_url}/chat/completions"
        self._headers = {"Authorization": f"Bearer {api_key}"}
        self._model = model
        self._pause_seconds = 1 / requests_per_second
        self._running: set[asyncio.Task[None]] = set()
        self._pacer: asyncio.Task[None] | None = None
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Begin to ask."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), headers=self._headers, timeout=_TIMEOUT
        )
        self._pacer = asyncio.create_task(self._ask_evenly(self._session))
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop asking; requests under way are counted unless they are cut short by an error."""
        if self._pacer is not None:
            self._pacer.cancel()
        if exc_type is not None:
            for task in self._running:
                task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def _ask_evenly(self, session: aiohttp.ClientSession) -> None:
        loop = asyncio.get_running_loop()
        due, number = loop.time(), 0
        while True:
            task = asyncio.create_task(self._ask(session, number))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
            number += 1
            due += self._pause_seconds
            await asyncio.sleep(max(0.0, due - loop.time()))

    async def _ask(self, session: aiohttp.ClientSession, number: int) -> None:
        stream = number % _STREAMED_EVERY == 0
        body = {
            "model": self._model,
            "messages": [{"role": "user", "content": "How does a dimmer work?"}],
            "user": f"caller-{number % _CALLERS}",
            "stream": stream,
        }
        version, problem = "-", None
        try:
            async with session.post(self._url, json=body) as answer:
                version = answer.headers.get("X-Relay-Version", "-")
                problem = _problem(answer.status, await answer.read(), stream=stream)
        except (aiohttp.ClientError, TimeoutError) as error:
            problem = type(error).__name__
        now = asyncio.get_running_loop().time()
        self.tally.count(version=version, problem=problem, now=now)


def _problem(status: int, body: bytes, *, stream: bool) -> str | None:
    if status != 200:
        return f"HTTP {status}"
    if stream and b"data: [DONE]" not in body:
        return "a stream was cut"
    return None
