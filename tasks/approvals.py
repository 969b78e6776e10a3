"""Asking people through a form in Prefect's UI.

The record is the truth; the form is one of several doors to it. A form's answer is kept by
Prefect until we have handed it in, so that a crash in between does not ask again.
"""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any, Literal

from prefect.client.schemas.objects import FlowRunInput
from prefect.input import RunInput
from prefect.input.actions import afilter_flow_run_input
from pydantic import Field, ValidationError

from grayscale.control import Control, OnBehalf
from grayscale.errors import ControlRefused
from grayscale.release.record import ReleaseRecord
from tasks.house import relay, relay_task
from tasks.pages import approval_page, pause_page
from tasks.releases import act
from tasks.runs import runs_of, suspend_behind

_PAGE = 100
# The relay's deadline is the one that counts; Prefect's is only there to clear the list one day.
_CLEARED_AFTER_SECONDS = 7 * 86_400
_ASKING_EVENT = {"approval": "release.approval_requested", "pause": "release.paused"}
_DECIDED = frozenset({"step_moved_on", "release_changed"})


class ApprovalForm(RunInput):
    """A gate's answer."""

    approve: bool = Field(description="On: the release goes on. Left off: it is rolled back.")
    approved_by: str = Field(min_length=1, max_length=128, description="Your name.")
    note: str = Field(default="", max_length=2000, description="For the record.")


class PauseForm(RunInput):
    """A pause's end."""

    action: Literal["resume", "abort"] = Field(description="Go on, or roll back.")
    by: str = Field(min_length=1, max_length=128, description="Your name.")
    note: str = Field(default="", max_length=2000, description="For the record.")


_FORMS: dict[str, type[ApprovalForm | PauseForm]] = {"approval": ApprovalForm, "pause": PauseForm}


@relay_task("find the question")
async def name_question(release_id: str, *, what: str) -> str:
    """The name of what is being asked right now: the event that asked it."""
    asked = ""
    async with relay() as control:
        async for event in _events(control, release_id):
            if event["type"] == _ASKING_EVENT[what]:
                asked = str(event["id"])
    return re.sub(r"[^a-z0-9]+", "-", f"{release_id}-{asked or what}".lower())


@relay_task("hand in the decision")
async def hand_in(
    record: ReleaseRecord, answer: ApprovalForm | PauseForm, *, fence: int
) -> ReleaseRecord:
    """Put the form's answer on record; if it was decided elsewhere meanwhile, that counts."""
    async with relay() as control:
        try:
            return await _say(control, record, answer)
        except ControlRefused as refusal:
            if refusal.code not in _DECIDED:
                raise
            return await control.renew(record.id, fence=fence)


@relay_task("wait for a person")
async def announce_form(record: ReleaseRecord, *, fence: int, run_id: str) -> ReleaseRecord:
    """Put on record which run shows the form: it needs no lease while a person thinks."""
    reason = "a form is shown in Prefect"
    return await act(record, "wait", fence=fence, reason=reason, flow_run_id=run_id)


async def _say(
    control: Control, record: ReleaseRecord, answer: ApprovalForm | PauseForm
) -> ReleaseRecord:
    if isinstance(answer, ApprovalForm):
        verb = control.approve if answer.approve else control.reject
        person = OnBehalf(answer.approved_by)
        return await verb(record.id, step=record.current_step, note=answer.note, on_behalf=person)
    end = control.resume if answer.action == "resume" else control.abort
    return await end(record.id, note=answer.note, on_behalf=OnBehalf(answer.by))


async def show_form(record: ReleaseRecord, question: str, *, what: str, preface: str) -> None:
    """Suspend this run behind the form: leaves by Prefect's own exception."""
    if what == "approval":
        minutes, page = record.plan.approval.timeout_minutes, approval_page(record)
    else:
        minutes, page = record.plan.pause.timeout_minutes, pause_page(record)
    await suspend_behind(
        _FORMS[what].with_initial_data(description=preface + page),
        key=f"{question}-{time.time_ns()}",  # Prefect shows a key once: each form has its own
        timeout_seconds=int(minutes * 60) + _CLEARED_AFTER_SECONDS,
    )


async def stored_answer(release_id: str, question: str) -> Any:
    """The newest answer to this question, in whichever of the release's runs the form was."""
    prefix = f"suspended-{question}-"
    answers: dict[int, Any] = {}
    for run_id in await runs_of(release_id):
        found: list[FlowRunInput] = await afilter_flow_run_input(
            key_prefix=prefix, limit=_PAGE, flow_run_id=run_id
        )
        for stored in found:
            if stored.key.endswith("-response"):
                shown_at = stored.key.removeprefix(prefix).removesuffix("-response")
                answers[int(shown_at)] = stored.decoded_value
    return answers[max(answers)] if answers else None


def read_form(what: str, value: Any) -> ApprovalForm | PauseForm | None:
    """What an answer says; None if there is none, or if it is no answer to such a question."""
    try:
        return _FORMS[what].model_validate(value)
    except ValidationError:
        return None


async def _events(control: Control, release_id: str) -> AsyncIterator[Mapping[str, Any]]:
    after: str | None = None
    while True:
        page: Mapping[str, Any] = await control.release_events(release_id, after=after, limit=_PAGE)
        for event in page["data"]:
            yield event
            after = str(event["id"])
        if not page.get("has_more") or not page["data"]:
            return
