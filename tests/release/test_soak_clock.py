"""What stops the clock of a soak, and what one look adds to a step."""

import pytest

from grayscale.release.phases import State
from grayscale.release.record import StepView
from grayscale.release.soak_clock import after_look, stopped_by, trouble

STEP = StepView(index=0, step_percent=10, weight_percent=10, watched_seconds=100.0)


@pytest.mark.parametrize(
    ("fresh", "verified", "cause", "wrong"),
    [
        (True, True, None, None),
        (True, True, "not_enough_data", None),
        (True, True, "candidate", None),
        (True, True, "upstream", "upstream"),
        (True, True, "split_mismatch", "split"),
        (True, False, "upstream", "split"),
        (False, False, "upstream", "stale_metrics"),
    ],
)
def test_what_is_wrong(
    fresh: bool,  # noqa: FBT001 - pytest's parameters are positional
    verified: bool,  # noqa: FBT001 - as above
    cause: str | None,
    wrong: str | None,
) -> None:
    """Missing counters come first, then the split, then what the judge says of the upstream."""
    assert trouble(fresh=fresh, verified=verified, verdict_cause=cause) == wrong


@pytest.mark.parametrize(
    ("state", "cause", "leased", "wrong", "stopped"),
    [
        (State.SOAKING, None, True, None, None),
        (State.BAKING, None, True, None, None),
        (State.BAKING, None, True, "split", "split"),
        (State.SOAKING, None, False, None, "lease"),
        (State.PAUSED, None, True, None, "paused"),
        (State.AWAITING_APPROVAL, None, True, "split", "approval"),
        (State.HELD, "upstream", True, None, "upstream"),
        (State.HELD, "metrics", True, None, "stale_metrics"),
        (State.HELD, "split", True, None, "split"),
        (State.HELD, "lease_expired", False, None, "lease"),
    ],
)
def test_what_stops_the_clock(
    state: State,
    cause: str | None,
    leased: bool,  # noqa: FBT001 - as above
    wrong: str | None,
    stopped: str | None,
) -> None:
    """Only a soak or a bake under a lease, with nothing wrong, is watched time."""
    assert stopped_by(state, cause=cause, leased=leased, wrong=wrong) == stopped


def test_watched_and_unwatched_time_add_up() -> None:
    """A look is one or the other, and each cause has its own sum."""
    step = STEP
    for stopped in (None, "split", "split", "lease"):
        changes = after_look(
            step, seconds=10, stopped=stopped, stable_requests=90, candidate_requests=10
        )
        step = step.model_copy(update=changes)
    assert step.watched_seconds == 110
    assert step.unwatched == {"split": 20, "lease": 10}


def test_the_share_is_observed_while_the_steps_own_split_is_in_force() -> None:
    """Requests of a pause, or without a lease, belong to another split."""
    step = STEP
    for stopped in (None, "upstream", "paused", "lease"):
        changes = after_look(
            step, seconds=10, stopped=stopped, stable_requests=90, candidate_requests=10
        )
        step = step.model_copy(update=changes)
    assert (step.stable_requests, step.candidate_requests) == (180, 20)
    assert step.observed_percent == 10
    nothing = after_look(STEP, seconds=10, stopped=None, stable_requests=0, candidate_requests=0)
    assert nothing["observed_percent"] is None
