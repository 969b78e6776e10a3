"""Whom an absolute limit's violation is to be blamed on: the candidate, or what both depend on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from grayscale.judge.evidence import split_e_value, upper_tail
from grayscale.judge.gates import Gate
from grayscale.judge.state import NOTHING, Counts, GateState, History, Slot

_SLOT_SECONDS = 5.0
_MEMORY_SECONDS = 120.0
_COMPARED_SECONDS = 60.0
_WAIT_SECONDS = 120.0
_MIN_STABLE = 20
_NEAR_LIMIT = 0.8
_SIGNIFICANT = 0.02
_SURELY_ANOTHER_SPLIT = 1e5
_MIN_WELL = 8
_SEEN_SECONDS = 15.0
_WELL_RATIO = 20.0


@dataclass(frozen=True, slots=True)
class Recent:
    """The last two minutes of a step, summed up once per look.

    Each maps absolute gates to their counts: `all` over two minutes, `apart` over the independent
    requests of the last minute. `started` and `requests` sum up the slots' own.
    """

    all: Mapping[str, Counts]
    apart: Mapping[str, Counts]
    started: tuple[int, int]
    requests: tuple[int, int]

    @classmethod
    def of(cls, slots: tuple[Slot, ...]) -> Recent:
        """The sums of these slots."""
        return cls(
            all=_sums(slot.limits for slot in slots),
            apart=_sums(slot.apart for slot in newest(slots, _COMPARED_SECONDS)),
            started=_both(slot.started for slot in slots),
            requests=_both(slot.requests for slot in slots),
        )

    def near_limit(self, gate: Gate, *, share: float = _NEAR_LIMIT) -> bool:
        """Whether stable itself is beyond this share of an absolute limit."""
        if gate.limit_rate is None:
            return False
        counts = self.all.get(gate.name, NOTHING)
        return counts.stable >= _MIN_STABLE and counts.stable_rate > share * gate.limit_rate

    def candidate_to_blame(
        self, gate: Gate, state: GateState, *, callers: Counts, history: History
    ) -> bool:
        """Whether stable, over the same time, was so much better that the candidate is at fault.

        Where callers stick to a version, more of them must be worse off, not one of them often.
        Where stable has too few requests to tell, half its rate must do after two minutes. What
        only shows at full weight leaves stable next to none: there stable, since the suspicion
        began, must have had a few requests without any failure, or be surely well.
        """
        if gate.kind == "history":
            seen = state.pending_seconds >= _SEEN_SECONDS
            return seen and _looks_well(state.pending, history)
        counts = self.apart.get(gate.name, NOTHING)
        if upper_tail(counts[0::2], counts[1::2]) <= _SIGNIFICANT:
            return True
        if callers.stable + callers.candidate:
            return upper_tail(callers[0::2], callers[1::2]) <= _SIGNIFICANT
        waited = state.pending_seconds >= _WAIT_SECONDS
        return waited and counts.stable_rate <= counts.candidate_rate / 2

    def other_split(self, weight_percent: float) -> bool:
        """Whether the requests surely follow another split than the intended one."""
        e_value = split_e_value(*self.started, weight_percent)
        return e_value >= _SURELY_ANOTHER_SPLIT


def with_slot(slots: tuple[Slot, ...], new: Slot) -> tuple[Slot, ...]:
    """The last two minutes, in slots of a few seconds."""
    if slots and slots[-1].seconds + new.seconds <= _SLOT_SECONDS:
        return (*slots[:-1], _joined(slots[-1], new))
    return newest((*slots, new), _MEMORY_SECONDS)


def newest(slots: tuple[Slot, ...], seconds: float) -> tuple[Slot, ...]:
    """The slots at the end that make up at least `seconds`, oldest first."""
    covered, kept = 0.0, 0
    for slot in reversed(slots):
        if covered >= seconds:
            break
        covered, kept = covered + slot.seconds, kept + 1
    return slots[len(slots) - kept :]


def _looks_well(counts: Counts, history: History) -> bool:
    """Whether stable's own counts are much likelier at its past rate than at the candidate's."""
    if counts.stable < _MIN_WELL:
        return False
    if not counts.stable_bad:
        return True
    past = min(max(history.errors / max(history.requests, 1), 0.001), 0.5)
    shared = min(max(counts.candidate_rate, past), 0.999)
    good = counts.stable - counts.stable_bad
    log_ratio = counts.stable_bad * math.log(past / shared)
    log_ratio += good * math.log((1 - past) / (1 - shared))
    return log_ratio >= math.log(_WELL_RATIO)


def _both(pairs: Iterable[tuple[int, int]]) -> tuple[int, int]:
    stable = candidate = 0
    for of_stable, of_candidate in pairs:
        stable, candidate = stable + of_stable, candidate + of_candidate
    return stable, candidate


def _sums(all_counts: Iterable[Mapping[str, Counts]]) -> dict[str, Counts]:
    sums: dict[str, Counts] = {}
    for by_gate in all_counts:
        for name, counts in by_gate.items():
            before = sums.get(name)
            sums[name] = counts if before is None else before.plus(counts)
    return sums


def _joined(one: Slot, other: Slot) -> Slot:
    return replace(
        one,
        seconds=one.seconds + other.seconds,
        started=_both((one.started, other.started)),
        requests=_both((one.requests, other.requests)),
        limits=_sums((one.limits, other.limits)),
        apart=_sums((one.apart, other.apart)),
    )
