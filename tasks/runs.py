"""The flow run itself: who it is, what it is called, and which older ones it replaces.

Prefect's list is for people; a Prefect that is away for a moment does not disturb a release.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.context import FlowRunContext
from prefect.flow_runs import asuspend_flow_run
from prefect.input import RunInput
from prefect.states import Cancelled, Completed

from grayscale.release.record import ReleaseRecord
from tasks.house import only_shown
from tasks.pages import run_title

_TAG = "release:"
_STANDS = " · "


def release_tag(release_id: str) -> str:
    """The tag that joins all runs of a release."""
    return f"{_TAG}{release_id}"


def release_of(tags: list[str]) -> str | None:
    """The release that a run's tags name."""
    return next((tag.removeprefix(_TAG) for tag in tags if tag.startswith(_TAG)), None)


def this_run_id() -> str:
    """The id of the flow run that we are in."""
    return str(_this_run().id)


async def release_of_this_run() -> str | None:
    """The release that this run already belongs to, if it began before."""
    async with get_client() as prefect:
        run = await prefect.read_flow_run(UUID(this_run_id()))
    return release_of(run.tags)


async def join_release(release_id: str) -> None:
    """Tag this run with its release."""
    with only_shown():
        async with get_client() as prefect:
            run = await prefect.read_flow_run(UUID(this_run_id()))
            tags = {*run.tags, release_tag(release_id)}
            if tags != set(run.tags):
                await prefect.update_flow_run(run.id, tags=sorted(tags))


async def name_run(record: ReleaseRecord) -> None:
    """Let the run's name say which version stands where."""
    run = _this_run()
    title = run_title(record)
    if run.name == title:
        return
    with only_shown():
        async with get_client() as prefect:
            await prefect.set_flow_run_name(run.id, title)
        run.name = title


async def close_forms(release_id: str) -> None:
    """End this release's sleeping runs: their forms would be answered in vain.

    One that was cancelled without a process, asleep or dead, would stay Cancelling for ever.
    """
    await _close(release_id, [StateType.PAUSED, StateType.CANCELLING])


async def close_older_runs(release_id: str) -> None:
    """End this release's other runs in Prefect's list: we conduct now.

    A sleeping one has a form that nobody needs to answer any more; a running one is dead, or
    finds out at its next call that its fence is outdated.
    """
    await _close(release_id, [StateType.PAUSED, StateType.RUNNING])


async def suspend_behind(form: type[RunInput], *, key: str, timeout_seconds: int) -> None:
    """Show a form and end this process: leaves by Prefect's own exception.

    Returns where this run is over in Prefect's list already, because the next one, which did not
    wait for the form to be there, has closed it: then the relay says so at our next call.
    """
    try:
        await asuspend_flow_run(wait_for_input=form, key=key, timeout=timeout_seconds)
    except RuntimeError:  # all that Prefect says of it
        async with get_client() as prefect:
            state = (await prefect.read_flow_run(UUID(this_run_id()))).state
        if state is None or not state.is_final():
            raise


async def runs_of(release_id: str) -> list[UUID]:
    """This run, and whatever other runs the release has had."""
    async with get_client() as prefect:
        found = await prefect.read_flow_runs(flow_run_filter=_tagged(release_id))
    return list({_this_run().id, *(run.id for run in found)})


async def _close(release_id: str, states: list[StateType]) -> None:
    own_id = this_run_id()
    closed: State[Any] = Completed(
        name="Superseded", message=f"The release went on in flow run {own_id}"
    )
    with only_shown():
        async with get_client() as prefect:
            for run in await prefect.read_flow_runs(flow_run_filter=_tagged(release_id, states)):
                if str(run.id) == own_id:
                    continue
                if run.state_type is StateType.CANCELLING:
                    await prefect.set_flow_run_state(run.id, Cancelled(), force=True)
                    continue
                await prefect.set_flow_run_state(run.id, closed, force=True)
                await prefect.set_flow_run_name(run.id, closed_title(run.name))


def closed_title(title: str) -> str:
    """The name of a run that another one replaces: it stands nowhere and asks nobody any more."""
    return f"{title.partition(_STANDS)[0]}{_STANDS}went on in another run"


def _tagged(release_id: str, states: list[StateType] | None = None) -> FlowRunFilter:
    wanted: dict[str, Any] = {"tags": {"all_": [release_tag(release_id)]}}
    if states is not None:
        wanted["state"] = {"type": {"any_": states}}
    return FlowRunFilter.model_validate(wanted)


def _this_run() -> FlowRun:
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        raise RuntimeError("there is no flow run here")
    return context.flow_run
