"""One child process: in its own process group, its output in a file, ended for certain."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_TAIL_BYTES = 8192
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Child:
    """What to run, and what people call it."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: Path


class ChildProcess:
    """A running child. `log` collects its output over all its restarts."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log

    @classmethod
    async def launch(cls, child: Child, log: Path) -> ChildProcess:
        """Start it, as leader of a process group of its own."""
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *child.argv,
                env=dict(child.env),
                cwd=child.cwd,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=_end_with_parent if sys.platform == "linux" else None,
            )
        return cls(process, log)

    @property
    def pid(self) -> int:
        """Its process id, and that of its group."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        return self._process.returncode

    async def wait(self) -> int:
        """Its exit code, once it has ended."""
        return await self._process.wait()

    async def end(self, *, grace_seconds: float) -> None:
        """SIGTERM to the whole group, and SIGKILL to what is left of it after the grace."""
        self._signal_group(signal.SIGTERM)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), grace_seconds)
        self._signal_group(signal.SIGKILL)
        await self._process.wait()

    def last_lines(self, count: int = 15) -> list[str]:
        """The end of its output."""
        with self._log.open("rb") as file:
            file.seek(max(0, self._log.stat().st_size - _TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
        return text.splitlines()[-count:]

    def _signal_group(self, number: signal.Signals) -> None:
        try:
            os.killpg(self._process.pid, number)
        except (ProcessLookupError, PermissionError):
            return  # the whole group is gone


def _end_with_parent() -> None:
    """In the child, before it becomes its program: die when `up` is killed without warning."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
