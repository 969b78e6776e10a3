"""Keeps children running: restarts what dies, with back-off, and ends all of them at the end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from grayscale.errors import GrayscaleError
from grayscale.up.children import Child, ChildProcess

RESTART_DELAYS_SECONDS = (0.2, 1.0, 2.0, 5.0, 10.0, 30.0)
_STEADY_SECONDS = 60.0


class ChildFailed(GrayscaleError):
    """A child ended before it was ready; the message has its last lines."""


class Supervisor:
    """The children of one `up`, by name."""

    def __init__(
        self,
        log_dir: Path,
        *,
        announce: Callable[[str], None],
        restart_delays_seconds: Sequence[float] = RESTART_DELAYS_SECONDS,
    ) -> None:
        self._log_dir = log_dir
        self._announce = announce
        self._delays = restart_delays_seconds
        self._running: dict[str, ChildProcess] = {}
        self._watches: dict[str, asyncio.Task[None]] = {}

    def log_of(self, name: str) -> Path:
        """Where a child's output is."""
        return self._log_dir / f"{name}.log"

    def pids(self) -> dict[str, int]:
        """The children that run now."""
        return {
            name: process.pid
            for name, process in self._running.items()
            if process.exit_code is None
        }

    async def start(self, child: Child) -> None:
        """Start a child and keep it running until `stop`."""
        self.log_of(child.name).write_bytes(b"")
        self._launch(child)
        watch = asyncio.get_running_loop().create_task(self._keep(child), name=child.name)
        self._watches[child.name] = watch

    def check(self, name: str) -> None:
        """Raise ChildFailed, with its last lines, if this child has ended by itself.

        One that was killed says nothing against the next one, which is started soon.
        """
        process = self._running[name]
        if process.exit_code is not None and process.exit_code >= 0:
            raise ChildFailed(f"{_ended(name, process.exit_code)}\n{_indented(process)}")

    async def stop(self, names: Iterable[str], *, grace_seconds: float) -> None:
        """End these children, all at once; those that do not listen are killed."""
        await asyncio.gather(*(self._stop(name, grace_seconds) for name in names))

    async def _stop(self, name: str, grace_seconds: float) -> None:
        watch = self._watches.pop(name, None)
        if watch is not None:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
        process = self._running.pop(name, None)
        if process is not None:
            await process.end(grace_seconds=grace_seconds)

    def _launch(self, child: Child) -> None:
        self._running[child.name] = ChildProcess(child, self.log_of(child.name))

    async def _keep(self, child: Child) -> None:
        deaths = 0
        while True:
            began = time.monotonic()
            process = self._running[child.name]
            exit_code = await process.wait()
            await process.end(grace_seconds=0.0)  # whatever it left behind in its group
            deaths = 1 if time.monotonic() - began > _STEADY_SECONDS else deaths + 1
            delay = self._delays[min(deaths, len(self._delays)) - 1]
            said = f"{_ended(child.name, exit_code)}; it starts again in {delay:g} s"
            self._announce(f"{said}\n{_indented(process)}")
            await asyncio.sleep(delay)
            self._launch(child)


def _ended(name: str, exit_code: int) -> str:
    how = f"signal {-exit_code}" if exit_code < 0 else f"exit code {exit_code}"
    return f"{name} ended with {how}"


def _indented(process: ChildProcess) -> str:
    return "\n".join(f"    {line}" for line in process.last_lines())
