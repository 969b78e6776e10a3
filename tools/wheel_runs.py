"""Starts an installed command, waits until an address answers, and ends it as a person would."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

FOREIGN_FLOW = 'raise RuntimeError("somebody else\'s flows were imported")\n'
STOP_SECONDS_MAX = 20


class WheelProblem(Exception):
    """The wheel is not what users need."""


@dataclass(frozen=True)
class Served:
    """A command, and the address that answers 200 once it serves."""

    command: list[str]
    url: str
    folder: Path
    start_seconds_max: float


def free_port() -> int:
    """A port of the loopback that nothing listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def clean_environment() -> dict[str, str]:
    """This process's environment without what leads back to the source tree."""
    dropped = ("PYTHON", "GRAYSCALE_", "PREFECT_", "COVERAGE_", "VIRTUAL_ENV")
    return {k: v for k, v in os.environ.items() if not k.startswith(dropped)}


def answers(url: str) -> bool:
    """Whether the address answers 200."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 - loopback
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def wait_until_serving(process: subprocess.Popen[bytes], what: Served, log: Path) -> None:
    """Return when the address answers; complain with the log when the command gave up."""
    give_up_at = time.monotonic() + what.start_seconds_max
    while not answers(what.url):
        if process.poll() is not None or time.monotonic() > give_up_at:
            text = log.read_text(errors="replace")[-4000:]
            raise WheelProblem(f"{' '.join(what.command)}: no answer at {what.url}\n{text}")
        time.sleep(0.2)


def stop(process: subprocess.Popen[bytes], what: Served) -> None:
    """Ctrl-C, and nothing of it may be left."""
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGINT)
    try:
        process.wait(STOP_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise WheelProblem(
            f"{' '.join(what.command)}: still there {STOP_SECONDS_MAX} s after a SIGINT"
        ) from None


@contextmanager
def served(what: Served) -> Iterator[None]:
    """The command runs and serves inside this block."""
    log = what.folder / f"{Path(what.command[0]).name}-{what.command[1]}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            what.command,
            cwd=what.folder,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            wait_until_serving(process, what, log)
            yield
        finally:
            stop(process, what)
