"""Waiting costs nothing: a conductor that only waits leaves its run suspended, and its process ends.

The relay watches meanwhile, and calls a new run when it is time. The run that was left behind is
the release's handle in Prefect: its form pauses or aborts, and cancelling or deleting it aborts.
"""

from __future__ import annotations

import time
from typing import Any, Literal

from prefect.client.schemas.objects import FlowRunInput
from prefect.input import RunInput
from prefect.input.actions import adelete_flow_run_input, afilter_flow_run_input
from prefect.logging import get_run_logger
from pydantic import Field, ValidationError

from grayscale.control import OnBehalf
from grayscale.errors import ControlRefused
from grayscale.release.record import ReleaseRecord
from grayscale.release.sleeping import is_asleep
from tasks.house import relay, relay_task
from tasks.pages import sleep_page
from tasks.releases import act
from tasks.runs import name_run, runs_of, suspend_behind, this_run_id

_PAGE = 100
# The relay's deadline is the one that counts. Past Prefect's own the run fails, and is replaced.
_CLEARED_AFTER_SECONDS = 30 * 86_400


class SleepForm(RunInput):
    """What a person can do to a release that soaks."""

    action: Literal["pause", "abort"] = Field(description="Wait for a person, or roll back.")
    by: str = Field(min_length=1, max_length=128, description="Your name.")
    note: str = Field(default="", max_length=2000, description="For the record.")


async def sleep(record: ReleaseRecord, *, fence: int, reason: str) -> ReleaseRecord:
    """Leave the release to the relay until it is time, unless it has just moved on.

    Leaves by Prefect's own exception: this process ends. What happens between the relay's yes and
    the form is not lost: the relay looks at the record, and at this run, all the time.
    """
    record = await fall_asleep(record, fence=fence, reason=reason)
    if not is_asleep(record) or record.waiting_run_id != this_run_id():
        return record
    await name_run(record)
    await suspend_behind(
        SleepForm.with_initial_data(description=sleep_page(record)),
        key=f"{_form_name(record.id)}{time.time_ns()}",  # Prefect shows a key once
        timeout_seconds=_CLEARED_AFTER_SECONDS,
    )
    return record


@relay_task("fall asleep")
async def fall_asleep(record: ReleaseRecord, *, fence: int, reason: str) -> ReleaseRecord:
    """Tell the relay that nobody drives for a while, and which run people find in Prefect."""
    return await act(record, "sleep", fence=fence, reason=reason, flow_run_id=this_run_id())


async def hand_in_answers(release_id: str) -> None:
    """Carry out what people said in the forms of sleeping runs: each answer once.

    A run that was woken by its form does so before anything else, whoever conducts by then; an
    answer is struck out only afterwards, so that a crash in between does not lose it.
    """
    prefix = f"suspended-{_form_name(release_id)}"
    for run_id in await runs_of(release_id):
        found: list[FlowRunInput] = await afilter_flow_run_input(
            key_prefix=prefix, limit=_PAGE, flow_run_id=run_id
        )
        for stored in found:
            if stored.key.endswith("-response"):
                await _hand_in_stored(release_id, stored)
                await adelete_flow_run_input(key=stored.key, flow_run_id=run_id)


async def _hand_in_stored(release_id: str, stored: FlowRunInput) -> None:
    value: Any = stored.decoded_value
    try:
        answer = SleepForm.model_validate(value)
    except ValidationError:
        return
    await hand_in_wish(release_id, answer, key=f"form:{stored.key}")


@relay_task("hand in the decision")
async def hand_in_wish(release_id: str, wish: SleepForm, *, key: str) -> None:
    """Pause or abort, unless the release is over or cannot be paused any more.

    What the relay refuses is told and not tried again: the next run would fail on it too.
    """
    async with relay() as control:
        if (await control.release(release_id)).state.final:
            return
        end = control.pause if wish.action == "pause" else control.abort
        try:
            await end(release_id, note=wish.note, on_behalf=OnBehalf(wish.by), idempotency_key=key)
        except ControlRefused as refusal:
            get_run_logger().warning("%s asked to %s: %s", wish.by, wish.action, refusal.message)


def _form_name(release_id: str) -> str:
    return f"{release_id}-sleep-".lower().replace("_", "-")
