"""Child processes: started apart, ended for certain, restarted when they die."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from grayscale.up.children import Child, ChildProcess, descendants
from grayscale.up.supervisor import ChildFailed, Supervisor

SLEEPER = "import time; print('ready', flush=True); time.sleep(60)"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + SLEEPER
FAMILY = (
    "import subprocess, sys; "
    "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], "
    "start_new_session=True); " + DEAF
)
MANY = ("one", "two", "three", "four", "five", "six")
FAILING = "import sys; print('no such setting: colour'); sys.exit(3)"


def child(code: str, name: str = "part") -> Child:
    """A child that runs this Python."""
    return Child(name, [sys.executable, "-S", "-c", code], dict(os.environ), Path.cwd())


def alive(pid: int) -> bool:
    """Whether a process is there, and not only its grave."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except OSError:
        return False
    return state != "Z"


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that another process brings about."""
    while True:
        if condition():
            return
        await asyncio.sleep(0.02)


async def until_says(process: ChildProcess, word: str) -> None:
    """Wait until a child has printed a word."""
    await until(lambda: word in "\n".join(process.last_lines()))


@pytest.fixture
def said() -> list[str]:
    """What a supervisor announced."""
    return []


@pytest.fixture
async def supervisor(tmp_path: Path, said: list[str]) -> AsyncIterator[Supervisor]:
    """A supervisor that restarts at once, and whose children do not outlive the test."""
    kept = Supervisor(tmp_path, announce=said.append, restart_delays_seconds=[0.01])
    yield kept
    await kept.stop(["part", *MANY], grace_seconds=0)  # the dead ones too: they would come back


async def test_a_child_that_listens_ends_by_sigterm(tmp_path: Path) -> None:
    """A well-behaved child ends as soon as it is asked."""
    process = ChildProcess(child(SLEEPER), tmp_path / "log")
    await until_says(process, "ready")
    began = time.monotonic()
    await process.end(grace_seconds=60)
    assert process.exit_code == -signal.SIGTERM
    assert time.monotonic() - began < 20


async def test_a_deaf_child_is_killed_after_the_grace(tmp_path: Path) -> None:
    """A child that ignores SIGTERM, as Prefect's worker does, is killed when its grace is over."""
    process = ChildProcess(child(DEAF), tmp_path / "log")
    await until_says(process, "ready")
    await process.end(grace_seconds=0.1)
    assert process.exit_code == -signal.SIGKILL


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_no_grandchild_is_left(tmp_path: Path) -> None:
    """What a killed child had begun is killed too, even in a session of its own."""
    process = ChildProcess(child(FAMILY), tmp_path / "log")
    await until_says(process, "ready")
    (grandchild,) = descendants(process.pid)
    assert alive(grandchild)
    await process.end(grace_seconds=0.1)
    await until(lambda: not alive(grandchild))


async def test_a_dead_child_is_started_again(supervisor: Supervisor, said: list[str]) -> None:
    """A child that dies is announced, and runs again under another process id."""
    await supervisor.start(child(SLEEPER))
    first = supervisor.pids()["part"]
    os.kill(first, signal.SIGKILL)
    await until(lambda: supervisor.pids().get("part", first) != first)
    assert said[0].startswith("part ended with signal 9; it starts again in 0.01 s")


async def test_a_failing_child_tells_why(supervisor: Supervisor, said: list[str]) -> None:
    """The last lines of a child that ended are shown, so that nobody must look for a log."""
    await supervisor.start(child(FAILING))
    await until(lambda: len(said) >= 2)  # it is tried again, and again
    assert "part ended with exit code 3" in said[0]
    assert "no such setting: colour" in said[0]


async def test_a_child_that_never_came_up_is_an_error(tmp_path: Path) -> None:
    """Whoever waits for a child learns that it has ended, and its last words."""
    slow = Supervisor(tmp_path, announce=lambda _text: None, restart_delays_seconds=[60])
    await slow.start(child(FAILING))
    await until(lambda: not slow.pids())
    with pytest.raises(ChildFailed, match="exit code 3\n    no such setting: colour"):
        slow.check("part")
    await slow.stop(["part"], grace_seconds=0)


async def test_a_killed_child_is_no_failed_one(tmp_path: Path) -> None:
    """Whoever waits for a child that was killed goes on waiting: the next one is on its way."""
    slow = Supervisor(tmp_path, announce=lambda _text: None, restart_delays_seconds=[60])
    await slow.start(child(SLEEPER))
    os.kill(slow.pids()["part"], signal.SIGKILL)
    await until(lambda: not slow.pids())
    slow.check("part")
    await slow.stop(["part"], grace_seconds=0)


async def test_stopping_ends_all_at_once(supervisor: Supervisor) -> None:
    """Six deaf children take one grace, not six; unknown names are no error."""
    for name in MANY:
        await supervisor.start(child(DEAF, name))
    began = time.monotonic()
    await supervisor.stop([*MANY, "seven"], grace_seconds=0.5)
    assert time.monotonic() - began < 2.5
    assert supervisor.pids() == {}
