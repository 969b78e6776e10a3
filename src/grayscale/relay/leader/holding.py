"""Held: the ramp waits while something other than the candidate is wrong, and goes on by itself.

A sick upstream holds at once, because the judge has looked at two minutes already; a split that
is not verified or counters that are missing hold when they last.
"""

from __future__ import annotations

from grayscale.judge import Verdict
from grayscale.plane import asking, document
from grayscale.plane.actor import GUARD
from grayscale.plane.document import Document, Trouble
from grayscale.plane.holds import ASK_AFTER, hold
from grayscale.plane.plane import Plane
from grayscale.release.phases import State
from grayscale.release.soak_clock import HELD_BY, SPLIT, STALE_METRICS, UPSTREAM, of_verdict
from grayscale.store.database import Tx

_PATIENCE_INTERVALS = 3
_PATIENCE_SECONDS_MIN = 10.0  # a dead worker is forgotten within 5 s, and no reason to hold
_MOVING = frozenset({State.SOAKING, State.BAKING})
_CAUSES = frozenset(HELD_BY.values())
_SAYS = {
    STALE_METRICS: "the counters of a worker are missing",
    SPLIT: "not every worker runs the split",
    UPSTREAM: "stable is sick too",
}
_OVER = {
    "metrics": "the counters are complete again",
    "split": "the split is as it should be again",
    "upstream": "the upstream is well again",
}


async def hold_or_go_on(
    plane: Plane, tx: Tx, release: Document, verdict: Verdict, *, wrong: str | None, seconds: float
) -> None:
    """After a look of so many seconds: hold, stay held for another cause, or go on."""
    reason = verdict.sentence if of_verdict(verdict.cause) == wrong else _SAYS.get(wrong or "", "")
    if release.state in _MOVING:
        release.trouble = _lasting(release.trouble, wrong, seconds)
        if wrong is not None and _is_enough(release, wrong):
            await hold(plane, tx, release, cause=HELD_BY[wrong], reason=reason)
            return
    elif _is_held(release):
        release.trouble = None
        if wrong is None:
            await _go_on(plane, tx, release)
            return
        if release.state is State.HELD and release.cause != HELD_BY[wrong]:
            release.move(State.HELD, reason=reason, cause=HELD_BY[wrong])
    await document.save(tx, release, now=plane.clock.now())


async def ask_if_held_for_long(plane: Plane, tx: Tx, release: Document) -> None:
    """What does not end by itself within a day is a person's to decide; it may still end."""
    if release.state is not State.HELD or not _is_held(release):
        return
    why = (
        f"Held for {ASK_AFTER.total_seconds() / 3600:g} h: {release.reason} Approve to go on "
        "nevertheless, or reject; if it ends meanwhile, the release goes on by itself."
    )
    await asking.ask(plane, tx, release, why=why, actor=GUARD)


def _is_held(release: Document) -> bool:
    """Held by something that can end by itself, or asked about because it has not."""
    waiting = release.gate is not None and release.gate.state == "waiting"
    asked = release.state is State.AWAITING_APPROVAL and waiting
    return (release.state is State.HELD or asked) and release.cause in _CAUSES


def _lasting(before: Trouble | None, wrong: str | None, seconds: float) -> Trouble | None:
    if wrong is None:
        return None
    already = before.seconds if before is not None and before.what == wrong else 0.0
    return Trouble(what=wrong, seconds=already + seconds)


def _is_enough(release: Document, wrong: str) -> bool:
    if wrong == UPSTREAM:
        return True
    patience = _PATIENCE_INTERVALS * release.plan.judge.interval_seconds
    lasted = release.trouble.seconds if release.trouble is not None else 0.0
    return lasted > max(patience, _PATIENCE_SECONDS_MIN)


async def _go_on(plane: Plane, tx: Tx, release: Document) -> None:
    reason = _OVER[release.cause or ""]
    if release.state is State.AWAITING_APPROVAL:
        release.drop_gate()
        release.waiting_run_id = None
    release.deadline_at = None
    release.move(release.goes_on_in, reason=reason)
    await document.save(tx, release, now=plane.clock.now())
    await document.tell(plane, tx, release, "release.resumed", actor=GUARD)
