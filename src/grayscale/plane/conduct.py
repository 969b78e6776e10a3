"""The conductor's calls: claim a release, keep the lease, carry out one decision at a time.

Each decision is one transaction that checks the fence and the revision, then everything that the
rules ask for (phase, soak, verdict, approval, brake), and writes decision and effect together:
there is no moment at which one is on record and the other is not.
"""

from __future__ import annotations

from typing import Any

from grayscale.errors import Refused
from grayscale.plane import document, turns
from grayscale.plane.actor import Actor
from grayscale.plane.document import Document
from grayscale.plane.orders import VERBS, Order
from grayscale.plane.plane import Plane
from grayscale.release.phases import State
from grayscale.store.database import Tx

SILENT_AFTER_SECONDS = 15


async def claim(plane: Plane, tx: Tx, release: Document, *, flow_run_id: str) -> int:
    """Make this flow run the release's conductor; returns its fence.

    Raises Refused: `release_changed` (it is final), `conductor_alive` (another run renewed
    within 15 s), `release_in_progress` (it is another release's turn).
    """
    if release.state.final:
        raise Refused(
            409, "release_changed", f"Release {release.id} is {release.state.value}: it is over"
        )
    conductor = await document.conductor_of(tx, release.id)
    other = conductor["flow_run_id"] not in (None, flow_run_id)
    if other and conductor["silent_seconds"] < SILENT_AFTER_SECONDS:
        raise Refused(
            409,
            "conductor_alive",
            f"Flow run {conductor['flow_run_id']} conducts release {release.id} and spoke "
            f"{conductor['silent_seconds']} s ago",
        )
    if release.state is State.QUEUED:
        await turns.begin(plane, tx, release)
    release.waiting_run_id = None
    await document.save(tx, release, now=plane.clock.now())
    fence = int(conductor["fence"]) + 1
    await document.put_conductor(
        tx,
        release.id,
        flow_run_id=flow_run_id,
        fence=fence,
        silent_seconds=0,
        lease_left_seconds=int(release.plan.lease.seconds),
        wake_seq=int(conductor["wake_seq"]) + 1,
        wake_run_id=None,
    )
    return fence


async def dismiss(tx: Tx, release: Document, *, run_id: str) -> None:
    """Take the release from a flow run, whether it conducts it, waits, or was called to it.

    Whatever that run still does is refused; the next one may claim at once.
    """
    conductor = await document.conductor_of(tx, release.id)
    changes: dict[str, object] = {}
    if conductor["flow_run_id"] == run_id:
        changes |= {"flow_run_id": None, "fence": int(conductor["fence"]) + 1}
    if conductor["wake_run_id"] == run_id:
        changes |= {"wake_run_id": None, "wake_seq": int(conductor["wake_seq"]) + 1}
    if changes:
        await document.put_conductor(tx, release.id, **changes)
    if release.waiting_run_id == run_id:
        release.waiting_run_id = None


async def fence_out(tx: Tx, release: Document) -> None:
    """Whatever the present conductor still does is refused: the lease has run out."""
    conductor = await document.conductor_of(tx, release.id)
    await document.put_conductor(tx, release.id, fence=int(conductor["fence"]) + 1)


async def renew(tx: Tx, release: Document, *, fence: int) -> None:
    """Reset the lease; raises Refused (409 `stale_fence`) for an outdated conductor."""
    await _check_fence(tx, release, fence)
    await document.put_conductor(
        tx, release.id, silent_seconds=0, lease_left_seconds=int(release.plan.lease.seconds)
    )


async def act(
    plane: Plane, tx: Tx, release: Document, order: Order, *, fence: int, revision: int
) -> None:
    """Carry out one decision; raises Refused where a rule forbids it."""
    conductor = await _check_fence(tx, release, fence)
    if release.revision != revision:
        raise Refused(
            409,
            "release_changed",
            f"Release {release.id} is at revision {release.revision}, not {revision}; read it "
            "again and decide again",
        )
    verb = VERBS.get(order.verb)
    if verb is None:
        raise Refused(
            422,
            "unknown_verb",
            f"verb: '{order.verb}' is not one of {', '.join(VERBS)}",
            param="verb",
        )
    actor = Actor(str(conductor["flow_run_id"]), via="conductor")
    await verb(plane, tx, release, order, actor)
    release.seq += 1
    await document.save(tx, release, now=plane.clock.now())


async def _check_fence(tx: Tx, release: Document, fence: int) -> dict[str, Any]:
    """The conductor's row, if that is the conductor's fence."""
    conductor = await document.conductor_of(tx, release.id)
    if conductor["fence"] != fence:
        raise Refused(
            409,
            "stale_fence",
            f"Fence {fence} is outdated: release {release.id} is at fence {conductor['fence']}; "
            "another run claimed it, its lease ran out, or its conductor went to sleep",
        )
    return conductor
