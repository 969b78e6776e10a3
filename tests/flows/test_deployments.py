"""What `grayscale up` deploys into Prefect, and that it is what prefect.yaml says."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.schedules import CronSchedule

from grayscale.errors import SettingsError
from grayscale.up.appdir import app_dir
from grayscale.up.deploying import POOL, create_pool, deploy_all, read_project


@pytest.fixture
def project() -> dict[str, Any]:
    """prefect.yaml as it is."""
    return read_project(app_dir() / "prefect.yaml")


async def test_three_deployments_with_forms(
    prefect_server: None, project: dict[str, Any], tmp_path: Path
) -> None:
    """Each deployment has a description, and typed parameters with help texts for its form."""
    async with get_client() as prefect:
        await create_pool(prefect, working_dir=tmp_path)
        names = await deploy_all(prefect, project)
        assert names == ["nightly-canary/nightly", "release/on-demand", "rollback/on-demand"]
        release = await prefect.read_deployment_by_name("release/on-demand")
    schema = release.parameter_openapi_schema or {}
    assert set(schema["properties"]) == {"plan", "release_id"}
    assert all(field["description"] for field in schema["properties"].values())
    assert "promotion_steps" in schema["definitions"]["AutoPromote"]["properties"]
    assert release.enforce_parameter_schema
    assert release.work_pool_name == POOL


async def test_the_nightly_schedule_has_a_time_zone(
    prefect_server: None, project: dict[str, Any], tmp_path: Path
) -> None:
    """02:00 in Berlin, summer and winter; switched off in the UI it stays off at the next start."""
    async with get_client() as prefect:
        await create_pool(prefect, working_dir=tmp_path)
        await deploy_all(prefect, project)
        nightly = await prefect.read_deployment_by_name("nightly-canary/nightly")
        (schedule,) = nightly.schedules
        assert schedule.schedule == CronSchedule(cron="0 2 * * *", timezone="Europe/Berlin")
        assert schedule.active
        await prefect.update_deployment_schedule(nightly.id, schedule.id, active=False)
        await deploy_all(prefect, project)
        again = await prefect.read_deployment_by_name("nightly-canary/nightly")
    assert [kept.active for kept in again.schedules] == [False]


async def test_flow_runs_use_this_python(prefect_server: None, tmp_path: Path) -> None:
    """The pool starts flow runs with our interpreter, in our directory, at every start anew."""
    async with get_client() as prefect:
        await create_pool(prefect, working_dir=tmp_path / "before")
        await create_pool(prefect, working_dir=tmp_path)
        pool = await prefect.read_work_pool(POOL)
    variables = pool.base_job_template["variables"]["properties"]
    assert variables["working_dir"]["default"] == str(tmp_path)
    assert sys.executable in variables["command"]["default"]


async def test_what_is_not_understood_is_not_ignored(
    prefect_server: None, project: dict[str, Any]
) -> None:
    """A key of prefect.yaml that `up` would drop silently is refused."""
    project["deployments"][0]["concurrency_limit"] = 1
    async with get_client() as prefect:
        with pytest.raises(SettingsError, match="concurrency_limit is not understood"):
            await deploy_all(prefect, project)
