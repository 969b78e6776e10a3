"""One release at a time: what a new one means for those that are not over."""

from __future__ import annotations

from grayscale.errors import Refused
from grayscale.plan.models import Plan
from grayscale.plane import document, takeaway
from grayscale.plane.actor import Actor
from grayscale.plane.document import Document
from grayscale.plane.plane import Plane
from grayscale.release.phases import ACTIVE, State
from grayscale.store.database import Tx

_UNFINISHED = ACTIVE | {State.QUEUED}
_NO_HARM = frozenset({"superseded", "rejected"})


async def settle(plane: Plane, tx: Tx, plan: Plan, version: str, *, actor: Actor) -> str:
    """Queue, supersede or reject, by the new release's plan; returns what it waits for.

    Raises Refused (409 `release_in_progress`) where the plan says `reject`, and for a second
    release of a version that has one: it would try again what the first one may end with a
    rollback.
    """
    unfinished = await document.in_states(tx, _UNFINISHED)
    if plan.on_conflict == "supersede":
        reason = f"superseded by a newer release of {version}, begun by {actor.name}"
        for older in unfinished:
            await takeaway.roll_back(
                plane, tx, older, actor=actor, reason=reason, cause="superseded",
                ending=State.SUPERSEDED,
            )  # fmt: skip
        unfinished = await document.in_states(tx, _UNFINISHED)
    elif plan.on_conflict == "reject" and unfinished:
        raise _in_progress(unfinished[0], "wait for it, abort it, or use on_conflict: queue")
    else:
        for other in unfinished:
            if other.version == version:
                raise _in_progress(other, "follow that one, or abort it first")
    if not unfinished:
        return "waiting for a conductor"
    last = unfinished[-1]
    return f"queued behind release {last.id} of {last.version}, which is {last.state.value}"


def _in_progress(release: Document, remedy: str) -> Refused:
    by = release.created_by.get("name", "somebody")
    return Refused(
        409,
        "release_in_progress",
        f"Release {release.id} of {release.version}, begun by {by} at {release.created_at}, is "
        f"{release.state.value}; {remedy}",
        extra={"release_id": release.id, "state": release.state.value},
    )


def is_harm(cause: str | None) -> bool:
    """Whether a rollback for this cause counts for cooldown and hourly limit."""
    return cause not in _NO_HARM
