"""Whom an absolute limit's violation is to be blamed on: the candidate, or what both depend on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from grayscale.judge.evidence import upper_tail
from grayscale.judge.gates import Gate
from grayscale.judge.state import NOTHING, Counts, GateState, Slot
from grayscale.judge.values import Interval

_SLOT_SECONDS = 5.0
_MEMORY_SECONDS = 120.0
_WAIT_SECONDS = 120.0
_MIN_STABLE = 20
_NEAR_LIMIT = 0.8
_SIGNIFICANT = 0.02
_MIN_EXPECTED = 20.0


def with_slot(
    slots: tuple[Slot, ...], interval: Interval, gates: tuple[Counts, ...]
) -> tuple[Slot, ...]:
    """The last two minutes, in slots of a few seconds."""
    new = Slot(interval.seconds, interval.stable.requests, interval.candidate.requests, gates)
    if slots and slots[-1].seconds + new.seconds <= _SLOT_SECONDS:
        return (*slots[:-1], _joined(slots[-1], new))
    return tuple(_newest((*slots, new), _MEMORY_SECONDS))


def recent(slots: tuple[Slot, ...], gate: int, seconds: float = _MEMORY_SECONDS) -> Counts:
    """A gate's counts of the last seconds, in this step."""
    of_gate = [slot.gates[gate] for slot in _newest(slots, seconds)]
    return Counts(*map(sum, zip(*of_gate, strict=True))) if of_gate else NOTHING


def stable_near_limit(
    gate: Gate, index: int, slots: tuple[Slot, ...], *, share: float = _NEAR_LIMIT
) -> bool:
    """Whether stable itself is beyond this share of an absolute limit."""
    if gate.limit_rate is None:
        return False
    counts = recent(slots, index)
    return counts.stable >= _MIN_STABLE and counts.stable_rate > share * gate.limit_rate


def candidate_to_blame(state: GateState, counts: Counts, *, weight_percent: float) -> bool:
    """Whether stable, over the same minute, was so much better that the candidate is at fault.

    Where stable has too few requests to tell, half its rate must do after two minutes; where it
    has none by plan, there is nothing to compare with.
    """
    if weight_percent >= 100:
        return True
    if upper_tail(counts[0::2], counts[1::2]) <= _SIGNIFICANT:
        return True
    waited = state.pending_seconds >= _WAIT_SECONDS
    return waited and counts.stable_rate <= counts.candidate_rate / 2


def missing_arm(slots: tuple[Slot, ...], weight_percent: float) -> str | None:
    """The arm that should have had requests by its weight, but had none at all."""
    stable = sum(slot.stable for slot in slots)
    candidate = sum(slot.candidate for slot in slots)
    expected = (stable + candidate) * weight_percent / 100
    if not candidate and expected >= _MIN_EXPECTED:
        return "candidate"
    if not stable and stable + candidate - expected >= _MIN_EXPECTED:
        return "stable"
    return None


def _newest(slots: tuple[Slot, ...], seconds: float) -> Iterable[Slot]:
    """The slots at the end that make up at least `seconds`, oldest first."""
    covered, kept = 0.0, 0
    for slot in reversed(slots):
        if covered >= seconds:
            break
        covered, kept = covered + slot.seconds, kept + 1
    return slots[len(slots) - kept :]


def _joined(one: Slot, other: Slot) -> Slot:
    return replace(
        one,
        seconds=one.seconds + other.seconds,
        stable=one.stable + other.stable,
        candidate=one.candidate + other.candidate,
        gates=tuple(a.plus(b) for a, b in zip(one.gates, other.gates, strict=True)),
    )
