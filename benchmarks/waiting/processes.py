"""The processes of the measurement: what they are, what they need, and how they end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(slots=True)
class Watchman:
    """Counts what is there beside Prefect's server: this process, its worker, its flow processes."""

    worker_pid: int
    most_awake: int = 0
    most_mib: float = 0.0
    awake: int = 0
    mib: float = 0.0

    async def watch(self) -> None:
        """Until cancelled."""
        while True:
            awake = [pid for pid, parent in parents() if parent == self.worker_pid]
            pids = [os.getpid(), self.worker_pid, *awake]
            self.awake, self.mib = len(awake), sum(resident_mib(pid) for pid in pids)
            self.most_awake = max(self.most_awake, self.awake)
            self.most_mib = max(self.most_mib, self.mib)
            await asyncio.sleep(0.5)


def parents() -> Iterator[tuple[int, int]]:
    """Every process and the one that started it; who has ended but was not waited for is none."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
            if state != "Z":
                yield int(stat.parent.name), int(parent)


def resident_mib(pid: int) -> float:
    """A process's resident memory, what it shares with others included."""
    with suppress(OSError, StopIteration):
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024
    return 0.0


@contextmanager
def child(*argv: str, env: Mapping[str, str], cwd: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process of ours, with whatever it starts, until the block ends; its log is in the folder."""
    log = cwd / f"{argv[0]}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", *argv],
            env=dict(env), cwd=cwd, stdout=out, stderr=out, start_new_session=True,
        )  # fmt: skip
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
