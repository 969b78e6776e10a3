"""What workers do whose parent was killed: serve on until the next parent's workers listen.

Only where a supervisor is there to start that parent, and not for ever. Who is there is told by
file locks, which the kernel lets go with their holder, however it ends.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from contextlib import suppress
from pathlib import Path

PARENT_LOCK = "relay.lock"
"""Held by a parent from when all of its workers listen; the newest one's process id is in it."""
SUPERVISOR_LOCK = "up.lock"
"""Held by `grayscale up` while it runs; it also owns the listening socket."""

_LONGEST_SECONDS = 60.0
_LOOK_SECONDS = 0.25


def take_over(data_dir: Path) -> int:
    """Say that this parent's workers serve, until the descriptor returned is closed."""
    handle = os.open(data_dir / PARENT_LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(handle, fcntl.LOCK_SH)  # shared: a parent that drains is no obstacle
    with suppress(OSError):  # a full disk keeps nobody from serving
        os.truncate(handle, os.pwrite(handle, f"{os.getpid()}\n".encode("ascii"), 0))
    return handle


async def until_relieved(data_dir: Path, *, longest_seconds: float = _LONGEST_SECONDS) -> bool:
    """Return when an orphaned worker has to leave; whether others serve by then."""
    loop = asyncio.get_running_loop()
    until = loop.time() + longest_seconds
    while loop.time() < until:
        await asyncio.sleep(_LOOK_SECONDS)  # first: a dying parent lets go of its pipe, then this
        if _is_held(data_dir / PARENT_LOCK):
            return True
        if not _is_held(data_dir / SUPERVISOR_LOCK):
            break
    return False


def _is_held(file: Path) -> bool:
    try:
        handle = os.open(file, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False
