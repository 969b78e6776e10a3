"""The event log's heads, noted beside the store after every transaction that wrote to the log.

What is cut off the end of the log, or written anew with hashes that fit, no longer has the heads
that stand here. Loss of a line (a crash, a full disk) harms nobody: the next head covers it.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path

NAME = "audit-heads.log"
_log = logging.getLogger(__name__)
_HASH_CHARACTERS = 64
_LONGEST_LINE = 128


@dataclass(frozen=True, slots=True)
class Head:
    """A record of the log that was the newest one: its number, its event's id, its hash."""

    seq: int
    id: str
    hash: str


def note(data_dir: Path, head: Head) -> None:
    """Add a head to the file; a file that cannot be written is told, and stops nothing."""
    # The line break comes first: what a full disk has torn must not become this line's beginning.
    line = f"\n{head.seq} {head.id} {head.hash}".encode()
    try:
        descriptor = os.open(data_dir / NAME, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)
    except OSError as error:
        _log.warning("the event log's head could not be noted in %s: %s", NAME, error)


def noted(data_dir: Path) -> list[Head]:
    """Every head that was noted, oldest first; lines that were torn are left out."""
    return _heads(data_dir, last_bytes=None)


def newest(data_dir: Path, count: int) -> list[Head]:
    """The heads that were noted last, oldest first, from the end of the file alone."""
    return _heads(data_dir, last_bytes=count * _LONGEST_LINE)[-count:]


def _heads(data_dir: Path, *, last_bytes: int | None) -> list[Head]:
    try:
        with (data_dir / NAME).open("rb") as file:
            skipped = max(0, file.seek(0, os.SEEK_END) - last_bytes) if last_bytes else 0
            file.seek(skipped)
            if skipped:
                file.readline()  # the rest of a line that began before
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return []
    heads = [head for line in text.splitlines() if (head := _read(line)) is not None]
    return sorted(heads, key=lambda head: head.seq)


def _read(line: str) -> Head | None:
    parts = line.split(" ")
    if len(parts) != 3 or not parts[0].isdecimal() or len(parts[2]) != _HASH_CHARACTERS:
        return None
    return Head(int(parts[0]), parts[1], parts[2])
