"""What the judge is told and what it answers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from grayscale.errors import GrayscaleError


class JudgeInputError(GrayscaleError, ValueError):
    """Counters or settings that cannot be true; the state is left as it was."""


def _latency_edges() -> tuple[float, ...]:
    """Upper bucket edges in ms, each 5 % above the one before, from 1 ms to 10 minutes."""
    count = math.ceil(math.log(600_000) / math.log(1.05)) + 1
    return tuple(round(1.05**exponent, 4) for exponent in range(count))


LATENCY_EDGES_MS = _latency_edges()
BUCKETS = len(LATENCY_EDGES_MS) + 1


class Outcome(StrEnum):
    """The judge's three answers."""

    HEALTHY = "healthy"
    HARMFUL = "harmful"
    INCONCLUSIVE = "inconclusive"


class Cause(StrEnum):
    """Why a verdict is not `healthy`."""

    CANDIDATE = "candidate"
    UPSTREAM = "upstream"
    NOT_ENOUGH_DATA = "not_enough_data"
    SPLIT_MISMATCH = "split_mismatch"
    STALE_METRICS = "stale_metrics"


@dataclass(frozen=True, slots=True)
class Arm:
    """One version's counters of one interval.

    `requests` started in the interval (those rejected or given up by their caller left out);
    `errors` and `latency_counts` may also tell of requests that started in an earlier one.
    `latency_counts` counts successful requests per bucket of LATENCY_EDGES_MS, one more above;
    empty: no latencies are known, and every request that did not fail succeeded. `by_code`
    counts failed and rejected requests by HTTP status; None: nobody reports it. `rejected` were
    answered with the caller's own mistake (a 400, say), `client_gone` were left by their caller:
    no failures, but both arms have the same callers.

    `shared_errors` are failures of the candidate whose retry on stable failed too: no absolute
    limit hears of them. `signals` counts (bad, all) answers by the name of what was wrong with
    them, such as `refusal`; `histograms` holds further ones in the buckets of LATENCY_EDGES_MS:
    `ttft` (ms), `token_ms` (ms per output token), `cost` (1e-5 USD).

    `callers` are those callers of the interval that stick to a version and had not failed before
    in the release, `failed_callers` those of them that now did.
    """

    requests: int = 0
    errors: int = 0
    latency_counts: Sequence[int] = ()
    by_code: Mapping[int, int] | None = None
    rejected: int = 0
    client_gone: int = 0
    shared_errors: int = 0
    signals: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    histograms: Mapping[str, Sequence[int]] = field(default_factory=dict)
    callers: int = 0
    failed_callers: int = 0


@dataclass(frozen=True, slots=True)
class Interval:
    """What happened between two looks; ids rise.

    `step_seconds` is what the step has been watched so far. Not `fresh`: a worker's counters are
    missing. Not `split_verified`: some worker does not run the split.

    Requests of a caller that sticks to a version are not independent of each other. Where there
    are such, `independent` are the same arms (stable, candidate) over the others and the first
    request of each such caller alone: what compares the versions looks at these.
    """

    id: int
    seconds: float
    step: int
    weight_percent: float
    step_seconds: float
    soak_done: bool
    stable: Arm
    candidate: Arm
    fresh: bool = True
    split_verified: bool = True
    independent: tuple[Arm, Arm] | None = None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _as_tuple(name: str, values: object) -> tuple[Any, ...]:
    """Lists are taken too; everything that is frozen must be hashable."""
    if not isinstance(values, list | tuple):
        raise JudgeInputError(f"{name}: {values!r} is no list")
    return tuple(values)


@dataclass(frozen=True, slots=True)
class Rule:
    """A guard rail of the plan: `metric` must stay at or below `limit`.

    For `error_code` the rule watches how often `codes` are answered, compared with stable. A rule
    that does not roll back is only reported when it is broken.
    """

    name: str
    metric: str
    limit: float = 0.0
    codes: tuple[int, ...] = ()
    rolls_back: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "codes", _as_tuple("codes", self.codes))
        if not _is_text(self.metric):
            raise JudgeInputError(f"rule {self.name}: metric: {self.metric!r} is no metric")
        if not _is_number(self.limit) or not math.isfinite(self.limit):
            raise JudgeInputError(f"rule {self.name}: limit: {self.limit!r} is no limit")


@dataclass(frozen=True, slots=True)
class Settings:
    """What the judge holds a candidate to.

    `alpha` bounds the chance that a release as good as stable is called harmful, over all looks
    and gates together. Latencies of the first `latency_warmup_seconds` are not judged. Optional
    gates named in `switched_off` are left out.
    """

    error_threshold_percent: float = 5.0
    latency_threshold_ms: float = 2000.0
    alpha: float = 0.05
    min_requests: int = 60
    latency_warmup_seconds: float = 60.0
    rules: tuple[Rule, ...] = ()
    switched_off: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        bounds: dict[str, Callable[[float], bool]] = {
            "error_threshold_percent": lambda percent: 0 < percent <= 100,
            "latency_threshold_ms": lambda ms: 0 < ms < math.inf,
            "alpha": lambda alpha: 0 < alpha < 1,
            "min_requests": lambda requests: requests >= 1 and requests == int(requests),
            "latency_warmup_seconds": lambda seconds: 0 <= seconds < math.inf,
        }
        for name, is_within in bounds.items():
            value = getattr(self, name)
            if not (_is_number(value) and is_within(value)):
                raise JudgeInputError(f"{name}: {value!r} is out of bounds")
        for name in ("rules", "switched_off"):
            object.__setattr__(self, name, _as_tuple(name, getattr(self, name)))
        strangers: list[object] = [rule for rule in self.rules if type(rule) is not Rule]
        if strangers:
            raise JudgeInputError(f"rules: {strangers[0]!r} is no Rule")


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judge's answer, why, in one sentence with numbers, and with the evidence by gate."""

    outcome: Outcome
    cause: Cause | None
    sentence: str
    evidence: dict[str, Any]
