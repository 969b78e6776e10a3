"""What is killed, and when: a seeded list."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum


class Fault(StrEnum):
    """What `kill -9` hits."""

    FLOW = "flow process"
    PREFECT_WORKER = "Prefect worker"
    PREFECT_SERVER = "Prefect server"
    RELAY_WORKER = "relay worker"
    LEADER = "relay leader"
    PARENT = "relay parent"
    EVERYTHING = "everything"

    @property
    def cuts_connections(self) -> bool:
        """Whether answers under way go down with the process that was sending them."""
        return self in {Fault.RELAY_WORKER, Fault.LEADER, Fault.EVERYTHING}

    @property
    def bar_seconds(self) -> float:
        """How long recovery may take."""
        return 60.0 if self is Fault.FLOW else 180.0


@dataclass(frozen=True, slots=True)
class Planned:
    """One kill. It waits until the one before is got over, unless they are to overlap."""

    fault: Fault
    overlaps: bool
    pause_seconds: float


_OVERLAPPING_SHARE = 0.4
_OVERLAP_SECONDS = (0.0, 5.0)
_PAUSE_SECONDS = (3.0, 10.0)


def planned(kills: int, *, seed: int) -> list[Planned]:
    """Every fault equally often, in random order, at random moments."""
    draw = random.Random(seed)  # noqa: S311 - to be replayed, not to be secret
    faults: list[Fault] = []
    while len(faults) < kills:
        faults += draw.sample(list(Fault), len(Fault))
    return [_plan_one(draw, fault) for fault in faults[:kills]]


def _plan_one(draw: random.Random, fault: Fault) -> Planned:
    overlaps = draw.random() < _OVERLAPPING_SHARE
    low, high = _OVERLAP_SECONDS if overlaps else _PAUSE_SECONDS
    return Planned(fault, overlaps, draw.uniform(low, high))
