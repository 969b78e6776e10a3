"""Held: the ramp stands still for what is not the candidate's fault, until that is over."""

from __future__ import annotations

from datetime import timedelta

from grayscale.clock import rfc3339
from grayscale.plane import document, takeaway
from grayscale.plane.actor import GUARD
from grayscale.plane.document import Document
from grayscale.plane.plane import Plane
from grayscale.release.phases import State
from grayscale.release.soak_clock import HELD_BY, UPSTREAM, of_verdict
from grayscale.store.database import Tx

ASK_AFTER = timedelta(hours=24)


async def hold(plane: Plane, tx: Tx, release: Document, *, cause: str, reason: str) -> None:
    """Stop the ramp where it is, and tell people; after a day they are asked."""
    now = plane.clock.now()
    release.trouble = None
    release.deadline_at = rfc3339(now + ASK_AFTER)
    release.move(State.HELD, reason=reason, cause=cause)
    await document.save(tx, release, now=now)
    await document.tell(plane, tx, release, "release.held", actor=GUARD)


async def stopped_by_evidence(plane: Plane, tx: Tx, release: Document) -> bool:
    """Whether the newest verdict overrules what has permitted a raise; it is acted on here.

    A person approves on the evidence of a moment, and a conductor raises some time later. Only
    who approved during this very hold has seen that the upstream is sick.
    """
    verdict = release.verdict
    if verdict is None or not release.plan.health_check.enabled:
        return False
    if verdict.outcome == "harmful":
        await takeaway.roll_back(
            plane, tx, release, actor=GUARD, reason=verdict.sentence, cause="candidate"
        )
        return True
    sick = of_verdict(verdict.cause) == UPSTREAM
    if not sick or release.cause == HELD_BY[UPSTREAM]:
        return False
    await hold(plane, tx, release, cause=HELD_BY[UPSTREAM], reason=verdict.sentence)
    return True
