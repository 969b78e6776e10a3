"""Carry a release out: observe, decide, act, until there is nothing left to do.

The release's record in the relay is the truth. This flow may be killed at any instant and begin
again from the top any number of times: it reads the record and goes on.
"""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from pydantic.json_schema import SkipJsonSchema

from flows.endings import end, ended, refused
from flows.hooks import take_candidate_away
from grayscale.errors import ControlRefused
from grayscale.plan.models import Plan
from grayscale.release.decide import (
    Action,
    AskHuman,
    Bake,
    CreateVersion,
    Extend,
    Finish,
    Promote,
    SetSplit,
    WaitForHuman,
    Watch,
    decide,
)
from grayscale.release.record import ReleaseRecord
from tasks.approvals import wait_for_person
from tasks.artifacts import show_split, show_verdict
from tasks.releases import (
    ask_for_approval,
    begin_bake,
    claim_release,
    create_version,
    extend_soak,
    give_up,
    open_release,
    promote,
)
from tasks.runs import close_older_runs, join_release, name_run, this_run_id
from tasks.soak import soak
from tasks.traffic import set_split, verify_split


@flow(name="release", on_cancellation=[take_candidate_away])
async def release(
    plan: Plan | SkipJsonSchema[None] = None, release_id: str | None = None
) -> State[Any]:
    """Release a version step by step, judged at every step.

    Args:
        plan: How to release which version. To paste it whole: menu on the right, JSON.
        release_id: To go on with a release on record (rel_…); then omit the plan by its menu.
    """
    if (plan is None) == (release_id is None):
        raise ValueError("give either a plan (a new release) or a release_id (to go on with one)")
    if release_id is None and plan is not None:
        release_id = await open_release(plan, flow_run_id=this_run_id())
    return await conduct(str(release_id))


async def conduct(release_id: str) -> State[Any]:
    """Drive a release on record to its end, or to where somebody else takes over."""
    await join_release(release_id)
    try:
        claim = await claim_release(release_id, flow_run_id=this_run_id())
    except ControlRefused as refusal:
        return await refused(refusal, release_id)
    await close_older_runs(release_id)
    try:
        return end(await carry_on(claim.release, fence=claim.fence))
    except ControlRefused as refusal:
        if ended(refusal):
            return await refused(refusal, release_id)
        return end(await give_up(release_id, fence=claim.fence, reason=str(refusal)))


async def carry_on(record: ReleaseRecord, *, fence: int) -> ReleaseRecord:
    """Observe, decide, act; returns the final record."""
    while not isinstance(action := decide(record), Finish):
        await name_run(record)
        record = await carry_out(action, record, fence=fence)
    await name_run(record)
    await show_split(record)
    return record


async def carry_out(action: Action, record: ReleaseRecord, *, fence: int) -> ReleaseRecord:
    """One action; returns the record after it."""
    match action:
        case CreateVersion(reason=reason):
            record = await create_version(record, fence=fence, reason=reason)
        case SetSplit(step=step, reason=reason):
            record = await set_split(record, step=step, fence=fence, reason=reason)
            record = await verify_split(record, fence=fence)
            await show_split(record)
        case Watch():
            record = await soak(record, fence=fence)
            await show_verdict(record)
        case Extend(reason=reason):
            record = await extend_soak(record, fence=fence, reason=reason)
        case AskHuman(reason=reason):
            record = await ask_for_approval(record, fence=fence, reason=reason)
        case WaitForHuman(what=what):
            record = await wait_for_person(record, what=what, fence=fence)
        case Bake(reason=reason):
            record = await begin_bake(record, fence=fence, reason=reason)
        case Promote(reason=reason):
            record = await promote(record, fence=fence, reason=reason)
        case Finish():
            pass
    return record
