"""The cells: worlds, and the bar that a judge has to reach in each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from random import Random

from grayscale.plan import plan_from_mapping
from grayscale.simulation import (
    Callers,
    Latency,
    Moment,
    Rate,
    Shape,
    Version,
    World,
    always,
    answers,
)

_PLAN = {"version_name": "candidate", "config_overrides": {"parameters": {"temperature": 0}}}
PLAN = plan_from_mapping(_PLAN)
"""10, 25, 50 and 100 % (less 5 % held back), 15 minutes each and as long a bake."""

ALL_THE_WAY = plan_from_mapping({**_PLAN, "bake": {"hold_back_percent": 0}})
"""Nothing is held back: at full weight there is nobody to compare with."""

STANDARD = Version()
"""1 % errors, 95 % of the answers within 1.5 s."""


@dataclass(frozen=True, slots=True)
class Bar:
    """What a cell asks for; None: nothing. Shares are of the rollouts.

    `false_rollbacks` are rollbacks of what was not, or not yet, worse than stable; `missed` ends
    at `promoted` although the candidate is worse; `trips` are the breaker's.
    """

    false_rollbacks: float | None = None
    missed: float | None = None
    trips: float | None = None
    median_seconds: float | None = None
    mean_failed: float | None = None
    median_callers_failed: float | None = None


@dataclass(frozen=True, slots=True)
class Cell:
    """One line of the table. Whatever happens in a harmless world is no reason to roll back."""

    name: str
    title: str
    world: World
    bar: Bar = Bar()
    all_the_way: bool = False
    harmless: bool = False


def between(begin: float, end: float, inside: float, outside: float = 0.01) -> Rate:
    """Another rate for a while; seconds since the release began."""
    return lambda moment: inside if begin <= moment.seconds < end else outside


def _flapping(moment: Moment) -> float:
    """A minute of trouble, a minute of peace."""
    return 0.12 if moment.seconds % 120 < 60 else 0.01


def _bursts(moment: Moment) -> float:
    """Every five minutes, one minute of trouble."""
    return 0.08 if moment.seconds % 300 >= 240 else 0.01


def _restless(moment: Moment) -> float:
    """Another rate every 10 s, 1 % on average, for both versions: failures come in crowds."""
    return min(Random(int(moment.seconds) // 10).expovariate(100.0), 1.0)


def _at_full_weight(moment: Moment) -> float:
    return 0.07 if moment.weight_percent >= 90 else 0.01


def _short_bursts(moment: Moment) -> float:
    """Ten seconds of trouble, now and then."""
    return 0.3 if moment.seconds % 150 >= 140 else 0.01


def _slower(factor: float) -> Shape:
    return answers(Latency().times(factor))


def _slower_during(begin: float, end: float, factor: float) -> Shape:
    slow, normal = Latency().times(factor), Latency()
    return lambda moment: slow if begin <= moment.seconds < end else normal


def _drifting(to_factor: float) -> Shape:
    """Ever slower, in steps of a minute, up to this factor after an hour."""

    def latency(moment: Moment) -> Latency:
        share = min(moment.seconds // 60 / 60, 1.0)
        return Latency().times(1 + (to_factor - 1) * share)

    return latency


def _twins(version: Version, *, rps: float = 10.0, callers: Callers | None = None) -> World:
    return World(rps=rps, stable=version, candidate=version, callers=callers)


def _fails(rate: float | Callable[[Moment], float], *, rps: float = 10.0) -> World:
    return World(rps=rps, candidate=Version(errors=rate if callable(rate) else always(rate)))


def _equal_versions() -> Iterator[Cell]:
    bar = Bar(false_rollbacks=0.02)
    for percent in (0.1, 1, 4):
        for rps in (1, 10, 100):
            world = _twins(Version(errors=always(percent / 100)), rps=rps)
            yield Cell(f"aa-{percent:g}-{rps}", f"A/A, {percent:g} % errors, {rps} rps", world, bar)
    slow = Version(errors=always(0.04), answer_seconds=30)
    title = "A/A, 4 % instant errors, good answers of 30 s, 50 rps"
    yield Cell("aa-slow-answers", title, _twins(slow, rps=50), bar)
    for count in (50, 500, 5000):
        title = f"A/A, {count:,} sticky Zipf callers of differing error rates, 10 rps"
        world = _twins(STANDARD, callers=Callers(count))
        yield Cell(f"aa-sticky-{count}", title, world, bar)
    title = "A/A, 500 sticky Zipf callers of differing latencies, 10 rps"
    world = _twins(STANDARD, callers=Callers(500, latency_sigma=0.3))
    yield Cell("aa-sticky-latency", title, world, bar)


def _shared_trouble() -> Iterator[Cell]:
    poison = _twins(STANDARD, callers=Callers(500, poison_share=0.02))
    title = "one poison caller (2 % of all requests) in the candidate's buckets, 10 rps"
    yield Cell("poison-caller", title, poison, Bar(false_rollbacks=0.0, trips=0.0))
    outage, bar = Version(errors=between(1200, 1500, 0.5)), Bar(false_rollbacks=0.01)
    for rps in (10, 100):
        title = f"50 % upstream outage in both versions, 5 min, {rps} rps"
        yield Cell(f"upstream-outage-{rps}", title, _twins(outage, rps=rps), bar)
    last = _twins(Version(errors=between(3000, 3300, 0.3)))
    title = "30 % upstream outage in both versions in the last step, 5 % held back, 10 rps"
    yield Cell("upstream-outage-last", title, last, Bar(false_rollbacks=0.05))
    title = "30 % upstream outage in both versions in the last step, 5 % held back, 1 rps"
    last = _twins(Version(errors=between(3000, 3300, 0.3)), rps=1.0)
    yield Cell("upstream-outage-last-1rps", title, last, Bar(false_rollbacks=0.05))
    mild = _twins(Version(errors=between(2700, 1e9, 0.03)))
    title = "errors 1 → 3 % in both versions from the last step on, 5 % held back, 10 rps"
    yield Cell("shared-rise-last", title, mild, Bar(false_rollbacks=0.05))
    short = _twins(Version(errors=_short_bursts))
    title = "A/A, shared bursts 1/30 % errors, 10 s in 150 s, 10 rps"
    yield Cell("shared-short-bursts", title, short)
    bar = Bar(false_rollbacks=0.02)
    bursts = _twins(Version(errors=_bursts))
    yield Cell("shared-bursts", "A/A, shared bursts 1/8 % errors, 10 rps", bursts, bar)
    restless = _twins(Version(errors=_restless))
    yield Cell("clustered", "A/A, 1 % errors that come in crowds, 10 rps", restless, bar)
    apart = _twins(Version(cluster=2.0))
    title = "A/A, 1 % errors in pairs, in each version by itself, 10 rps"
    yield Cell("clustered-apart", title, apart)
    slow = _twins(Version(latency=_slower_during(1200, 1500, 3.0)))
    yield Cell("upstream-slow", "upstream x3 slower in both versions, 5 min, 10 rps", slow, bar)
    cold = World(candidate=Version(latency=_slower_during(0, 60, 2.0)))
    title = "cold start: the candidate x2 slower in its first minute, 10 rps"
    yield Cell("cold-start", title, cold, bar, harmless=True)


def _failing_candidates() -> Iterator[Cell]:
    found = Bar(missed=0.0)
    seven = replace(found, median_seconds=100, mean_failed=8)
    yield Cell("errors-1-7", "errors 1 → 7 %, 10 rps", _fails(0.07), seven)
    one_of_five = replace(_fails(0.07, rps=50), affected_share=0.2)
    title = "errors 1 → 7 % in the one model of five that is changed, 5 x 10 rps"
    yield Cell("one-model-of-five", title, one_of_five, seven)
    yield Cell("errors-1-5-1rps", "errors 1 → 5 %, 1 rps", _fails(0.05, rps=1.0), found)
    outage = World(stable=Version(errors=always(0.001)), candidate=Version(errors=always(1.0)))
    at_once = replace(found, mean_failed=7, median_callers_failed=0)
    yield Cell("outage", "total outage, 10 rps", outage, at_once)
    late = replace(found, median_seconds=32)
    bug = _fails(_at_full_weight)
    yield Cell("full-weight-bug", "errors 1 → 7 % only at full weight, 95 %, 10 rps", bug, late)
    title = "errors 1 → 7 % only at full weight, nothing held back, 10 rps"
    yield Cell("full-weight-bug-100", title, bug, late, all_the_way=True)
    title = "errors flapping between 1 and 12 % each minute, 10 rps"
    yield Cell("flapping", title, _fails(_flapping), replace(found, median_seconds=45))
    yield Cell("errors-1-7-100rps", "errors 1 → 7 %, 100 rps", _fails(0.07, rps=100.0), found)
    yield Cell("errors-1-2", "errors 1 → 2 %, 10 rps", _fails(0.02))
    late_bug = _fails(between(1200, 1e9, 0.07))
    yield Cell("late-bug", "errors 1 → 7 % after 20 minutes, 10 rps", late_bug, found)
    drift = _fails(lambda moment: 0.01 + 0.09 * min(moment.seconds / 3600, 1.0))
    yield Cell("drift-errors", "errors drifting from 1 to 10 % in an hour, 10 rps", drift, found)
    sticky = replace(_fails(0.07), callers=Callers(500))
    yield Cell("sticky-errors", "errors 1 → 7 %, 500 sticky callers, 10 rps", sticky, found)


def _slow_candidates() -> Iterator[Cell]:
    found = Bar(missed=0.0)
    half = World(candidate=Version(latency=_slower(1.5)))
    yield Cell("latency-1.5", "latency x1.5, 10 rps", half, replace(found, median_seconds=150))
    fifth = World(candidate=Version(latency=_slower(1.2)))
    yield Cell("latency-1.2", "latency x1.2, 10 rps", fifth)
    tail = World(
        stable=Version(latency=answers(Latency(slow_share=0.02))),
        candidate=Version(latency=answers(Latency(slow_share=0.08))),
    )
    yield Cell("latency-tail", "x6 slower answers, 2 → 8 % of all, 10 rps", tail)
    drift = World(candidate=Version(latency=_drifting(2.5)))
    title = "latency drifting to x2.5 in an hour, 10 rps"
    yield Cell("drift-latency", title, drift, found)


CELLS: tuple[Cell, ...] = (
    *_equal_versions(),
    *_shared_trouble(),
    *_failing_candidates(),
    *_slow_candidates(),
)
