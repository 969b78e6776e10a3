"""The cells: worlds, and the bar that a judge has to reach in each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from grayscale.plan import plan_from_mapping
from grayscale.plan.models import Plan
from grayscale.simulation import Latency, Moment, Version, World, always, answers

PLAN = plan_from_mapping({"version_name": "candidate"})
"""10, 25, 50 and 100 % (less 5 % held back), 15 minutes each and as long a bake."""


@dataclass(frozen=True, slots=True)
class Bar:
    """What a cell asks for; None: nothing. Shares are of the rollouts, medians in seconds.

    `false_rollbacks` are rollbacks of what was not (yet) worse than stable; `missed` ends at
    `promoted` although the candidate is worse.
    """

    false_rollbacks: float | None = None
    missed: float | None = None
    median_seconds: float | None = None
    median_failed: float | None = None


@dataclass(frozen=True, slots=True)
class Cell:
    """One line of the table."""

    name: str
    title: str
    world: World
    bar: Bar
    plan: Plan = field(default=PLAN)


def _twins(version: Version, *, rps: float = 10.0) -> World:
    return World(rps=rps, stable=version, candidate=version)


def _during(begin: float, end: float, inside: float, outside: float) -> Callable[[Moment], float]:
    return lambda moment: inside if begin <= moment.seconds < end else outside


def _flapping(moment: Moment) -> float:
    """A minute of trouble, a minute of peace."""
    return 0.12 if moment.seconds % 120 < 60 else 0.01


def _only_at_full(moment: Moment) -> float:
    return 0.07 if moment.weight_percent >= 90 else 0.01


def _equal_versions() -> list[Cell]:
    return [
        Cell(
            f"aa-{percent:g}-{rps}",
            f"A/A, {percent:g} % errors, {rps} rps",
            _twins(Version(errors=always(percent / 100)), rps=rps),
            Bar(false_rollbacks=0.02),
        )
        for percent in (0.1, 1, 4)
        for rps in (1, 10, 100)
    ]


def _shared_trouble() -> list[Cell]:
    outage = Version(errors=_during(1200, 1500, 0.5, 0.01))
    last = Version(errors=_during(2900, 3200, 0.3, 0.01))
    late = Version(errors=always(0.04), answer_seconds=30)
    return [
        Cell(
            "upstream-outage",
            "50 % upstream outage in both arms, 10 rps",
            _twins(outage),
            Bar(false_rollbacks=0.01),
        ),
        Cell(
            "upstream-outage-last",
            "30 % upstream outage in the last step, 5 % held back, 10 rps",
            _twins(last),
            Bar(false_rollbacks=0.05),
        ),
        Cell(
            "slow-answers",
            "A/A, 4 % instant errors, good answers of 30 s, 50 rps",
            _twins(late, rps=50),
            Bar(false_rollbacks=0.02),
        ),
    ]


def _bad_candidates() -> list[Cell]:
    def errors(rate: Callable[[Moment], float], *, rps: float = 10.0) -> World:
        return World(rps=rps, candidate=Version(errors=rate))

    return [
        Cell(
            "errors-1-7",
            "errors 1 → 7 %, 10 rps",
            errors(always(0.07)),
            Bar(missed=0.0, median_seconds=100, median_failed=8),
        ),
        Cell(
            "errors-1-5-1rps",
            "errors 1 → 5 %, 1 rps",
            errors(always(0.05), rps=1.0),
            Bar(missed=0.0),
        ),
        Cell(
            "p95-1.5",
            "latency x1.5, 10 rps",
            World(candidate=Version(latency=answers(Latency().times(1.5)))),
            Bar(missed=0.0, median_seconds=150),
        ),
        Cell(
            "full-weight-bug",
            "errors 1 → 7 % only at full weight, 10 rps",
            errors(_only_at_full),
            Bar(missed=0.0, median_seconds=32),
        ),
        Cell(
            "flapping",
            "errors flapping between 1 and 12 %, 10 rps",
            errors(_flapping),
            Bar(missed=0.0, median_seconds=45),
        ),
    ]


CELLS: tuple[Cell, ...] = (*_equal_versions(), *_shared_trouble(), *_bad_candidates())
