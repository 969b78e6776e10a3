"""How a flow run ends, in Prefect's words: one state per end of a release."""

from __future__ import annotations

from typing import Any

from prefect.client.schemas.objects import State as RunState
from prefect.states import Completed, Failed

from grayscale.errors import ControlRefused
from grayscale.release.ending import RUN_ENDS_AS
from grayscale.release.phases import State
from grayscale.release.record import ReleaseRecord
from tasks.releases import read_release
from tasks.runs import close_forms, name_run

_HANDED_OVER = frozenset({"stale_fence", "conductor_alive"})
_QUEUED = "release_in_progress"


def end(record: ReleaseRecord) -> RunState[Any]:
    """The end of a release that is over, with the sentence that explains it."""
    message = _sentence(record)
    state = Failed if record.state is State.FAILED else Completed
    return state(name=RUN_ENDS_AS[record.state], message=message)


def ended(refusal: ControlRefused) -> bool:
    """Whether a refusal means that somebody else conducts, or will."""
    return refusal.code in _HANDED_OVER or refusal.code == _QUEUED


async def refused(refusal: ControlRefused, release_id: str) -> RunState[Any]:
    """The end of a run that may not conduct: superseded, queued, or the release is over."""
    if refusal.code in _HANDED_OVER:
        return Completed(name="Superseded", message=refusal.message)
    if refusal.code == _QUEUED:
        return Completed(name="Queued", message=refusal.message)
    if refusal.code == "release_changed":
        await close_forms(release_id)
        record = await read_release(release_id)
        await name_run(record)
        return end(record)
    raise refusal


def _sentence(record: ReleaseRecord) -> str:
    verdict = record.verdict.sentence if record.verdict else ""
    reason = record.reason or record.state.value.replace("_", " ")
    sentence = reason if not verdict or verdict in reason else f"{reason}. {verdict}"
    return f"{record.version}: {sentence}"
