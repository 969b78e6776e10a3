"""One child process: in its own process group, its output in a file, ended for certain."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_TAIL_BYTES = 8192
_LOOK_SECONDS = 0.05
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Child:
    """What to run, and what people call it."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: Path
    descriptors: tuple[int, ...] = ()
    """Those of ours that it inherits, under the same numbers."""


class ChildProcess:
    """A running child. `log` collects its output over all its restarts."""

    def __init__(self, child: Child, log: Path) -> None:
        """Start it, as leader of a process group of its own."""
        self._log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - our own commands
                child.argv,
                env=dict(child.env),
                cwd=child.cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=child.descriptors,
                start_new_session=True,
                preexec_fn=_end_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509
            )

    @property
    def pid(self) -> int:
        """Its process id, and that of its group."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        return self._process.poll()

    async def wait(self) -> int:
        """Its exit code, once it has ended."""
        while True:
            exit_code = self.exit_code
            if exit_code is not None:
                return exit_code
            await asyncio.sleep(_LOOK_SECONDS)

    async def end(self, *, grace_seconds: float) -> None:
        """SIGTERM to the whole group; after the grace, SIGKILL to it and to all that it began."""
        self._signal_group(signal.SIGTERM)
        with suppress(TimeoutError):
            await asyncio.wait_for(self.wait(), grace_seconds)
        below = descendants(self.pid)  # such as the relay's workers, each with its own group
        self._signal_group(signal.SIGKILL)
        for pid in below:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await self.wait()

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


def descendants(pid: int) -> list[int]:
    """The processes that a running process began, and those that they began (Linux only)."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(") ")[2].split()
            children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found = list(children.get(pid, []))
    for child in found:
        found += children.get(child, [])
    return found


def _end_with_parent() -> None:
    """In the child, before it becomes its program: die when `up` is killed without warning."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
