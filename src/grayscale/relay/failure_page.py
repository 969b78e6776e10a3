"""What the breakers of one machine's workers know together: a memory-mapped page, as the brake's is.

Each worker writes its own slot and reads everybody's, so that two of them see a run of failures as
early as one would. A slot has an area per arm: stable's, then one per candidate. An area is

    key | last number | starts | veto until | marks (number, started at, the rest)

and is read by others for as long as its key, a hash of stable, salt and version, is theirs. Numbers
are given out by "one more than anybody's last": two that start in the same microsecond may get the
same one, which shifts nothing. Behind the areas stand the starts of stable's latest requests,
negative once they have ended. Aligned eight-byte stores do not tear; a mark is written with its
number last, and read with its number first and last. Times are the machine's monotonic clock.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

WORKERS = 32
ARMS = 5
MARKS = 64
STARTS = 1024

_KEY, _LAST, _STARTED, _VETO, _FIRST_MARK = range(5)
_MARK_CELLS = 3
_ARM_CELLS = _FIRST_MARK + MARKS * _MARK_CELLS
_SLOT_CELLS = ARMS * _ARM_CELLS + STARTS
_WIDTH, _HEADER_CELLS = 0, 8
_CALLER_BITS = 16
_EMPTY = memoryview(bytes(_ARM_CELLS * 8)).cast("Q")


class Mark(NamedTuple):
    """A request that did not go well; all between two marks went well, or still run."""

    number: int
    started_at: float
    took_seconds: float
    caller: int | None
    failed: bool


class FailurePage:
    """One worker's view of the page: `slot` is its own."""

    def __init__(self, page: mmap.mmap, slot: int, *, descriptor: int | None = None) -> None:
        self._page = page
        self._descriptor = descriptor  # kept open: the slot is held by a lock on it
        self.slot = slot
        self.cells = memoryview(page).cast("Q")
        self.times = memoryview(page).cast("d")
        self.cells[_WIDTH] = max(self.cells[_WIDTH], slot + 1)

    @classmethod
    def alone(cls) -> FailurePage:
        """A page that nobody else sees."""
        return cls(mmap.mmap(-1, _bytes(slots=1)), 0)

    @classmethod
    def open(cls, path: Path) -> FailurePage:
        """The page at `path`, made if it is not there; slots of workers that are gone are emptied.

        With every slot taken, or no room for the page, a worker is on its own.
        """
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return cls.alone()
        fcntl.lockf(descriptor, fcntl.LOCK_EX, 1, WORKERS)  # one at a time
        try:
            page = _mapped(descriptor)
            slot = _claim(descriptor, page)
        except OSError:
            os.close(descriptor)
            return cls.alone()
        fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, WORKERS)
        return cls(page, slot, descriptor=descriptor)

    def area(self, index: int, *key: str) -> Area:
        """This worker's area for an arm, emptied; beyond `ARMS` one that nobody else sees."""
        page = self if index < ARMS else FailurePage.alone()
        return Area(page, index % ARMS, "\0".join(key))

    def close(self) -> None:
        """Unmap the page, and leave the slot to others."""
        self.cells.release()
        self.times.release()
        self._page.close()
        if self._descriptor is not None:
            os.close(self._descriptor)


class Area:
    """One arm in one worker's slot, and the same arm in all others'."""

    def __init__(self, page: FailurePage, index: int, key: str) -> None:
        self._page = page
        self._cells, self._times = page.cells, page.times
        self._index = index
        self._own = _area_at(page.slot, index)
        self._starts = _area_at(page.slot, ARMS)
        self._width = 0
        self._others: tuple[int, ...] = ()
        self._key = int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "big") | 1
        self._left = False
        self._empty()
        self._cells[self._own] = self._key

    def leave(self) -> None:
        """Nobody hears of this arm any more, whatever its late requests say."""
        self._left = True
        self._empty()

    def _empty(self) -> None:
        self._cells[self._own] = 0  # the key first
        self._cells[self._own : self._own + _ARM_CELLS] = _EMPTY

    def next_number(self) -> int:
        """The place of one more request in the order in which all workers' started."""
        cells, key = self._cells, self._key
        if cells[_WIDTH] != self._width:
            self._look_around()
        last = cells[self._own + _LAST]
        for other in self._others:
            if cells[other] == key and cells[other + _LAST] > last:
                last = cells[other + _LAST]
        cells[self._own + _LAST] = last + 1
        return last + 1

    def began(self, at: float) -> int:
        """Keep stable's start; the place at which its end is to be noted."""
        count = self._cells[self._own + _STARTED]
        place = self._starts + count % STARTS
        self._times[place] = at
        self._cells[self._own + _STARTED] = count + 1
        return place

    def ended(self, place: int, at: float) -> None:
        """The request that began then at this place has ended, if it is still kept."""
        if self._times[place] == at and not self._left:
            self._times[place] = -at

    def put(self, place: int, mark: Mark) -> None:
        """Write one of this worker's marks."""
        if self._left:
            return
        at = self._own + _FIRST_MARK + place * _MARK_CELLS
        caller = 0 if mark.caller is None else mark.caller + 1
        took_us = int(mark.took_seconds * 1e6)
        self._cells[at] = 0
        self._times[at + 1] = mark.started_at
        self._cells[at + 2] = (took_us << _CALLER_BITS | caller) << 1 | mark.failed
        self._cells[at] = mark.number

    def others_marks(self) -> Iterator[Mark]:
        """The marks of all other workers."""
        for area in self._alike():
            for at in range(area + _FIRST_MARK, area + _ARM_CELLS, _MARK_CELLS):
                number, started_at = self._cells[at], self._times[at + 1]
                rest, failed = divmod(self._cells[at + 2], 2)
                took_us, caller = divmod(rest, 1 << _CALLER_BITS)
                if number and self._cells[at] == number:
                    known = caller - 1 if caller else None
                    yield Mark(number, started_at, took_us / 1e6, known, bool(failed))

    def starts(self) -> Iterator[tuple[float, bool]]:
        """When the latest requests of all workers started, and whether they have ended."""
        for area in (self._own, *self._alike()):
            first = area - self._index * _ARM_CELLS + ARMS * _ARM_CELLS
            for at in range(first, first + min(self._cells[area + _STARTED], STARTS)):
                yield abs(self._times[at]), self._times[at] < 0

    def veto(self, until: float) -> None:
        """Nothing that starts before then is evidence."""
        if self._left:
            return
        self._times[self._own + _VETO] = until

    @property
    def vetoed_until(self) -> float:
        """The latest veto of any worker."""
        return max(self._times[area + _VETO] for area in (self._own, *self._alike()))

    def _alike(self) -> list[int]:
        self._look_around()
        return [area for area in self._others if self._cells[area] == self._key]

    def _look_around(self) -> None:
        self._width = min(self._cells[_WIDTH], WORKERS)
        slots = (slot for slot in range(self._width) if slot != self._page.slot)
        self._others = tuple(_area_at(slot, self._index) for slot in slots)


def _area_at(slot: int, index: int) -> int:
    return _HEADER_CELLS + slot * _SLOT_CELLS + index * _ARM_CELLS


def _bytes(*, slots: int) -> int:
    return (_HEADER_CELLS + slots * _SLOT_CELLS) * 8


def _mapped(descriptor: int) -> mmap.mmap:
    size = _bytes(slots=WORKERS)
    if os.fstat(descriptor).st_size < size:
        # Written out: touching a hole of a mapped file on a full disk would kill the worker.
        os.pwrite(descriptor, bytes(size), 0)
    return mmap.mmap(descriptor, size)


def _claim(descriptor: int, page: mmap.mmap) -> int:
    """Take the first slot that is free, and empty all that are; raises OSError if none is."""
    free, taken = [], [-1]
    for slot in range(WORKERS):
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, slot)
        except OSError:
            taken.append(slot)
        else:
            free.append(slot)
            first = _area_at(slot, 0) * 8
            page[first : first + _SLOT_CELLS * 8] = bytes(_SLOT_CELLS * 8)
    if not free:
        raise OSError("every slot is taken")
    own = free[0]
    for slot in free[1:]:
        fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, slot)
    page[: 8 * (_WIDTH + 1)] = (max(own, *taken) + 1).to_bytes(8, "little")
    return own
