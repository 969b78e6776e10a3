"""Deploys prefect.yaml into the Prefect that `up` runs; runs inside `conductors`.

`prefect deploy --all` would do the same in five seconds of CPU instead of a fraction of one, and
would switch a schedule on again that somebody has paused.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import yaml
from prefect import Flow
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate
from prefect.client.schemas.objects import DeploymentSchedule
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import ObjectNotFound
from prefect.flows import load_flow_from_entrypoint
from prefect.utilities.callables import parameter_schema
from prefect.workers.process import ProcessWorker

from grayscale.errors import SettingsError

POOL = "grayscale"
_UNDERSTOOD = frozenset(
    {"name", "entrypoint", "description", "tags", "parameters", "schedules", "work_pool"}
)


async def create_pool(client: PrefectClient, *, working_dir: Path) -> None:
    """The work pool, with this Python and this directory for its flow runs."""
    template = ProcessWorker.get_default_base_job_template()
    properties = template["variables"]["properties"]
    properties["working_dir"]["default"] = str(working_dir)
    # The engine itself, without the supervisor that Prefect puts around it by default: that one
    # only prepares workspaces, which are there already, and costs another start of Python.
    properties["command"]["default"] = f"{shlex.quote(sys.executable)} -m prefect.engine"
    pool = WorkPoolCreate(
        name=POOL,
        type="process",
        description="Conducts releases on the machine that runs `grayscale up`.",
        base_job_template=template,
    )
    await client.create_work_pool(pool, overwrite=True)


def read_project(file: Path) -> dict[str, Any]:
    """prefect.yaml."""
    project: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return project


async def deploy_all(client: PrefectClient, project: dict[str, Any]) -> list[str]:
    """Create or update every deployment of prefect.yaml; their names."""
    names = [
        await _deploy(client, spec, pull_steps=project["pull"]) for spec in project["deployments"]
    ]
    return sorted(names)


async def _deploy(
    client: PrefectClient, spec: dict[str, Any], *, pull_steps: list[dict[str, Any]]
) -> str:
    unknown = set(spec) - _UNDERSTOOD
    if unknown:
        raise SettingsError(f"prefect.yaml: {', '.join(sorted(unknown))} is not understood here")
    flow: Flow[..., Any] = load_flow_from_entrypoint(spec["entrypoint"], use_placeholder_flow=False)
    full_name = f"{flow.name}/{spec['name']}"
    await client.create_deployment(
        await client.create_flow(flow),
        name=spec["name"],
        entrypoint=spec["entrypoint"],
        description=spec.get("description"),
        tags=spec.get("tags"),
        parameters=spec.get("parameters"),
        schedules=await _schedules(client, full_name, spec.get("schedules") or []),
        work_pool_name=spec["work_pool"]["name"],
        parameter_openapi_schema=parameter_schema(flow).model_dump(),
        enforce_parameter_schema=True,
        pull_steps=pull_steps,
    )
    return full_name


async def _schedules(
    client: PrefectClient, full_name: str, wanted: list[dict[str, Any]]
) -> list[DeploymentScheduleCreate]:
    """The schedules; one that somebody switched off in Prefect's UI stays off."""
    try:
        there = (await client.read_deployment_by_name(full_name)).schedules
    except ObjectNotFound:
        there = []
    return [_schedule(spec, there) for spec in wanted]


def _schedule(spec: dict[str, Any], there: list[DeploymentSchedule]) -> DeploymentScheduleCreate:
    schedule = CronSchedule(cron=spec["cron"], timezone=spec["timezone"])
    same = [known.active for known in there if known.schedule == schedule]
    return DeploymentScheduleCreate(schedule=schedule, active=same[0] if same else True)
