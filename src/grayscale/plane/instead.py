"""What happened instead: whoever comes too late is told what, by whom, when and why."""

from __future__ import annotations

from typing import Any

from grayscale.errors import Refused
from grayscale.plane import events
from grayscale.plane.document import Document
from grayscale.release.phases import State
from grayscale.release.record import ApprovalView
from grayscale.store.database import Tx


async def refused(
    tx: Tx, release: Document, code: str, problem: str, *, param: str | None = None
) -> Refused:
    """409: `problem`, then how the release stands since when, and who made it so."""
    newest = await events.newest(tx, release.id)
    sentence = f"{problem}: release {release.id} {_stands(release)}{_since(newest)}"
    decided = _last_decision(release)
    if decided is not None:
        sentence += f"; it was {decided.state} by {decided.decided_by} at {decided.decided_at}"
    return Refused(
        409,
        code,
        sentence + (f". Reason: {release.reason}" if release.reason else ""),
        param=param,
        extra={
            "release_id": release.id,
            "state": release.state.value,
            "happened": newest and {
                "type": newest["type"],
                "at": newest["timestamp"],
                "by": newest["data"]["actor"]["name"],
            },
        },
    )  # fmt: skip


def _stands(release: Document) -> str:
    step = "" if release.current_step is None else f" at step {release.current_step}"
    waiting = release.gate is not None and release.gate.state != "waiting"
    if release.state is State.AWAITING_APPROVAL and waiting:
        return f"waits for its conductor{step}"
    return f"is {release.state.value}{step}"


def _since(newest: dict[str, Any] | None) -> str:
    if newest is None:
        return ""
    return f" since {newest['timestamp']}, by {newest['data']['actor']['name']} ({newest['type']})"


def _last_decision(release: Document) -> ApprovalView | None:
    """The newest gate that a person has decided."""
    gates = [release.gate, *(step.approval for step in release.steps)]
    decided = [gate for gate in gates if gate is not None and gate.decided_at is not None]
    return max(decided, key=lambda gate: gate.decided_at or "", default=None)
