"""Every night: release the newest version that has never been stable."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.hooks import take_candidate_away
from flows.release import conduct
from grayscale.errors import ControlRefused
from tasks.nightly import nightly_plan, pick_version
from tasks.releases import open_release
from tasks.runs import release_of_this_run, this_run_id
from tasks.sleep import hand_in_answers

PLAN_FILE = "deployments/plans/nightly.yaml"


@flow(name="nightly-canary", on_cancellation=[take_candidate_away])
async def nightly_canary(plan_file: str = PLAN_FILE, version_name: str | None = None) -> State[Any]:
    """Release what is new, by a plan that is kept in a file.

    Args:
        plan_file: The plan; a relative path begins where the flows are.
        version_name: The version to release; empty: the newest one that was never stable.
    """
    release_id = await release_of_this_run()
    if release_id is None:
        version = version_name or await pick_version()
        if version is None:
            return Completed(message="nothing to release")
        plan = nightly_plan(plan_file, version)
        try:
            release_id = await open_release(plan, flow_run_id=this_run_id(), trigger="schedule")
        except ControlRefused as refusal:
            if refusal.code != "release_in_progress":
                raise
            return Completed(name="Rejected", message=refusal.message)
    await hand_in_answers(release_id)
    return await conduct(release_id)
