"""A seeded release: two versions get random requests, the judge looks at every interval."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from statistics import NormalDist

from grayscale.judge import (
    LATENCY_EDGES_MS,
    Arm,
    Interval,
    Outcome,
    Settings,
    Verdict,
    advance,
    start,
)


def always(rate: float) -> Callable[[float], float]:
    """An error rate that does not change."""
    return lambda _: rate


_ONE_PERCENT = always(0.01)


@dataclass(frozen=True)
class World:
    """How both versions behave; rates may change with time (seconds since the start)."""

    rps: float = 10.0
    stable_errors: Callable[[float], float] = _ONE_PERCENT
    candidate_errors: Callable[[float], float] = _ONE_PERCENT
    latency_ms: float = 400.0
    slowdown: float = 1.0
    settings: Settings = field(default_factory=Settings)
    steps: tuple[float, ...] = (10.0, 25.0, 50.0, 95.0)
    step_seconds: float = 900.0
    interval_seconds: float = 10.0
    answer_after: int = 0  # intervals between a request's start and the news of its end


@dataclass(frozen=True)
class Ended:
    """How a simulated release came out, and the last verdict."""

    outcome: str
    seconds: float
    candidate_requests: int
    candidate_errors: int
    verdict: Verdict


def run(world: World, seed: int) -> Ended:
    """A whole release: promoted, rolled back, or stuck at a person after three extensions."""
    return _Release(world, seed).carried_out()


class _Release:
    """One release under way."""

    def __init__(self, world: World, seed: int) -> None:
        self._world = world
        self._rng = random.Random(seed)
        self._state = start(world.settings)
        self._clock = 0.0
        self._sent: list[tuple[Arm, Arm]] = []

    def carried_out(self) -> Ended:
        outcome, verdict = self._soak(0)
        for step in range(1, len(self._world.steps)):
            if outcome == "passed":
                outcome, verdict = self._soak(step)
        return self._ended("promoted" if outcome == "passed" else outcome, verdict)

    def _soak(self, step: int) -> tuple[str, Verdict]:
        """Watch one step, up to four times as long as planned."""
        watched = 0.0
        while True:
            watched += self._world.interval_seconds
            verdict = self._look(step, self._world.steps[step], watched)
            if verdict.outcome is Outcome.HARMFUL:
                return "rolled_back", verdict
            if watched >= self._world.step_seconds and verdict.outcome is Outcome.HEALTHY:
                return "passed", verdict
            if watched >= 4 * self._world.step_seconds:
                return "asked", verdict

    def _look(self, step: int, weight: float, watched: float) -> Verdict:
        world = self._world
        self._clock += world.interval_seconds
        self._sent.append(_arms(world, weight / 100, self._clock, self._rng))
        stable, candidate = _reported(self._sent, world.answer_after)
        interval = Interval(
            id=len(self._sent),
            seconds=world.interval_seconds,
            step=step,
            weight_percent=weight,
            step_seconds=watched,
            soak_done=watched >= world.step_seconds,
            stable=stable,
            candidate=candidate,
        )
        self._state, verdict = advance(self._state, interval)
        return verdict

    def _ended(self, outcome: str, verdict: Verdict) -> Ended:
        requests = sum(candidate.requests for _, candidate in self._sent)
        errors = sum(candidate.errors for _, candidate in self._sent)
        return Ended(outcome, self._clock, requests, errors, verdict)


def _arms(world: World, share: float, clock: float, rng: random.Random) -> tuple[Arm, Arm]:
    mean = world.rps * world.interval_seconds
    total = max(round(rng.gauss(mean, mean**0.5)), 0)
    candidate = _how_many(rng, total, share)
    return (
        _arm(rng, total - candidate, world.stable_errors(clock), world.latency_ms),
        _arm(rng, candidate, world.candidate_errors(clock), world.latency_ms * world.slowdown),
    )


def _arm(rng: random.Random, requests: int, error_rate: float, latency_ms: float) -> Arm:
    errors = _how_many(rng, requests, error_rate)
    counts = [0] * (len(LATENCY_EDGES_MS) + 1)
    chances = _log_normal(latency_ms)
    for bucket in rng.choices(range(len(counts)), cum_weights=chances, k=requests - errors):
        counts[bucket] += 1
    return Arm(requests=requests, errors=errors, latency_counts=counts)


def _how_many(rng: random.Random, count: int, chance: float) -> int:
    return sum(rng.choices((0, 1), cum_weights=(1 - chance, 1.0), k=count))


@cache
def _log_normal(median_ms: float) -> list[float]:
    """The chance of a latency up to each bucket's edge; sigma 0.6, as answers of models have."""
    edges = [*LATENCY_EDGES_MS, math.inf]
    return [NormalDist().cdf(math.log(edge / median_ms) / 0.6) for edge in edges]


def _reported(late: list[tuple[Arm, Arm]], answer_after: int) -> tuple[Arm, Arm]:
    """Starts of this interval with the ends of an earlier one."""
    nothing = Arm(0, 0, [0] * (len(LATENCY_EDGES_MS) + 1))
    ended = late[-1 - answer_after] if len(late) > answer_after else (nothing, nothing)
    (new_stable, new_candidate), (old_stable, old_candidate) = late[-1], ended
    return (
        Arm(new_stable.requests, old_stable.errors, old_stable.latency_counts),
        Arm(new_candidate.requests, old_candidate.errors, old_candidate.latency_counts),
    )
