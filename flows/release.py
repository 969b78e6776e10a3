"""Carry a release out: observe, decide, act, until there is nothing left to do.

The release's record in the relay is the truth. This flow may be killed at any instant and begin
again from the top any number of times: it reads the record and goes on.
"""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from pydantic.json_schema import SkipJsonSchema

from flows.endings import end, ended
from flows.hands import IN_PREFECT, Hands
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
    Sleep,
    WaitForHuman,
    Watch,
    decide,
)
from grayscale.release.record import ReleaseRecord
from tasks.releases import open_release
from tasks.runs import this_run_id
from tasks.sleep import hand_in_answers


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
    await hand_in_answers(str(release_id))
    return await conduct(str(release_id))


async def conduct(release_id: str, hands: Hands = IN_PREFECT) -> State[Any]:
    """Drive a release on record to its end, or to where somebody else takes over."""
    await hands.join(release_id)
    try:
        claim = await hands.claim(release_id, flow_run_id=hands.run_id())
    except ControlRefused as refusal:
        return await hands.refused(refusal, release_id)
    await hands.close_older_runs(release_id)
    try:
        return end(await carry_on(claim.release, fence=claim.fence, hands=hands))
    except ControlRefused as refusal:
        if ended(refusal):
            return await hands.refused(refusal, release_id)
        return end(await hands.give_up(release_id, fence=claim.fence, reason=str(refusal)))


async def carry_on(record: ReleaseRecord, *, fence: int, hands: Hands) -> ReleaseRecord:
    """Observe, decide, act; returns the final record."""
    if record.verdict is not None:  # what the relay saw while nobody conducted
        await hands.show_verdict(record)
    while not isinstance(action := decide(record), Finish):
        await hands.name_run(record)
        record = await carry_out(action, record, fence=fence, hands=hands)
    await hands.name_run(record)
    await hands.show_split(record)
    return record


async def carry_out(  # noqa: C901 - one case per action
    action: Action, record: ReleaseRecord, *, fence: int, hands: Hands
) -> ReleaseRecord:
    """One action; returns the record after it."""
    match action:
        case CreateVersion(reason=reason):
            record = await hands.create_version(record, fence=fence, reason=reason)
        case SetSplit(step=step, reason=reason):
            record = await hands.set_split(record, step=step, fence=fence, reason=reason)
            record = await hands.verify_split(record, fence=fence)
            await hands.show_split(record)
        case Watch():
            record = await hands.soak(record, fence=fence)
            await hands.show_verdict(record)
        case Sleep(reason=reason):
            record = await hands.sleep(record, fence=fence, reason=reason)
        case Extend(reason=reason):
            record = await hands.extend(record, fence=fence, reason=reason)
        case AskHuman(reason=reason):
            record = await hands.ask(record, fence=fence, reason=reason)
        case WaitForHuman(what=what):
            record = await hands.wait_for_person(record, what=what, fence=fence)
        case Bake(reason=reason):
            record = await hands.bake(record, fence=fence, reason=reason)
        case Promote(reason=reason):
            record = await hands.promote(record, fence=fence, reason=reason)
        case Finish():
            pass
    return record
