"""Callers at an even pace, who ask again as any SDK does, and what they got."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

import aiohttp

MODEL = "chat"
REQUESTS_PER_SECOND = 30
BAD = "-bad"
"""How the names of versions end that are made to fail."""

_STREAMED_EVERY = 4
_CALLERS = 1999
_TRIES = 3
_PAUSE_SECONDS = 0.5
_TIMEOUT = aiohttp.ClientTimeout(total=60)


class Blame(Protocol):
    """Which kills explain a connection that was lost between two moments."""

    @property
    def last_at(self) -> float:
        """When the last kill was."""
        ...

    def cut(self, begun: float, ended: float) -> bool:
        """Whether a process that held connections was killed then."""
        ...

    def nobody_there(self, begun: float, ended: float) -> bool:
        """Whether everything was dead then."""
        ...


@dataclass(slots=True)
class Count:
    """What the callers got."""

    asked: int = 0
    answered: int = 0
    cut: int = 0
    """Connections that died with a killed process; the caller asked again."""
    nobody_there: int = 0
    """Asked while everything was dead."""
    failed_on_candidate: int = 0
    """Answered badly by a version that is made to fail."""
    failed: Counter[str] = field(default_factory=Counter)
    slowest_seconds: float = 0.0

    @property
    def failed_on_stable(self) -> int:
        """What must be 0."""
        return self.failed.total()


@dataclass(frozen=True, slots=True)
class _Answer:
    problem: str | None
    lost: bool = False
    refused: bool = False
    version: str = ""


class Traffic:
    """Use as an async context manager: callers ask while it is open."""

    def __init__(self, origin: str, api_key: str, blame: Blame) -> None:
        self.count = Count()
        self._url = f"{origin}/v1/chat/completions"
        self._headers = {"Authorization": f"Bearer {api_key}"}
        self._blame = blame
        self._running: set[asyncio.Task[None]] = set()
        self._pacer: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), headers=self._headers, timeout=_TIMEOUT
        )
        self._pacer = asyncio.create_task(self._ask_evenly())
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._pacer is not None:
            self._pacer.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._session.close()

    async def _ask_evenly(self) -> None:
        loop = asyncio.get_running_loop()
        due, number = loop.time(), 0
        while True:
            task = asyncio.create_task(self._call(number))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
            number += 1
            due += 1 / REQUESTS_PER_SECOND
            await asyncio.sleep(max(0.0, due - loop.time()))

    async def _call(self, number: int) -> None:
        """One question, asked up to three times where the connection was lost."""
        loop, count = asyncio.get_running_loop(), self.count
        count.asked += 1
        first = now = loop.time()
        answer = _Answer("never asked")
        for tries_left in reversed(range(_TRIES)):
            begun = loop.time()
            answer = await self._ask(number)
            now = loop.time()
            if (answer.lost or answer.refused) and self._blame.nobody_there(begun, now):
                count.nobody_there += 1
                return
            if not (answer.lost and self._blame.cut(begun, now) and tries_left):
                break
            count.cut += 1
            await asyncio.sleep(_PAUSE_SECONDS)
        began, ended = (moment - self._blame.last_at for moment in (first, now))
        self._file(answer, f"{began:.2f} to {ended:.2f} s after the last kill")
        count.slowest_seconds = max(count.slowest_seconds, now - first)

    def _file(self, answer: _Answer, when: str) -> None:
        if answer.problem is None:
            self.count.answered += 1
        elif answer.version.endswith(BAD):
            self.count.failed_on_candidate += 1
        else:
            self.count.failed[f"{answer.problem} ({when})"] += 1

    async def _ask(self, number: int) -> _Answer:
        stream = number % _STREAMED_EVERY == 0
        body = {
            "model": MODEL,
            "messages": [{"role": "user", "content": "How does a dimmer work?"}],
            "user": f"caller-{number % _CALLERS}",
            "stream": stream,
        }
        try:
            async with self._session.post(self._url, json=body) as response:
                version = response.headers.get("X-Relay-Version", "")
                text = await response.read()
        except TimeoutError:
            return _Answer("no answer within 60 s")
        except aiohttp.ClientConnectorError as error:
            return _Answer(str(error), refused=True)
        except aiohttp.ClientError as error:
            return _Answer(type(error).__name__, lost=True)
        if response.status != 200:
            return _Answer(f"HTTP {response.status}: {text[:120]!r}", version=version)
        if stream and b"data: [DONE]" not in text:
            return _Answer("a stream that was not whole", version=version)
        return _Answer(None, version=version)
