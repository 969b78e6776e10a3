"""Several workers' breakers over one page: together they see what one worker would."""

import mmap
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path

import pytest

from grayscale.relay.breaker import Breaker, Trip
from grayscale.relay.failure_page import MARKS, STARTS, WORKERS, FailurePage
from grayscale.testing.clock import FakeClock
from grayscale.traffic.outcomes import Outcome

STABLE, CANDIDATE = "v1", "v2"
OK, ERROR = Outcome.OK, Outcome.UPSTREAM_ERROR
_PAGE_BYTES = 1 << 20


class Machine:
    """Workers that take turns, a second per request."""

    def __init__(self, workers: int) -> None:
        self.clock = FakeClock()
        self.trips: list[Trip] = []
        self._shared = mmap.mmap(-1, _PAGE_BYTES)
        self.breakers = [self.worker(slot) for slot in range(workers)]

    def worker(self, slot: int, salt: str = "rel_1") -> Breaker:
        """A worker that begins in this slot."""
        page = FailurePage(self._shared, slot)
        breaker = Breaker(self.clock.monotonic, self.trips.append, page)
        breaker.guard(STABLE, [CANDIDATE], salt=salt)
        return breaker

    def ask(
        self, worker: int, outcome: Outcome, version: str = CANDIDATE, caller: int | None = None
    ) -> None:
        """One request, which ends at once."""
        self.clock.advance(1)
        self.breakers[worker].start(version, caller).settle(outcome)

    def stable_answers(self, worker: int = 0) -> None:
        """Two good answers of stable, as if one were the retry of the candidate's failure."""
        for _ in range(2):
            self.ask(worker, OK, STABLE)


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_six_failures_trip_whoever_sees_them(workers: int) -> None:
    """The sixth failure in a row trips, not the sixth of any one worker; and it trips once."""
    machine = Machine(workers)
    for number, worker in zip(range(20), cycle(range(workers)), strict=False):
        machine.stable_answers(worker)
        if number < 6:
            machine.ask((worker + 1) % workers, ERROR)
            assert len(machine.trips) == (number == 5)
    assert machine.trips == [Trip(CANDIDATE, 6, 6, 0, 10)]


def test_a_good_answer_of_another_worker_ends_a_run() -> None:
    """All that one worker sees fails, and all that the other one sees does not."""
    machine = Machine(2)
    for _ in range(200):
        machine.ask(0, OK, STABLE)
        machine.ask(0, ERROR)
        machine.ask(1, OK)
    assert machine.trips == []


def test_a_running_request_of_another_worker_has_not_failed() -> None:
    """Fast errors among another worker's slow answers are not "all fail"."""
    machine = Machine(2)
    for _ in range(40):
        machine.ask(0, OK, STABLE)
        for _ in range(6):
            machine.breakers[1].start(CANDIDATE, None)
        machine.ask(0, ERROR)
    assert machine.trips == []


def test_stable_is_compared_over_all_workers() -> None:
    """Five stable requests anywhere are a comparison; those that run too long do not vouch."""
    machine = Machine(2)
    for _ in range(5):
        machine.breakers[1].start(STABLE, None)
    for _ in range(10):
        machine.ask(0, ERROR)
    assert machine.trips == []
    for _ in range(5):
        machine.ask(1, OK, STABLE)
    machine.ask(0, ERROR)
    assert len(machine.trips) == 1


def test_stable_that_is_sick_in_another_worker_vetoes() -> None:
    """One worker alone has seen stable fail: none blames the candidate."""
    machine = Machine(2)
    for _ in range(20):
        machine.ask(1, OK, STABLE)
    for _ in range(5):
        machine.ask(1, ERROR, STABLE)
    for _ in range(14):
        machine.ask(1, OK, STABLE)
        machine.ask(0, ERROR)
    assert machine.trips == []


@pytest.mark.parametrize(("callers", "trips"), [(2, False), (3, True)])
def test_three_callers_must_fail_over_all_workers(callers: int, *, trips: bool) -> None:
    """A caller's failures in two workers are still one caller's."""
    machine = Machine(2)
    for number in range(24):
        machine.stable_answers()
        machine.ask(number % 2, ERROR, caller=number // 2 % callers)
    assert bool(machine.trips) == trips


def test_another_release_is_none_of_its_business() -> None:
    """While one worker does not know of a new release yet, its old requests say nothing of it."""
    machine = Machine(2)
    for _ in range(5):
        machine.ask(0, OK, STABLE)
        machine.ask(1, ERROR)
    late = [machine.breakers[0].start(CANDIDATE, None) for _ in range(9)]
    machine.breakers[0].guard(STABLE, [CANDIDATE], salt="rel_2")
    machine.breakers[1].guard(STABLE, [CANDIDATE], salt="rel_2")
    for request in late:
        request.settle(ERROR)
    for _ in range(5):
        machine.ask(0, OK, STABLE)
        machine.ask(1, ERROR)
    assert machine.trips == []


def test_a_worker_that_joins_counts_on() -> None:
    """Its requests come after those of the others, though it has counted none itself."""
    machine = Machine(1)
    for _ in range(100):
        machine.ask(0, OK)
    machine.breakers.append(machine.worker(1))
    for number in range(6):
        machine.stable_answers()
        machine.ask(1, ERROR if number else OK)
    assert machine.trips == []
    machine.stable_answers()
    machine.ask(0, ERROR)
    assert len(machine.trips) == 1


def test_what_is_kept_has_an_end() -> None:
    """Old marks and starts make room for new ones; an excused failure is none for anybody."""
    machine = Machine(2)
    for _ in range(2 * STARTS):
        machine.ask(0, OK, STABLE)
    for _ in range(2 * MARKS):
        machine.ask(0, ERROR)
        for _ in range(2):
            machine.ask(1, OK)
    for _ in range(5):
        machine.ask(0, OK, STABLE)
        machine.clock.advance(1)
        failed = machine.breakers[0].start(CANDIDATE, None)
        failed.settle(ERROR)
        failed.excuse()
    for _ in range(5):
        machine.ask(1, ERROR)
    assert machine.trips == []
    machine.ask(1, ERROR)
    assert [trip.stable_failures for trip in machine.trips] == []
    for _ in range(7):
        machine.ask(0, OK, STABLE)
    machine.ask(1, ERROR)
    assert len(machine.trips) == 1


def test_more_candidates_than_the_page_has_room_for_are_watched_alone() -> None:
    """In a split of very many versions each worker's own failures still trip."""
    machine = Machine(1)
    names = [f"v{number}" for number in range(2, 12)]
    machine.breakers[0].guard(STABLE, names, salt="rel_1")
    for name in names:
        for _ in range(6):
            machine.stable_answers()
            machine.ask(0, ERROR, name)
    assert [trip.version for trip in machine.trips] == names


_OPENS = """
import pathlib, sys
from grayscale.relay.failure_page import FailurePage
page = FailurePage.open(pathlib.Path(sys.argv[1]))
area = page.area(1, sys.argv[2])
print(page.slot, [area.next_number(), area.next_number()][-1], flush=True)
sys.stdin.read()
"""


@contextmanager
def another_worker(path: Path, key: str) -> Iterator[list[int]]:
    """A process that has opened the page: its slot, and the second number that it was given."""
    process = subprocess.Popen(
        [sys.executable, "-c", _OPENS, str(path), key],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        yield [int(word) for word in process.stdout.readline().split()]
    finally:
        process.kill()
        process.communicate()


def test_each_process_has_a_slot_and_leaves_it_by_dying(tmp_path: Path) -> None:
    """A living worker's slot is nobody else's; a dead one's is emptied by the next, which gets it."""
    path = tmp_path / "breaker"
    page = FailurePage.open(path)
    assert page.slot == 0
    with another_worker(path, "theirs") as said:
        assert said == [1, 2]
    assert page.area(1, "theirs").next_number() == 3
    with another_worker(path, "another's") as said:
        assert said == [1, 2]
        assert page.area(1, "theirs").next_number() == 1
        assert page.area(1, "another's").next_number() == 3
    page.close()


def test_without_a_place_for_the_page_a_worker_is_alone(tmp_path: Path) -> None:
    """It starts all the same, and trips by what it sees itself."""
    page = FailurePage.open(tmp_path / "missing" / "breaker")
    assert page.slot == 0
    assert [page.area(1, "key").next_number() for _ in range(2)] == [1, 1]
    assert WORKERS > 1
    page.close()
