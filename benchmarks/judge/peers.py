"""How others decide today, each from its public behaviour, at the same limits.

All look at the candidate's error rate and 95th percentile against the plan's two limits, except
for the Mann-Whitney rule, which compares with stable. None asks for evidence before it promotes.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Collection, Sequence
from itertools import accumulate
from statistics import fmean
from typing import NamedTuple

from grayscale.judge import LATENCY_EDGES_MS, Arm, Interval, Outcome, Verdict
from grayscale.judge.values import Cause
from grayscale.plan.models import Plan
from grayscale.simulation import Judge

_GOES_ON = Verdict(Outcome.HEALTHY, None, "", {})
_ROLL_BACK = Verdict(Outcome.HARMFUL, Cause.CANDIDATE, "", {})
_MINUTE = 60.0


class Window(NamedTuple):
    """Some time of one arm: requests, failures, latencies of good answers."""

    requests: int
    errors: int
    latencies: Sequence[int]

    @property
    def error_rate(self) -> float:
        """NaN without requests."""
        return self.errors / self.requests if self.requests else math.nan

    @property
    def p95_ms(self) -> float:
        """NaN without answers."""
        cumulated = list(accumulate(self.latencies))
        if not cumulated or not cumulated[-1]:
            return math.nan
        bucket = bisect_left(cumulated, 0.95 * cumulated[-1])
        return LATENCY_EDGES_MS[min(bucket, len(LATENCY_EDGES_MS) - 1)]


def window_of(arms: Collection[Arm]) -> Window:
    """Several intervals as one."""
    latencies = [sum(column) for column in zip(*(arm.latency_counts for arm in arms), strict=True)]
    return Window(sum(arm.requests for arm in arms), sum(arm.errors for arm in arms), latencies)


class Poll:
    """The last `window_seconds` of the candidate, every `poll_seconds`."""

    def __init__(self, plan: Plan, *, poll_seconds: float, window_seconds: float) -> None:
        interval = plan.judge.interval_seconds
        self._limits = plan.health_check
        self._every = max(1, round(poll_seconds / interval))
        self._recent: deque[Arm] = deque(maxlen=max(1, round(window_seconds / interval)))
        self._looks = 0

    def window(self, interval: Interval) -> Window | None:
        """The window, if it is time to look."""
        self._recent.append(interval.candidate)
        self._looks += 1
        return None if self._looks % self._every else window_of(self._recent)

    def breaks_a_limit(self, window: Window) -> bool:
        """False where there is no data: a comparison with NaN."""
        return (
            100 * window.error_rate > self._limits.error_threshold_percent
            or window.p95_ms > self._limits.latency_threshold_ms
        )


class Threshold:
    """`error_rate > 5` or `p95 > 2000` over a sliding window: the rule that comes to mind first."""

    def __init__(self, plan: Plan, *, poll_seconds: float, window_seconds: float) -> None:
        self._poll = Poll(plan, poll_seconds=poll_seconds, window_seconds=window_seconds)

    def look(self, interval: Interval) -> Verdict:
        """See Judge."""
        window = self._poll.window(interval)
        broken = window is not None and self._poll.breaks_a_limit(window)
        return _ROLL_BACK if broken else _GOES_ON


class FailedChecks:
    """A minute beyond a limit, or without data, is a failed check; so many are allowed in all."""

    def __init__(self, plan: Plan, *, allowed: int) -> None:
        self._poll = Poll(plan, poll_seconds=_MINUTE, window_seconds=_MINUTE)
        self._left = allowed

    def look(self, interval: Interval) -> Verdict:
        """See Judge."""
        window = self._poll.window(interval)
        if window is not None and (not window.requests or self._poll.breaks_a_limit(window)):
            self._left -= 1
        return _ROLL_BACK if self._left < 0 else _GOES_ON


class MannWhitney:
    """Kayenta: points of a minute, compared every five minutes over all that has passed.

    A metric is too high when the 98 % confidence interval of the Hodges-Lehmann shift lies above a
    quarter of its estimate, and the mean is higher too; both metrics are critical.
    """

    def __init__(self, plan: Plan) -> None:
        self._per_point = max(1, round(_MINUTE / plan.judge.interval_seconds))
        self._minute: list[Interval] = []
        self._points: list[tuple[Window, Window]] = []

    def look(self, interval: Interval) -> Verdict:
        """See Judge."""
        self._minute.append(interval)
        if len(self._minute) < self._per_point:
            return _GOES_ON
        stable = window_of([one.stable for one in self._minute])
        candidate = window_of([one.candidate for one in self._minute])
        self._points.append((stable, candidate))
        self._minute = []
        if len(self._points) % 5:
            return _GOES_ON
        errors = [(s.error_rate, c.error_rate) for s, c in self._points]
        latencies = [(s.p95_ms, c.p95_ms) for s, c in self._points]
        return _ROLL_BACK if _too_high(errors) or _too_high(latencies) else _GOES_ON


def _too_high(points: Sequence[tuple[float, float]]) -> bool:
    control = [point[0] for point in points if not math.isnan(point[0])]
    experiment = [point[1] for point in points if not math.isnan(point[1])]
    if not control or not experiment or fmean(experiment) <= fmean(control):
        return False
    shifts = sorted(c - s for c in experiment for s in control)
    pairs, both = len(shifts), len(control) + len(experiment)
    out = round(pairs / 2 - 2.3263 * math.sqrt(pairs * (both + 1) / 12))
    if out < 1:
        return False
    estimate = (shifts[(pairs - 1) // 2] + shifts[pairs // 2]) / 2
    return shifts[out - 1] > 0.25 * abs(estimate)


def threshold_10_60(plan: Plan) -> Judge:
    """The tutorial's rule, every 10 s over the last minute."""
    return Threshold(plan, poll_seconds=10.0, window_seconds=_MINUTE)


def threshold_60_300(plan: Plan) -> Judge:
    """The tutorial's rule, every minute over the last five."""
    return Threshold(plan, poll_seconds=_MINUTE, window_seconds=5 * _MINUTE)


def argo_like(plan: Plan) -> Judge:
    """Argo Rollouts with `failureLimit: 3`: the fourth failed measurement aborts."""
    return FailedChecks(plan, allowed=3)


def flagger_like(plan: Plan) -> Judge:
    """Flagger with `threshold: 10`: the tenth failed check rolls back."""
    return FailedChecks(plan, allowed=9)
