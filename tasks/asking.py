"""Waiting for a person, behind a form: what it works with comes from outside, as in `flows.hands`.

Tests of survival give it a door of their own: the same code, with forms in memory.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from grayscale.errors import ControlRefused
from grayscale.release.decide import WaitForHuman, decide
from grayscale.release.record import ReleaseRecord
from tasks import approvals, runs

_Deed = Callable[..., Awaitable[ReleaseRecord]]


@dataclass(frozen=True, slots=True)
class Door:
    """Where people are asked; the defaults do it in a Prefect flow run, and in its UI."""

    run_id: Callable[[], str] = runs.this_run_id
    name_question: Callable[..., Awaitable[str]] = approvals.name_question
    stored_answer: Callable[[str, str], Awaitable[Any]] = approvals.stored_answer
    hand_in: _Deed = approvals.hand_in
    announce_form: _Deed = approvals.announce_form
    show_form: Callable[..., Awaitable[None]] = approvals.show_form


IN_PREFECT = Door()


async def wait_for_person(
    record: ReleaseRecord, *, what: str, fence: int, door: Door = IN_PREFECT
) -> ReleaseRecord:
    """Hand in the form's answer if there is one, else show the form and sleep behind it.

    Sleeping ends this process; the answer starts the flow from the top again. An answer that the
    relay does not take (its giver may not approve) is asked for again, with the reason.
    """
    question = await door.name_question(record.id, what=what)
    answer = approvals.read_form(what, await door.stored_answer(record.id, question))
    refused = ""
    if answer is not None:
        try:
            return await door.hand_in(record, answer, fence=fence)
        except ControlRefused as refusal:
            if refusal.status != 403:
                raise
            refused = f"**The last answer was not accepted:** {refusal.message}\n\n"
    record = await door.announce_form(record, fence=fence, run_id=door.run_id())
    if isinstance(decide(record), WaitForHuman):
        await door.show_form(record, question, what=what, preface=refused)
    return record
