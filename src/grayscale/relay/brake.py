"""The brake: a small memory-mapped page by which traffic is taken away without the store.

One page per data directory, shared by every process that opens it. Slot 0 is a rising hint of the
newest `config_seq`; slots 1 to 7 name the releases that were aborted last, by hash: they get no
weight again, whatever the store does not know yet. Slots 8 to 511 hold a ban per version
(`Version.brake_slot`), 0 = none. A ban is its time in nanoseconds (61 bits until 2043) and two flags: end running requests too, and the
breaker's, which a person's is told from. Aligned eight-byte stores do not tear: no lock is needed.
"""

from __future__ import annotations

import mmap
import os
import time
from hashlib import blake2b
from pathlib import Path

PAGE_BYTES = 4096
FIRST_SLOT = 8
LAST_SLOT = PAGE_BYTES // 8 - 1

_HINT = 0
_CUT = 1 << 63
_TRIPPED = 1 << 62


class Brake:
    """Bans by slot, and the hint that the configuration changed."""

    def __init__(self, page: mmap.mmap) -> None:
        self._page = page
        self._cells = memoryview(page).cast("Q")

    @classmethod
    def open(cls, path: Path) -> Brake:
        """Map the page at `path`, created (mode 0600) if it is not there."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(descriptor).st_size < PAGE_BYTES:
                os.ftruncate(descriptor, PAGE_BYTES)
            return cls(mmap.mmap(descriptor, PAGE_BYTES))
        finally:
            os.close(descriptor)

    def banned(self, slot: int) -> bool:
        """Whether the version at `slot` may get no traffic."""
        return self._cells[slot] != 0

    def value(self, slot: int) -> int:
        """What the slot holds now: 0, or the value that its last `ban` returned."""
        return self._cells[slot]

    def ban(self, slot: int, *, cut: bool = False) -> int:
        """Take the version at `slot` out of traffic; with `cut`, its running requests too.

        Returns the value written, which `lift` wants back: a ban put on again meanwhile stays.
        """
        value = time.time_ns() | (_CUT if cut else 0)
        self._cells[_checked(slot)] = value
        return value

    def trip(self, slot: int) -> bool:
        """The breaker's ban; False if the version is out of traffic already."""
        if self.banned(_checked(slot)):
            return False
        self._cells[slot] = time.time_ns() | _TRIPPED
        return True

    def lift(self, slot: int, value: int) -> bool:
        """Let the version at `slot` have traffic again, if its ban is still the one of `value`."""
        if self._cells[_checked(slot)] != value:
            return False
        self._cells[slot] = 0
        return True

    def wants_cut(self, slot: int) -> bool:
        """Whether the ban at `slot` also ends the version's running requests."""
        return self._cells[slot] & _CUT != 0

    def end(self, release_id: str) -> None:
        """The release was aborted: whoever is about to raise its weight must ask `ended`."""
        number = _hash(release_id)
        self._cells[_slot_of(number)] = number

    def ended(self, release_id: str) -> bool:
        """Whether the release was aborted, whatever the store says of it."""
        number = _hash(release_id)
        return self._cells[_slot_of(number)] == number

    def reopen(self, release_id: str) -> None:
        """The abort was refused after all."""
        if self.ended(release_id):
            self._cells[_slot_of(_hash(release_id))] = 0

    @property
    def hint(self) -> int:
        """The newest `config_seq` that a writer announced."""
        return self._cells[_HINT]

    def announce(self, config_seq: int) -> None:
        """Tell every worker that `config_seq` can be read from the store; never goes back."""
        if config_seq > self._cells[_HINT]:  # noqa: PLR1730 - max() would store an old value
            self._cells[_HINT] = config_seq

    def close(self) -> None:
        """Unmap the page; bans stay in the file."""
        self._cells.release()
        self._page.close()


def is_trip(value: int) -> bool:
    """Whether a ban was the breaker's, nobody's word."""
    return value & _TRIPPED != 0


def _hash(release_id: str) -> int:
    return int.from_bytes(blake2b(release_id.encode(), digest_size=8).digest(), "big") | 1


def _slot_of(number: int) -> int:
    return 1 + (number >> 1) % (FIRST_SLOT - 1)


def _checked(slot: int) -> int:
    if not FIRST_SLOT <= slot <= LAST_SLOT:
        raise ValueError(f"brake slot {slot} is not a version's; {FIRST_SLOT} to {LAST_SLOT} are")
    return slot
