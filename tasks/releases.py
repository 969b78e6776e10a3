"""Opening a release, claiming it, and each decision that a conductor carries out."""

from __future__ import annotations

import asyncio
from typing import Literal

from grayscale.control import Claim, Control
from grayscale.errors import ControlRefused
from grayscale.plan.models import Plan
from grayscale.release.record import ReleaseRecord
from tasks.house import relay, relay_task

_SETTLE_SECONDS = 1.0
_MOVED_ON = frozenset({"release_changed", "step_moved_on"})


@relay_task("open release")
async def open_release(
    plan: Plan, *, flow_run_id: str, trigger: Literal["person", "schedule"] = "person"
) -> str:
    """Put the plan on record; the same flow run always gets the same release."""
    async with relay() as control:
        opened = await control.open_release(
            plan, trigger=trigger, idempotency_key=f"flow-run:{flow_run_id}"
        )
    return str(opened["id"])


@relay_task("claim release")
async def claim_release(release_id: str, *, flow_run_id: str) -> Claim:
    """Become the release's conductor."""
    async with relay() as control:
        return await control.claim(release_id, flow_run_id=flow_run_id)


@relay_task("read release")
async def read_release(release_id: str) -> ReleaseRecord:
    """The record as it is now."""
    async with relay() as control:
        return await control.release(release_id)


@relay_task("create version")
async def create_version(record: ReleaseRecord, *, fence: int, reason: str) -> ReleaseRecord:
    """Create the plan's version, and make it the candidate."""
    return await act(record, "create_version", fence=fence, reason=reason)


@relay_task("extend soak")
async def extend_soak(record: ReleaseRecord, *, fence: int, reason: str) -> ReleaseRecord:
    """Watch longer at the same weight."""
    return await act(record, "extend", fence=fence, reason=reason, step=record.current_step)


@relay_task("ask for approval")
async def ask_for_approval(record: ReleaseRecord, *, fence: int, reason: str) -> ReleaseRecord:
    """Open the gate in front of the next step to people."""
    return await act(record, "ask", fence=fence, reason=reason, step=record.current_step)


@relay_task("begin bake")
async def begin_bake(record: ReleaseRecord, *, fence: int, reason: str) -> ReleaseRecord:
    """Watch the candidate at full weight once more before it becomes stable."""
    return await act(record, "bake", fence=fence, reason=reason)


@relay_task("promote")
async def promote(record: ReleaseRecord, *, fence: int, reason: str) -> ReleaseRecord:
    """Make the candidate the stable version."""
    return await act(record, "promote", fence=fence, reason=reason)


@relay_task("give up")
async def give_up(release_id: str, *, fence: int, reason: str) -> ReleaseRecord:
    """End the release as failed: stable keeps, or gets, the traffic."""
    async with relay() as control:
        record = await control.renew(release_id, fence=fence)
    if record.state.final:
        return record
    return await act(record, "fail", fence=fence, reason=reason)


async def act(
    record: ReleaseRecord,
    verb: str,
    *,
    fence: int,
    reason: str,
    step: int | None = None,
    flow_run_id: str | None = None,
) -> ReleaseRecord:
    """Carry out a decision; if the release moved on meanwhile, the record to decide on anew."""
    async with relay() as control:
        try:
            return await control.act(
                record, verb, fence=fence, reason=reason, step=step, flow_run_id=flow_run_id
            )
        except ControlRefused as refusal:
            if refusal.code not in _MOVED_ON:
                raise
            return await _look_again(control, record, fence)


async def _look_again(control: Control, record: ReleaseRecord, fence: int) -> ReleaseRecord:
    fresh = await control.renew(record.id, fence=fence)
    if fresh.revision == record.revision:  # refused for what the record does not show: no hot loop
        await asyncio.sleep(_SETTLE_SECONDS)
        fresh = await control.renew(record.id, fence=fence)
    return fresh
