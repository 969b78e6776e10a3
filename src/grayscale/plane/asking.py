"""Opening the gate in front of what comes next to people, and closing it unanswered."""

from __future__ import annotations

from datetime import timedelta

from grayscale.clock import rfc3339
from grayscale.plane import document
from grayscale.plane.actor import Actor
from grayscale.plane.document import Document
from grayscale.plane.plane import Plane
from grayscale.release.asking import Question, question
from grayscale.release.phases import State
from grayscale.release.record import ApprovalView
from grayscale.store.database import Tx


async def ask(
    plane: Plane,
    tx: Tx,
    release: Document,
    *,
    why: str,
    actor: Actor,
    asked: Question | None = None,
) -> None:
    """Open the gate until the plan's deadline; a release that was held stays marked as such."""
    now = plane.clock.now()
    deadline = rfc3339(now + timedelta(minutes=release.plan.approval.timeout_minutes))
    release.put_gate(
        ApprovalView(
            state="waiting",
            asked_at=rfc3339(now),
            deadline=deadline,
            why=why,
            suggestion=asked.suggestion if asked else None,
            wait_seconds=asked.wait_seconds if asked else None,
        )
    )
    release.deadline_at = deadline
    release.waiting_run_id = None  # whoever slept shows no form for this question
    held_by = release.cause if release.state is State.HELD else None
    release.move(State.AWAITING_APPROVAL, reason=why, cause=held_by)
    await document.save(tx, release, now=now)
    await document.tell(plane, tx, release, "release.approval_requested", actor=actor)


def open_question(release: Document) -> Question | None:
    """What to tell where the soak ended without enough evidence; None if it did not."""
    stage = release.stage
    if stage is None or stage.verdict is None or not release.plan.health_check.enabled:
        return None
    if stage.verdict.outcome != "inconclusive":
        return None
    following = stage.index + 1
    on_ramp = release.bake is None and following < len(release.steps)
    next_percent = release.steps[following].step_percent if on_ramp else None
    return question(release.plan, stage, next_percent=next_percent)
