"""Processes that can be killed and frozen, and the points at which that happens to them."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

from grayscale.errors import GrayscaleError, StoreUnavailable

T = TypeVar("T")


class Lost(GrayscaleError):
    """A request, or its answer, got lost."""


class Edge(StrEnum):
    """Where around a side effect."""

    BEFORE = "before"
    AFTER = "after"


class Harm(StrEnum):
    """What happens there."""

    KILL = "kill"
    FREEZE = "freeze"
    LOSE = "lose"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Fault:
    """One harm at one edge of the n-th side effect."""

    number: int
    edge: Edge
    harm: Harm
    frozen_seconds: float = 45.0


class Process:
    """A process: it runs until it ends or is killed; a dead one touches nothing any more."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True
        self.commits_fail = 0
        self.frozen_until = 0.0
        self._task: asyncio.Task[Any] | None = None

    def __repr__(self) -> str:
        return f"<Process {self.name} {'alive' if self.alive else 'dead'}>"

    def start(self, main: Coroutine[Any, Any, object]) -> asyncio.Task[Any]:
        """Begin."""
        self._task = asyncio.create_task(self._run(main), name=self.name)
        return self._task

    async def _run(self, main: Coroutine[Any, Any, object]) -> object:
        PROCESS.set(self)
        return await main

    def fail_a_commit(self) -> None:
        """Raises StoreUnavailable if that is what happens to it next."""
        if self.commits_fail:
            self.commits_fail -= 1
            raise StoreUnavailable(f"{self.name}: the store was gone at the commit")

    async def freeze(self, seconds: float) -> None:
        """SIGSTOP, and SIGCONT so much later: none of its tasks does anything meanwhile."""
        self.frozen_until = asyncio.get_running_loop().time() + seconds
        await self.thawed()

    async def thawed(self) -> None:
        """What each of its tasks waits for before it touches anything."""
        if self.frozen_until:
            left = self.frozen_until - asyncio.get_running_loop().time()
            if left > 0:
                await asyncio.sleep(left)

    async def goes_on(self) -> None:
        """The same before an effect; none comes of a dead process."""
        await self.thawed()
        if not self.alive:
            await asyncio.Event().wait()

    def kill(self) -> None:
        """`kill -9`: what its `finally` blocks try reaches nobody."""
        self.alive = False
        if self._task is not None:
            self._task.cancel()


PROCESS: ContextVar[Process] = ContextVar("process")


@dataclass(slots=True)
class Effects:
    """Every side effect goes through `carry_out`, which counts it, and strikes where it is told."""

    fault: Fault | None = None
    seen: list[str] = field(default_factory=list)
    struck: str = ""

    async def carry_out(self, label: str, deed: Callable[[], Awaitable[T]]) -> T:
        """Do it, with whatever happens to its process right before or after."""
        await PROCESS.get().goes_on()
        number = len(self.seen)
        self.seen.append(label)
        await self._pass(number, Edge.BEFORE)
        done = await deed()
        await self._pass(number, Edge.AFTER)
        return done

    async def _pass(self, number: int, edge: Edge) -> None:
        fault = self.fault
        if fault is None or (fault.number, fault.edge) != (number, edge):
            return
        process = PROCESS.get()
        self.struck = f"{process.name}: {fault.harm} {edge} {self.seen[number]}"
        match fault.harm:
            case Harm.KILL:
                process.kill()
                await asyncio.Event().wait()
            case Harm.FREEZE:
                await process.freeze(fault.frozen_seconds)
            case Harm.LOSE:
                raise Lost(self.struck)
            case Harm.FAIL:
                process.commits_fail += 1
