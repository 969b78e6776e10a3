"""Only watched time is soak: what stops a step's clock, and what a look adds to the step."""

from __future__ import annotations

from typing import Any

from grayscale.release.phases import State
from grayscale.release.record import StepView

STALE_METRICS, SPLIT, UPSTREAM = "stale_metrics", "split", "upstream"
LEASE, PAUSED, APPROVAL = "lease", "paused", "approval"

IN_WORDS = {
    STALE_METRICS: "counters were missing",
    SPLIT: "the split was not verified",
    UPSTREAM: "the upstream was sick",
    LEASE: "no conductor held the lease",
    PAUSED: "paused",
    APPROVAL: "waiting for a person",
}
"""What stopped the clock, for people."""

HELD_BY = {STALE_METRICS: "metrics", SPLIT: "split", UPSTREAM: "upstream"}
"""What is wrong, and the cause of the `held` that comes of it when it lasts."""

_BY_VERDICT = {
    "stale_metrics": STALE_METRICS,
    "split_mismatch": SPLIT,
    "upstream": UPSTREAM,
}
_NOT_THE_STEPS_OWN_SPLIT = frozenset({LEASE, PAUSED})


def of_verdict(cause: str | None) -> str | None:
    """What a verdict's cause says is wrong, other than the candidate."""
    return _BY_VERDICT.get(cause or "")


def trouble(*, fresh: bool, verified: bool, verdict_cause: str | None) -> str | None:
    """What is wrong in an interval that nobody decided to stop; None if nothing is."""
    if not fresh:
        return STALE_METRICS
    if not verified:
        return SPLIT
    return of_verdict(verdict_cause)


def stopped_by(state: State, *, cause: str | None, leased: bool, wrong: str | None) -> str | None:
    """What stopped the clock in an interval of this state; None: it ran."""
    match state:
        case State.SOAKING | State.BAKING:
            return wrong if leased else LEASE
        case State.PAUSED:
            return PAUSED
        case State.AWAITING_APPROVAL:
            return APPROVAL
        case _:
            names = {held: name for name, held in HELD_BY.items()}
            return names.get(cause or "", LEASE)


def after_look(
    stage: StepView,
    *,
    seconds: float,
    stopped: str | None,
    stable_requests: int,
    candidate_requests: int,
) -> dict[str, Any]:
    """The fields of a step that one more look changes."""
    if stopped is None:
        changes: dict[str, Any] = {"watched_seconds": stage.watched_seconds + seconds}
    else:
        stood = stage.unwatched.get(stopped, 0.0) + seconds
        changes = {"unwatched": {**stage.unwatched, stopped: round(stood, 3)}}
    if stopped in _NOT_THE_STEPS_OWN_SPLIT:
        return changes
    stable = stage.stable_requests + stable_requests
    candidate = stage.candidate_requests + candidate_requests
    total = stable + candidate
    observed = round(candidate * 100 / total, 1) if total else None
    return {
        **changes,
        "stable_requests": stable,
        "candidate_requests": candidate,
        "observed_percent": observed,
    }
