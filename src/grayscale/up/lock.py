"""One `up` per data directory."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from grayscale.errors import SettingsError

_NAME = "up.lock"


class DataDirLock:
    """A lock that the kernel lets go when its holder ends, however it ends."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._handle: int | None = None

    def acquire(self) -> None:
        """Take it; raises SettingsError naming the process that has it."""
        handle = os.open(self._data_dir / _NAME, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(handle, 20).decode("ascii", "replace").strip() or "unknown"
            os.close(handle)
            raise SettingsError(
                f"data directory {self._data_dir} is in use by another `grayscale up` "
                f"(process {holder}); stop that one, or give another directory with --data-dir"
            ) from error
        os.ftruncate(handle, 0)
        os.write(handle, f"{os.getpid()}\n".encode("ascii"))
        self._handle = handle

    def release(self) -> None:
        """Let it go."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
