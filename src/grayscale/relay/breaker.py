"""The breaker: takes a failing candidate out of traffic request by request.

**The run.** A CUSUM over the candidate's requests in the order in which they *started*: a failure
adds ln(.9/.25), anything else takes ln(.75/.1) away, never below 0. At ln(1000), which is six
straight failures or seven of eight, they are a run. A request that still runs counts like a good
answer, so fast errors among slow good answers are not "all fail", and a run is as unlikely as if
every answer were known (4e-9 per request at 4 % errors). What is answered to requests that
started before an outage says nothing about it.

**The comparison.** Blame needs one. Of the stable requests (retries of the candidate's included)
that started since the run began, and are answered or have had the time in which the slowest of
the run failed, there must be five, and at most a tenth of them failed. Two versions that fail alike
must explain what both did 4,000 times worse than two that do not: where the candidate has about
as many requests as stable, six straight failures are no rarity in a burst that both suffer.

**The veto.** Where more than a fifth of stable's requests fail, nothing that starts before 30 s
later is evidence: an outage of both shows a little earlier in one than in the other. Nor is a
failure whose retry on stable failed too.

**Callers.** In one run a sticky caller's failures count twice at most, so that three must fail;
and who failed twice without a good answer since counts no more: one poison caller never trips it.

**The workers.** Each has its own breaker, over the requests of all workers of its machine: what
they see they tell each other on a page (`failure_page`), and whoever sees the last failure trips.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

from grayscale.judge.likelihood import times_likelier_apart
from grayscale.relay.failure_page import MARKS, Area, FailurePage, Mark
from grayscale.traffic.outcomes import FAILURES, Outcome

_FAILED = math.log(0.9 / 0.25)
_DID_NOT_FAIL = math.log(0.75 / 0.1)
_TRIPS_AT = math.log(1000)
_MOST_OF_ONE_CALLER = 2
_STABLE_AT_LEAST = 5
_STABLE_FAILED_AT_MOST = 0.1
_SURE_TIMES = 4_000.0
_SICK_FAILURES = 5
_SICK_SHARE = 0.2
_VETO_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Trip:
    """Why a candidate was taken out of traffic."""

    version: str
    failures: int
    requests: int
    stable_failures: int
    stable_requests: int

    @property
    def reason(self) -> str:
        """The trip in one sentence."""
        return (
            f"breaker: {self.failures} of the last {self.requests} candidate requests failed, "
            f"stable {self.stable_failures} of {self.stable_requests} meanwhile"
        )


class Witness:
    """One started request, by which the breaker hears of its end."""

    __slots__ = ("_breaker", "_place", "arm", "caller", "number", "started_at")

    def __init__(self, breaker: Breaker, arm: _Arm, started_at: float, caller: int | None) -> None:
        self._breaker = breaker
        self.arm = arm
        self.started_at = started_at
        self.caller = caller
        self.number = arm.area.next_number()
        self._place = arm.began(started_at)

    def settle(self, outcome: Outcome) -> None:
        """How the request ended."""
        if self._place is not None:
            self.arm.area.ended(self._place, self.started_at)
        if outcome is not Outcome.OK:
            self._breaker.did_not_answer(self, outcome)
        elif self.caller is not None:
            self.arm.unanswered.pop(self.caller, None)

    def excuse(self) -> None:
        """The failure was not the version's: stable failed at the same request."""
        self.arm.excuse(self.number)


class Breaker:
    """One worker's breaker over the candidates of its split; `on_trip` hears of each once."""

    def __init__(
        self,
        clock: Callable[[], float],
        on_trip: Callable[[Trip], None],
        page: FailurePage | None = None,
    ) -> None:
        self._clock = clock
        self._on_trip = on_trip
        self._page = page or FailurePage.alone()
        self._guarded = ("", "")
        self._stable = _Stable(self._page.area(0))
        self._candidates: dict[str, _Candidate] = {}

    def guard(self, stable: str, candidates: Iterable[str], *, salt: str) -> None:
        """Compare these versions with `stable`; what is known stays for as long as the salt."""
        if self._guarded != (stable, salt):
            self._guarded = (stable, salt)
            self._stable.area.leave()
            self._stable = _Stable(self._page.area(0, stable, salt))
            self._drop(self._candidates)
        names = set(candidates)
        self._drop([name for name in self._candidates if name not in names])
        for name in sorted(names - set(self._candidates)):
            taken = {known.index for known in self._candidates.values()}
            index = next(index for index in count(1) if index not in taken)
            area = self._page.area(index, stable, salt, name)
            self._candidates[name] = _Candidate(name, index, area)

    def _drop(self, names: Iterable[str]) -> None:
        for name in list(names):
            self._candidates.pop(name).area.leave()

    def start(self, version: str, caller: int | None) -> Witness:
        """A request that takes part in the comparison is sent to a candidate, or else to stable.

        `caller` is the bucket of a sticky caller.
        """
        arm = self._candidates.get(version, self._stable)
        return Witness(self, arm, self._clock(), caller)

    def did_not_answer(self, request: Witness, outcome: Outcome) -> None:
        """A request ended without a good answer; may trip."""
        now = self._clock()
        arm = request.arm
        arm.mark(request, outcome, now)
        if outcome not in FAILURES:
            return
        if isinstance(arm, _Candidate):
            self._judge(arm, request, now)
        elif arm is self._stable and self._stable.is_sick(request.number):
            self._stable.area.veto(now + _VETO_SECONDS)

    def _judge(self, candidate: _Candidate, request: Witness, now: float) -> None:
        if self._candidates.get(candidate.version) is not candidate or candidate.tripped:
            return
        run = candidate.run(request.number, since=self._stable.area.vetoed_until)
        if run is None:
            return
        failed, of = self._stable.since(run.began_at, started_by=now - run.slowest_seconds)
        if of < _STABLE_AT_LEAST or failed > _STABLE_FAILED_AT_MOST * of:
            return
        if times_likelier_apart(failed, of, run.failures, run.requests) >= _SURE_TIMES:
            candidate.tripped = True
            self._on_trip(Trip(candidate.version, run.failures, run.requests, failed, of))


class _Arm:
    """One side's requests by the number of their start; only what did not go well is kept."""

    def __init__(self, area: Area) -> None:
        self.area = area
        self.unanswered: dict[int, int] = {}
        self._marks: list[Mark] = []
        self._places: dict[int, int] = {}

    def began(self, _at: float) -> int | None:
        """Where the start is kept, if it is."""
        return None

    def marks(self) -> list[Mark]:
        """What did not go well, in this worker and in the others."""
        others = list(self.area.others_marks())
        return sorted([*self._marks, *others], key=_order) if others else self._marks

    def mark(self, request: Witness, outcome: Outcome, now: float) -> None:
        """Note a request that did not go well."""
        counts, caller = outcome in FAILURES, request.caller
        if counts and caller is not None:
            before = self.unanswered.get(caller, 0)
            self.unanswered[caller] = before + 1
            counts = before < _MOST_OF_ONE_CALLER
        began_at = request.started_at
        self._keep(Mark(request.number, began_at, now - began_at, caller, counts))

    def excuse(self, number: int) -> None:
        """This failure was none of the version's."""
        at = bisect_left(self._marks, number, key=_number)
        if at < len(self._marks) and self._marks[at].number == number:
            self._marks[at] = self._marks[at]._replace(failed=False)
            self.area.put(self._places[number], self._marks[at])

    def _keep(self, mark: Mark) -> None:
        place = len(self._marks)
        if place == MARKS:
            if mark.number < self._marks[0].number:
                return
            place = self._places.pop(self._marks.pop(0).number)
        insort(self._marks, mark, key=_number)
        self._places[mark.number] = place
        self.area.put(place, mark)


class _Stable(_Arm):
    """What the candidates are compared with."""

    def began(self, at: float) -> int | None:
        """Starts are kept, so that what still runs can vouch."""
        return self.area.began(at)

    def is_sick(self, number: int) -> bool:
        """Whether too many of the requests around this failure have failed."""
        numbers = [mark.number for mark in self.marks() if mark.failed]
        at = bisect_left(numbers, number)
        around = numbers[max(0, at - _SICK_FAILURES + 1) : at + _SICK_FAILURES]
        stretches = zip(around, around[_SICK_FAILURES - 1 :], strict=False)
        return any(last - first + 1 < _SICK_FAILURES / _SICK_SHARE for first, last in stretches)

    def since(self, began_at: float, *, started_by: float) -> tuple[int, int]:
        """How many failed of the requests since then that ended, or have run since `started_by`."""
        marks = [mark for mark in self.marks() if mark.started_at >= began_at]
        failed = sum(mark.failed for mark in marks)
        seen = sum(
            at >= began_at and (ended or at <= started_by) for at, ended in self.area.starts()
        )
        return failed, seen - (len(marks) - failed)


class _Run(NamedTuple):
    """Failures that are too many to be chance, and the requests among which they fell."""

    failures: int
    requests: int
    began_at: float
    slowest_seconds: float


class _Candidate(_Arm):
    """A version under comparison."""

    def __init__(self, version: str, index: int, area: Area) -> None:
        super().__init__(area)
        self.version = version
        self.index = index
        self.tripped = False

    def run(self, number: int, *, since: float) -> _Run | None:
        """The run that this failure is part of, of requests that started since then.

        Failures that do not count do not end a run: there may be more of stable's to compare with.
        """
        score, others, before = 0.0, 0, 0
        failed: list[Mark] = []
        for mark in self.marks():
            if mark.started_at < since:
                continue
            well, before = mark.number - before - 1, mark.number
            if well > 0:
                score, others = score - well * _DID_NOT_FAIL, others + well
            if score <= 0:
                score, others = 0.0, 0
                failed.clear()
            if mark.failed and not _heard_enough(failed, mark.caller):
                failed.append(mark)
                score = min(score + _FAILED, _TRIPS_AT)  # an old outage is soon made good
            if score == _TRIPS_AT and failed[0].number <= number <= mark.number:
                slowest = max(one.took_seconds for one in failed)
                requests = len(failed) + others
                return _Run(len(failed), requests, failed[0].started_at, slowest)
        return None


def _heard_enough(failed: list[Mark], caller: int | None) -> bool:
    if caller is None:
        return False
    return sum(mark.caller == caller for mark in failed) >= _MOST_OF_ONE_CALLER


def _number(mark: Mark) -> int:
    return mark.number


def _order(mark: Mark) -> tuple[int, float]:
    return mark.number, mark.started_at
