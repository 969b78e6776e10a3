"""How the evidence against a candidate grew, and which gate brought it."""

from __future__ import annotations

from dataclasses import dataclass

from grayscale.story.history import History, Looked, clock_time, leading_gate

_MARKS = (2.0, 5.0, 10.0)
_BEYOND_COUNTING = 1e6


@dataclass(frozen=True, slots=True)
class Point:
    """The combined evidence after an interval."""

    interval: int
    at: str
    e_value: float


@dataclass(frozen=True, slots=True)
class Growth:
    """The gate that said most, and how the evidence rose; `crossed` is where it was enough."""

    gate: str
    needed: float
    points: tuple[Point, ...]
    crossed: int | None
    sentence: str


def growth_of(history: History) -> Growth | None:
    """Up to the condemnation, or to the moment in which it came nearest; None without evidence."""
    looks = [look for look in history.looks if "e_value" in look.verdict.evidence]
    condemned = next((look for look in looks if look.harmful), None)
    worst = condemned or max(looks, key=_e_value, default=None)
    if worst is None:
        return None
    gate = leading_gate(worst.verdict)
    if gate is None:
        return None
    needed = float(worst.verdict.evidence["needed_e_value"])
    before = [look for look in looks if look.number <= worst.number]
    points = _milestones(before, needed) if condemned else (_point(worst),)
    sentence = _rose(gate, needed, points) if condemned else _nearest(gate, needed, points[-1])
    return Growth(gate, needed, points, condemned.number if condemned else None, sentence)


def _milestones(looks: list[Looked], needed: float) -> tuple[Point, ...]:
    """Where the evidence passed each mark for the last time before it was enough."""
    found: dict[int, Point] = {}
    for mark in (*(mark for mark in _MARKS if mark < needed), needed):
        below = [index for index, look in enumerate(looks) if _e_value(look) < mark]
        first = below[-1] + 1 if below else 0
        if first < len(looks):
            found[looks[first].number] = _point(looks[first])
    return tuple(found.values())


def _rose(gate: str, needed: float, points: tuple[Point, ...]) -> str:
    *earlier, last = points
    enough = (
        f"was {_shown(last.e_value)} at {clock_time(last.at)} (interval {last.interval}), and "
        f"{needed:g} is enough"
    )
    if not earlier:
        return f"Gate {gate} accused it: the evidence {enough}, within one interval."
    grew = ", ".join(
        f"{_shown(point.e_value)} at {clock_time(point.at)} (interval {point.interval})"
        for point in earlier
    )
    return f"Gate {gate} accused it: the evidence rose to {grew}; it {enough}."


def _nearest(gate: str, needed: float, point: Point) -> str:
    return (
        f"The evidence of harm never came nearer than {_shown(point.e_value)} of the {needed:g} "
        f"that a rollback takes: at {clock_time(point.at)} (interval {point.interval}), by gate "
        f"{gate}."
    )


def _point(look: Looked) -> Point:
    return Point(look.number, look.at, _e_value(look))


def _e_value(look: Looked) -> float:
    return float(look.verdict.evidence["e_value"])


def _shown(e_value: float) -> str:
    return "over a million" if e_value > _BEYOND_COUNTING else f"{e_value:,.3g}"
