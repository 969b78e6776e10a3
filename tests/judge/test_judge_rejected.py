"""Requests that are nobody's failure still tell the arms apart: both have the same callers."""

from __future__ import annotations

from grayscale.judge import Arm, Interval, Outcome, Settings, Verdict, advance, start


def last_verdict(*, candidate_rejected: float, stable_rejected: float, gone: int = 0) -> Verdict:
    """Thirty seconds at 10 % with these shares of rejected requests."""
    state = start(Settings())
    verdict = None
    for second in range(1, 31):
        interval = Interval(
            id=second,
            seconds=1.0,
            step=0,
            weight_percent=10.0,
            step_seconds=float(second),
            soak_done=True,
            stable=_arm(90, stable_rejected, 0),
            candidate=_arm(10, candidate_rejected, gone),
        )
        state, verdict = advance(state, interval)
    assert verdict is not None
    return verdict


def _arm(started: int, rejected: float, gone: int) -> Arm:
    count = round(started * rejected)
    return Arm(requests=started - count - gone, rejected=count, client_gone=gone)


def test_a_candidate_that_rejects_what_stable_takes_is_harmful() -> None:
    """A version that answers 400 to a parameter is wrong, though no error is counted."""
    verdict = last_verdict(candidate_rejected=1.0, stable_rejected=0.0)
    assert verdict.outcome is Outcome.HARMFUL
    assert "rejected" in verdict.sentence


def test_callers_who_err_alike_in_both_arms_are_no_harm() -> None:
    """Rejected requests in both arms alike say nothing against the candidate."""
    verdict = last_verdict(candidate_rejected=0.5, stable_rejected=0.5)
    assert verdict.outcome is not Outcome.HARMFUL


def test_callers_who_give_up_on_the_candidate_are_heard() -> None:
    """A candidate that nobody waits for is harmful, though nothing failed."""
    verdict = last_verdict(candidate_rejected=0.0, stable_rejected=0.0, gone=9)
    assert verdict.outcome is Outcome.HARMFUL
    assert "given up" in verdict.sentence
