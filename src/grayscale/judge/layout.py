"""Where the running totals of what gates count are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from grayscale.judge.gates import Gate, gates_of
from grayscale.judge.measures import Measure
from grayscale.judge.values import Settings

HEAD = 4
"""The first totals: independent requests of stable and the candidate: all, and that could fail."""


class Counted(NamedTuple):
    """A measure, the slot of its totals, and the places of the gates that ask for it."""

    measure: Measure
    slot: int
    gates: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class GateSet:
    """All gates, what they count, and where the running totals of it are.

    `always` are measures that have something to count in every interval, `reading` those of a
    histogram or signal. Gates that count the same have one slot of four totals; `settling` are
    slots of gates that a version's warm-up may mislead. The first `remembered` totals are those
    whose last two minutes are asked for: HEAD, the slots of absolute gates, and `apart` for each
    of these the slot of what it counts among independent requests alone.
    """

    gates: tuple[Gate, ...]
    absolute: tuple[int, ...]
    rules: tuple[int, ...]
    place: Mapping[str, int]
    slots: tuple[int, ...]
    apart: Mapping[int, int]
    always: tuple[Counted, ...]
    reading: Mapping[str, tuple[Counted, ...]]
    settling: frozenset[int]
    remembered: int
    length: int

    @classmethod
    def of(cls, gates: tuple[Gate, ...]) -> GateSet:
        """These gates, and a layout of what they count."""
        absolute = tuple(at for at, gate in enumerate(gates) if gate.absolute)
        watched = dict.fromkeys(gates[at].measure for at in absolute)
        slots = {measure: HEAD + 8 * at for at, measure in enumerate(watched)}
        apart = {slot: slot + 4 for slot in slots.values()}
        remembered = length = HEAD + 8 * len(slots)
        for gate in gates:
            if gate.measure not in slots:
                slots[gate.measure], length = length, length + 4
        by_source: dict[str, list[Counted]] = {}
        for measure, slot in slots.items():
            asking = tuple(at for at, gate in enumerate(gates) if gate.measure == measure)
            by_source.setdefault(measure.source, []).append(Counted(measure, slot, asking))
        return cls(
            gates,
            absolute,
            rules=tuple(at for at, gate in enumerate(gates) if gate.of_plan),
            place={gate.name: at for at, gate in enumerate(gates)},
            slots=tuple(slots[gate.measure] for gate in gates),
            apart=apart,
            always=tuple(by_source.pop("")),
            reading={source: tuple(counted) for source, counted in by_source.items()},
            settling=frozenset(slots[gate.measure] for gate in gates if gate.settles),
            remembered=remembered,
            length=length,
        )


@lru_cache(maxsize=64)
def gate_set(settings: Settings) -> GateSet:
    """The gates that a release must pass."""
    return GateSet.of(gates_of(settings))
