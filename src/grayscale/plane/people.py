"""What people do to a release: approve, reject, pause, resume, abort, retry, promote."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from grayscale.clock import rfc3339
from grayscale.errors import Refused
from grayscale.plane import configs, document, instead, releases, takeaway
from grayscale.plane.actor import Actor
from grayscale.plane.document import Document
from grayscale.plane.plane import Plane
from grayscale.release.phases import State
from grayscale.store.database import Tx

_PAUSABLE = frozenset(
    {State.PREPARING, State.SOAKING, State.BAKING, State.AWAITING_APPROVAL, State.HELD}
)


async def approve(
    plane: Plane, tx: Tx, release: Document, *, actor: Actor, step: int | None, note: str
) -> None:
    """Open the gate that is waiting; raises Refused (409 `step_moved_on`) if none is."""
    await _check_waiting(plane, tx, release, step)
    _check_approver(release, actor)
    _decide(plane, release, "approved", actor, note)
    release.revision += 1
    await document.save(tx, release, now=plane.clock.now())
    await document.tell(plane, tx, release, "release.approved", actor=actor, reason=note or None)


async def reject(
    plane: Plane, tx: Tx, release: Document, *, actor: Actor, step: int | None, note: str
) -> None:
    """Close the gate that is waiting: the candidate goes, the release ends `rejected`."""
    await _check_waiting(plane, tx, release, step)
    _check_approver(release, actor)
    _decide(plane, release, "rejected", actor, note)
    reason = f"rejected by {actor.name}" + (f": {note}" if note else "")
    await document.tell(plane, tx, release, "release.rejected", actor=actor, reason=reason)
    await takeaway.roll_back(
        plane, tx, release, actor=actor, reason=reason, cause="rejected", ending=State.REJECTED
    )


async def pause(
    plane: Plane,
    tx: Tx,
    release: Document,
    *,
    actor: Actor,
    at_stable: bool,
    note: str,
    channels: tuple[str, ...] | None = None,
) -> None:
    """Stop the soak clock; `at_stable` also takes the weight to 0 until it is resumed."""
    if release.state is State.PAUSED:
        if at_stable:  # taking away is never too late
            await withdraw_weight(plane, tx, release, actor=actor, reason=f"paused by {actor.name}")
            await document.save(tx, release, now=plane.clock.now())
        return
    if release.state not in _PAUSABLE:
        problem = "Only a release that is running can be paused"
        raise await instead.refused(tx, release, "release_changed", problem)
    held = release.state is State.HELD
    release.resume_state = release.goes_on_in if held else release.state
    reason = f"paused by {actor.name}" + (f": {note}" if note else "")
    release.move(State.PAUSED, reason=reason)
    release.waiting_run_id = None  # whatever form is open asks the wrong question now
    release.deadline_at = _minutes_on(plane, release.plan.pause.timeout_minutes)
    if at_stable:
        await withdraw_weight(plane, tx, release, actor=actor, reason=reason)
    await document.save(tx, release, now=plane.clock.now())
    await document.tell(plane, tx, release, "release.paused", actor=actor, channels=channels)


async def resume(plane: Plane, tx: Tx, release: Document, *, actor: Actor, note: str) -> None:
    """Go on where the pause began; a conductor gives back the weight."""
    if release.state is not State.PAUSED:
        problem = "Only a release that is paused can be resumed"
        raise await instead.refused(tx, release, "release_changed", problem)
    await _check_not_falling(tx, release)
    state = release.resume_state or State.SOAKING
    reason = f"resumed by {actor.name}" + (f": {note}" if note else "")
    release.move(state, reason=reason)
    release.resume_state = None
    release.waiting_run_id = None
    release.deadline_at = None
    if state is State.AWAITING_APPROVAL and release.gate is not None:
        release.deadline_at = _minutes_on(plane, release.plan.approval.timeout_minutes)
        release.put_gate(release.gate.model_copy(update={"deadline": release.deadline_at}))
    await document.save(tx, release, now=plane.clock.now())
    await document.tell(plane, tx, release, "release.resumed", actor=actor)


async def abort(
    plane: Plane,
    tx: Tx,
    release: Document,
    *,
    actor: Actor,
    note: str,
    drain_seconds: float = takeaway.DRAIN_SECONDS,
) -> None:
    """Take the candidate out, whatever the release is doing; after promotion go to `previous`."""
    reason = f"aborted by {actor.name}" + (f": {note}" if note else "")
    if release.state is State.PROMOTED:
        await _undo_promotion(
            plane, tx, release, actor=actor, reason=reason, drain_seconds=drain_seconds
        )
        return
    await takeaway.roll_back(
        plane,
        tx,
        release,
        actor=actor,
        reason=reason,
        cause="aborted",
        drain_seconds=drain_seconds,
    )


async def retry(plane: Plane, tx: Tx, release: Document, *, actor: Actor) -> Document:
    """A new release with the plan of one that did not make it."""
    if not release.state.final or release.state is State.PROMOTED:
        problem = "Only what was rolled back, rejected, superseded or failed can be tried again"
        raise await instead.refused(tx, release, "release_changed", problem)
    return await releases.create(plane, tx, release.plan, actor=actor)


async def promote(
    plane: Plane, tx: Tx, release: Document, *, actor: Actor, full: bool, note: str
) -> None:
    """End this soak if the judge permits; `full` skips the rest, on a person's word."""
    running = {State.SOAKING, State.BAKING, State.AWAITING_APPROVAL, State.PREPARING}
    if release.state not in running:
        problem = "Only a release whose steps are running can be promoted"
        raise await instead.refused(tx, release, "release_changed", problem)
    release.promote_now = True
    if full:
        release.promote_full = True
        if release.state is State.AWAITING_APPROVAL:
            _decide(plane, release, "approved", actor, note or "promoted in full")
    release.reason = ("promoted in full by " if full else "moved on by ") + actor.name
    release.revision += 1
    await document.save(tx, release, now=plane.clock.now())
    await document.tell(plane, tx, release, "release.approved", actor=actor, channels=())


async def withdraw_weight(
    plane: Plane, tx: Tx, release: Document, *, actor: Actor, reason: str
) -> None:
    """The candidate's weight to 0, without ending the release."""
    config = await configs.current(tx)
    if config.weights.get(release.version, 0) <= 0:
        return
    config = await configs.put(
        tx,
        replace(config, weights={config.stable: 100.0}),
        now=plane.clock.now(),
        actor=actor,
        reason=reason,
    )
    release.config_id, release.state_seq = config.config_id, config.state_seq


async def _undo_promotion(
    plane: Plane, tx: Tx, release: Document, *, actor: Actor, reason: str, drain_seconds: float
) -> None:
    config = await configs.current(tx)
    if config.release_id == release.id and release.version not in config.weights:
        return  # taken away already, and nothing came after it
    previous = config.aliases.get("previous")
    if config.stable != release.version or previous is None:
        raise Refused(
            409,
            "nothing_to_roll_back",
            f"Version '{release.version}' is not stable any more, or nothing was before it",
        )
    standing_on_it = await document.active(tx)
    if standing_on_it is not None:  # what it was compared with is going
        await takeaway.roll_back(
            plane, tx, standing_on_it, actor=actor, cause="aborted", target=previous,
            reason=f"its base {release.version} was taken out of traffic: {reason}",
        )  # fmt: skip
    else:
        await takeaway.to_stable(
            plane, tx, config, actor=actor, reason=reason, drain_seconds=drain_seconds,
            target=previous,
        )  # fmt: skip
    release.reason, release.cause = f"promoted, and taken back: {reason}", "aborted"
    await document.save(tx, release, now=plane.clock.now())
    await document.tell(plane, tx, release, "release.rolling_back", actor=actor, reason=reason)


def _minutes_on(plane: Plane, minutes: float) -> str:
    return rfc3339(plane.clock.now() + timedelta(minutes=minutes))


def _decide(plane: Plane, release: Document, state: str, actor: Actor, note: str) -> None:
    if release.gate is None:
        return
    release.put_gate(
        release.gate.model_copy(
            update={
                "state": state,
                "decided_at": rfc3339(plane.clock.now()),
                "decided_by": actor.name,
                "via": actor.via,
                "verified": actor.verified,
                "note": note or None,
            }
        )
    )


async def _check_waiting(plane: Plane, tx: Tx, release: Document, step: int | None) -> None:
    gate = release.gate if release.state is State.AWAITING_APPROVAL else None
    if gate is None or gate.state != "waiting":
        raise await instead.refused(
            tx, release, "step_moved_on", "Nobody is asked for a decision now", param="step"
        )
    if step is not None and step != release.current_step:
        raise await instead.refused(
            tx, release, "step_moved_on", f"No decision is asked for at step {step}", param="step"
        )
    if gate.deadline and gate.deadline < rfc3339(plane.clock.now()):
        problem = f"The deadline for this decision was {gate.deadline}"
        raise await instead.refused(tx, release, "step_moved_on", problem)


async def _check_not_falling(tx: Tx, release: Document) -> None:
    """While a gradual rollback lowers the weight, nothing gives it back."""
    latest = await takeaway.latest_rollback(tx)
    if latest is None or latest["state"] != "gradual" or latest["release_id"] != release.id:
        return
    raise Refused(
        409,
        "release_changed",
        f"A gradual rollback by {latest['actor']['name']} lowers release {release.id} since "
        f"{latest['started_at']}; abort that first (POST /v1/admin/rollback/abort)",
    )


def _check_approver(release: Document, actor: Actor) -> None:
    rule = release.plan.approval
    if rule.approvers and actor.name not in rule.approvers:
        raise Refused(
            403,
            "insufficient_scope",
            f"'{actor.name}' is not an approver of this plan; approvers: "
            f"{', '.join(rule.approvers)}",
        )
    if rule.not_author and actor.name == release.created_by.get("name"):
        raise Refused(
            403, "insufficient_scope", f"'{actor.name}' began this release; another must approve"
        )
