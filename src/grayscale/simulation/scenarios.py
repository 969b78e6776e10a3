"""Worlds by name: what may come upon a release, fitted to its plan."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from grayscale.plan.models import Plan
from grayscale.simulation.latency import Latency
from grayscale.simulation.world import Moment, Rate, Version, World, always, answers


class Scenario(StrEnum):
    """What happens; everything else is as the rates and the shift say."""

    HEALTHY = "healthy"
    ERRORS = "errors"
    OUTAGE = "outage"
    UPSTREAM_OUTAGE = "upstream-outage"
    LATENCY = "latency"
    FLAPPING = "flapping"
    LATE_BUG = "late-bug"
    LOW_TRAFFIC = "low-traffic"


_MORE_PERCENT = {
    Scenario.ERRORS: 6.0,
    Scenario.LATE_BUG: 6.0,
    Scenario.FLAPPING: 11.0,
    Scenario.OUTAGE: 100.0,
}
_OUTAGE_RATE, _OUTAGE_SECONDS = 0.5, 300.0
_P95_OF_NORMAL = 1.6449
_P95_OF_LIMIT = 0.75


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is to be simulated; None leaves a number to the scenario.

    Rates are percent of the requests, `latency_shift` a factor on the candidate's latency.
    """

    scenario: Scenario = Scenario.HEALTHY
    rps: float | None = None
    stable_error_percent: float = 1.0
    candidate_error_percent: float | None = None
    latency_shift: float | None = None

    @property
    def requests_per_second(self) -> float:
        """All requests per second."""
        low = self.scenario is Scenario.LOW_TRAFFIC
        return self.rps if self.rps is not None else 0.2 if low else 10.0

    @property
    def candidate_percent(self) -> float:
        """How often the candidate fails, where and when it does, in percent."""
        if self.candidate_error_percent is not None:
            return self.candidate_error_percent
        return min(100.0, self.stable_error_percent + _MORE_PERCENT.get(self.scenario, 0.0))

    @property
    def slowdown(self) -> float:
        """The factor on the candidate's latency."""
        if self.latency_shift is not None:
            return self.latency_shift
        return 1.5 if self.scenario is Scenario.LATENCY else 1.0

    def world(self, plan: Plan) -> World:
        """The world for this plan; stable's p95 is at three quarters of the plan's limit."""
        spread = math.exp(_P95_OF_NORMAL * Latency().sigma)
        normal = Latency(_P95_OF_LIMIT * plan.health_check.latency_threshold_ms / spread)
        return World(
            rps=self.requests_per_second,
            stable=Version(self._stable(plan), answers(normal)),
            candidate=Version(self._candidate(plan), answers(normal.times(self.slowdown))),
        )

    def _stable(self, plan: Plan) -> Rate:
        rate = self.stable_error_percent / 100
        return _with_outage(plan, rate) if self._shared_outage else always(rate)

    def _candidate(self, plan: Plan) -> Rate:
        usual, bad = self.stable_error_percent / 100, self.candidate_percent / 100
        middle = _ramp_seconds(plan) / 2
        if self._shared_outage:
            return _with_outage(plan, bad)
        if self.scenario is Scenario.FLAPPING:
            return lambda moment: bad if moment.seconds % 120 < 60 else usual
        if self.scenario is Scenario.LATE_BUG:
            return lambda moment: bad if moment.seconds >= middle else usual
        return always(bad)

    @property
    def _shared_outage(self) -> bool:
        return self.scenario is Scenario.UPSTREAM_OUTAGE


def _with_outage(plan: Plan, rate: float) -> Rate:
    """In the middle of the ramp half of all requests fail for a while."""
    begin = _ramp_seconds(plan) / 2

    def errors(moment: Moment) -> float:
        sick = begin <= moment.seconds < begin + _OUTAGE_SECONDS
        return max(rate, _OUTAGE_RATE) if sick else rate

    return errors


def _ramp_seconds(plan: Plan) -> float:
    return len(plan.steps_percent) * plan.auto_promote.step_seconds
