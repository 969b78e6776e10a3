"""What many simulated releases of a plan say about the real one, with how sure that is."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from typing import Any

from grayscale.plan.models import Plan
from grayscale.simulation.rollout import End, Ended, run
from grayscale.simulation.scenarios import Recipe

_Z = 1.96
_LOOKS_IN_A_FEW_SECONDS = 25_000
_LOOKS_WORTH_PROCESSES = 4_000
_ROUND_NUMBERS = (100, 50, 20, 10)
_SEEDS_PER_RUN = 1_000_000


@dataclass(frozen=True, slots=True)
class Share:
    """How often something happened, and the 95 % interval of its probability (Wilson)."""

    count: int
    of: int

    @property
    def value(self) -> float:
        """The share itself."""
        return self.count / self.of

    @property
    def interval(self) -> tuple[float, float]:
        """Where the probability lies with 95 % confidence."""
        n, share = self.of, self.value
        centre = share + _Z**2 / (2 * n)
        spread = _Z * math.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2))
        scale = 1 + _Z**2 / n
        low, high = (centre - spread) / scale, (centre + spread) / scale
        return (0.0 if self.count == 0 else low), (1.0 if self.count == n else high)

    def to_json(self) -> dict[str, Any]:
        """As a JSON value."""
        low, high = (round(bound, 4) for bound in self.interval)
        return {"count": self.count, "share": round(self.value, 4), "low": low, "high": high}


@dataclass(frozen=True, slots=True)
class Spread:
    """Half of all releases stay within `p50`, 19 of 20 within `p95`; None: they never did."""

    p50: float | None
    p95: float | None

    @classmethod
    def of(cls, values: Sequence[float | None]) -> Spread:
        """Both quantiles; what never happened is later than everything."""
        ordered = sorted(math.inf if value is None else value for value in values)
        found = [ordered[max(0, math.ceil(q * len(ordered)) - 1)] for q in (0.5, 0.95)]
        return cls(*(None if value == math.inf else value for value in found))

    def to_json(self) -> dict[str, float | None]:
        """As a JSON value."""
        return {"p50": self.p50, "p95": self.p95}


@dataclass(frozen=True, slots=True)
class StepForecast:
    """One step, or the bake, of the releases that came so far (`reached`).

    `evidence_seconds` is how long it is watched until its first healthy verdict.
    """

    name: str
    weight_percent: float
    soak_seconds: float
    candidate_requests: float
    reached: int
    evidence_seconds: Spread

    def to_json(self) -> dict[str, Any]:
        """As a JSON value."""
        return {
            "name": self.name,
            "weight_percent": self.weight_percent,
            "soak_seconds": self.soak_seconds,
            "candidate_requests": round(self.candidate_requests),
            "reached": self.reached,
            "evidence_seconds": self.evidence_seconds.to_json(),
        }


@dataclass(frozen=True, slots=True)
class Forecast:
    """The sum of many releases; `missed` and `detection_seconds` only where there was harm."""

    promoted: Share
    found: Share
    false_rollback: Share
    missed: Share | None
    asked: Share
    breaker: Share
    detection_seconds: Spread | None
    failed_requests: Spread
    callers_failed: Spread
    steps: tuple[StepForecast, ...]

    def to_json(self) -> dict[str, Any]:
        """As a JSON value."""
        return {
            "promoted": self.promoted.to_json(),
            "found": self.found.to_json(),
            "false_rollback": self.false_rollback.to_json(),
            "missed_detection": None if self.missed is None else self.missed.to_json(),
            "asked": self.asked.to_json(),
            "breaker_trips": self.breaker.to_json(),
            "detection_seconds": (
                None if self.detection_seconds is None else self.detection_seconds.to_json()
            ),
            "failed_requests": self.failed_requests.to_json(),
            "failures_seen_by_callers": self.callers_failed.to_json(),
            "steps": [step.to_json() for step in self.steps],
        }


def affordable_rollouts(plan: Plan) -> int:
    """As many releases as take some seconds: fewer of a plan with long soaks."""
    looks = looks_of(plan)
    return next((n for n in _ROUND_NUMBERS if n * looks <= _LOOKS_IN_A_FEW_SECONDS), 10)


def looks_of(plan: Plan) -> float:
    """How often the judge looks during one release without extensions."""
    soak = len(plan.steps_percent) * plan.auto_promote.step_seconds + plan.bake.seconds
    return soak / plan.judge.interval_seconds


def simulate(
    plan: Plan, recipe: Recipe, *, rollouts: int, seed: int, processes: int = 1
) -> Iterator[Ended]:
    """Releases of this plan, each with its own seed, one after the other as they end."""
    one = partial(_one, plan, recipe)
    seeds = range(seed * _SEEDS_PER_RUN, seed * _SEEDS_PER_RUN + rollouts)
    if processes <= 1 or rollouts * looks_of(plan) < _LOOKS_WORTH_PROCESSES:
        yield from map(one, seeds)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        yield from pool.map(one, seeds, chunksize=max(1, rollouts // (processes * 8)))


def forecast(plan: Plan, recipe: Recipe, releases: Sequence[Ended]) -> Forecast:
    """What these releases say."""

    def share(holds: Callable[[Ended], bool]) -> Share:
        return Share(sum(map(holds, releases)), len(releases))

    harm = any(one.worse_since is not None for one in releases)
    rolled_back = End.ROLLED_BACK
    return Forecast(
        promoted=share(lambda one: one.end is End.PROMOTED),
        found=share(lambda one: one.detected_after is not None),
        false_rollback=share(lambda one: one.end is rolled_back and one.detected_after is None),
        missed=share(_missed) if harm else None,
        asked=share(lambda one: one.end is End.ASKED),
        breaker=share(lambda one: one.cause == "breaker"),
        detection_seconds=Spread.of([one.detected_after for one in releases]) if harm else None,
        failed_requests=Spread.of([one.failed_requests for one in releases]),
        callers_failed=Spread.of([one.callers_failed for one in releases]),
        steps=tuple(_steps(plan, recipe, releases)),
    )


def _missed(one: Ended) -> bool:
    return one.end is End.PROMOTED and one.worse_since is not None


def _steps(plan: Plan, recipe: Recipe, releases: Sequence[Ended]) -> Iterator[StepForecast]:
    soak = plan.auto_promote.step_seconds
    stages = [
        (f"{step:g} %", plan.weight_percent(index), soak)
        for index, step in enumerate(plan.steps_percent)
    ]
    if plan.bake.seconds:
        stages.append(("bake", stages[-1][1], plan.bake.seconds))
    for index, (name, weight, seconds) in enumerate(stages):
        times = [
            one.evidence_seconds[index] for one in releases if len(one.evidence_seconds) > index
        ]
        requests = recipe.requests_per_second * seconds * weight / 100
        evidence = Spread.of(times) if times else Spread(None, None)
        yield StepForecast(name, weight, seconds, requests, len(times), evidence)


def _one(plan: Plan, recipe: Recipe, seed: int) -> Ended:
    return run(plan, recipe.world(plan), seed)
