"""A real `grayscale up` in a directory of its own, and the processes that it consists of."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from grayscale.up.children import descendants
from tools.chaos.faults import Fault

ROOT = Path(__file__).resolve().parents[2]
WORKERS = 2
_PR_SET_CHILD_SUBREAPER = 36
_LINES: dict[str, tuple[str, ...]] = {
    "flow": ("prefect.engine",),
    "conductors": ("grayscale.up.conductors",),
    "prefect": ("grayscale.up.prefect_server:create_app",),
    "worker": ("grayscale.relay.worker_main",),
    "parent": ("grayscale.cli.main", "relay"),
    "up": ("grayscale.cli.main", "up"),
}

HIT = {
    Fault.FLOW: "flow",
    Fault.PREFECT_WORKER: "conductors",
    Fault.PREFECT_SERVER: "prefect",
    Fault.PARENT: "parent",
}
"""The parts that there are once."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The process ids of everything that runs now, by part."""

    of: dict[str, list[int]]

    def any(self, part: str) -> int | None:
        """One of them, if there is one."""
        return next(iter(self.of[part]), None)


class RunningStack:
    """`grayscale up` on fixed ports, so that it can be started again where it was."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        # Orphans of killed processes become our children: nothing escapes the count, or the end.
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
        self.folder = folder
        self.data_dir = folder / "data"
        self.port, self.prefect_port = _free_ports(2)
        (folder / "tmp").mkdir()
        (folder / "grayscale.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")

    @property
    def origin(self) -> str:
        """Where the relay is."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def key(self) -> str:
        """The admin key."""
        return (self.data_dir / "admin.key").read_text(encoding="utf-8").strip()

    @property
    def log(self) -> Path:
        """What `up` prints, over all starts."""
        return self.folder / "up.log"

    def said(self) -> str:
        """What it has printed so far."""
        return self.log.read_text(encoding="utf-8")

    def start(self) -> None:
        """Start it; returns at once."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("GRAYSCALE_", "PREFECT_")) and "proxy" not in name.lower()
        }
        path = os.pathsep.join([str(ROOT / "src"), str(ROOT), kept.get("PYTHONPATH", "")])
        command = [
            *(sys.executable, "-m", "grayscale.cli.main", "up"),
            *("--config", str(self.folder / "grayscale.yaml"), "--data-dir", str(self.data_dir)),
            *("--listen", f"127.0.0.1:{self.port}", "--prefect-port", str(self.prefect_port)),
            *("--workers", str(WORKERS)),
        ]
        with self.log.open("ab") as output:
            subprocess.Popen(
                command,
                cwd=self.folder,
                env=kept | {"PYTHONPATH": path, "TMPDIR": str(self.folder / "tmp")},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def parts(self) -> Parts:
        """What runs now."""
        of: dict[str, list[int]] = {part: [] for part in _LINES}
        for pid in descendants(os.getpid()):
            part = _part_of(pid)
            if part is not None:
                of[part].append(pid)
        return Parts(of)

    def victims(self, fault: Fault) -> list[int]:
        """Whom this fault hits now; empty if there is no such process at the moment."""
        parts = self.parts()
        found: list[int | None] = []
        match fault:
            case Fault.FLOW | Fault.PREFECT_WORKER | Fault.PREFECT_SERVER | Fault.PARENT:
                found = [parts.any(HIT[fault])]
            case Fault.LEADER:
                found = [self.leader()]
            case Fault.RELAY_WORKER:
                leader = self.leader()
                found = [next((pid for pid in parts.of["worker"] if pid != leader), None)]
            case Fault.EVERYTHING:
                found = [*parts.of["up"], *descendants(os.getpid())]  # first who restarts others
        return [pid for pid in found if pid is not None]

    def stopped(self) -> list[int]:
        """Everything, stopped before it is killed: what is begun meanwhile would outlive the rest."""
        found: list[int] = []
        while new := [pid for pid in self.victims(Fault.EVERYTHING) if pid not in found]:
            for pid in new:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
            found += new
        return found

    def leader(self) -> int | None:
        """The relay worker that leads, if it lives."""
        found = self.rows("select w.pid from leader l join workers w on w.id = l.holder")
        alive = self.parts().of["worker"]
        return next((pid for (pid,) in found if pid in alive), None)

    def serving(self) -> set[int]:
        """The relay workers that have told the store so, and have a parent that lives."""
        known = {pid for (pid,) in self.rows("select pid from workers where flushes > 0")}
        parent = self.parts().any("parent")
        return known & set(descendants(parent)) if parent else set()

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """What the control store says; nothing while it cannot be read."""
        file = self.data_dir / "grayscale.db"
        try:
            with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=2)) as store:
                return list(store.execute(statement))
        except sqlite3.Error:
            return []

    def end(self) -> None:
        """End everything that is left."""
        kill(descendants(os.getpid()))


@contextmanager
def ended(stack: RunningStack) -> Iterator[RunningStack]:
    """Leave nothing behind."""
    try:
        yield stack
    finally:
        stack.end()


def kill(pids: list[int]) -> None:
    """`kill -9`, the first one first."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _part_of(pid: int) -> str | None:
    with suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
        for part, wanted in _LINES.items():
            if all(word in words for word in wanted):
                return part
    return None


def _free_ports(count: int) -> list[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()
