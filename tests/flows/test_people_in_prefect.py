"""What people do to runs in Prefect's UI: a real Prefect server, a real control store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun

from flows.release import release
from grayscale.clock import SystemClock
from grayscale.plan import plan_from_mapping
from grayscale.plane import conduct, document, releases
from grayscale.plane.actor import Actor
from grayscale.plane.bootstrap import first_start, prepare_data_dir
from grayscale.plane.document import Document
from grayscale.plane.orders import Order
from grayscale.plane.plane import Plane
from grayscale.prefect_api import PrefectApi
from grayscale.relay.brake import Brake
from grayscale.relay.leader.reconciler import Reconciler
from grayscale.release.phases import State
from grayscale.settings import settings_from
from grayscale.store.database import Database
from tests.flows.conftest import Run
from tests.flows.fake_relay import FakeRelay

SETTINGS = {
    "upstreams": {"main": {"base_url": "http://127.0.0.1:9"}},
    "models": {"gpt-4.1": {"upstream": "main", "model": "gpt-4.1-2025-04-14"}},
}
PLAN: dict[str, Any] = {
    "version_name": "v2",
    "config_overrides": {"parameters": {"temperature": 0.2}},
    "auto_promote": {"promotion_steps": [10, 100], "step_duration_seconds": 1},
    "judge": {"interval_seconds": 1},
}
ASKING = {**PLAN, "approval": {"before_steps": [10]}}


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[Plane]:
    """A control plane over a store of its own."""
    prepare_data_dir(tmp_path)
    brake, database = Brake.open(tmp_path / "brake"), Database(tmp_path, None)
    made = Plane(database, brake, SystemClock(), settings_from(SETTINGS, source="test"))
    await first_start(made, tmp_path, given_key=None)
    yield made
    await database.close()
    brake.close()


@pytest.fixture
async def api(prefect_server: None) -> AsyncIterator[PrefectApi]:
    """The relay's own client of Prefect."""
    async with get_client() as prefect:
        url = str(prefect.api_url)
    async with PrefectApi(url) as client:
        yield client


async def waiting_for(plane: Plane, run: FlowRun) -> Document:
    """A release that waits behind the form of this run."""
    run_id = str(run.id)
    async with plane.write() as tx:
        made = await releases.create(plane, tx, plan_from_mapping(ASKING), actor=Actor("ann"))
        fence = await conduct.claim(plane, tx, made, flow_run_id=run_id)
        for verb in ("create_version", "ask", "wait"):
            order = Order(verb, flow_run_id=run_id)
            await conduct.act(plane, tx, made, order, fence=fence, revision=made.revision)
    return made


async def set_state(run: FlowRun, state: dict[str, Any], *, force: bool) -> None:
    """Change a run's state as Prefect's UI does."""
    async with get_client() as prefect:
        url = f"{prefect.api_url}flow_runs/{run.id}/set_state"
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.post(url, json={"state": state, "force": force})
    assert answer.status_code in {200, 201}, answer.text


async def read(run: FlowRun) -> FlowRun:
    """The run as it is now."""
    async with get_client() as prefect:
        return await prefect.read_flow_run(run.id)


@pytest.mark.parametrize("how", ["UI", "classic UI", "deleted"])
async def test_a_sleeping_run_that_is_cancelled_ends_its_release(
    relay: FakeRelay, run: Run, plane: Plane, api: PrefectApi, how: str
) -> None:
    """Either UI's Cancel, or Delete, while a form is shown: the release goes back to stable."""
    asleep = await run(release, plan=ASKING)
    waiting = await waiting_for(plane, asleep)
    reconciler = Reconciler(plane, api)
    await reconciler.run_once()
    if how == "deleted":
        async with get_client() as prefect:
            await prefect.delete_flow_run(asleep.id)
    else:
        state = {"type": "CANCELLING", "name": "Cancelling"}
        await set_state(asleep, state, force=how == "UI")
    await Reconciler(plane, api).run_once()
    async with plane.read() as tx:
        ended = await document.load(tx, waiting.id)
    assert (ended.state, ended.cause) == (State.ROLLING_BACK, "aborted")
    assert "in Prefect" in str(ended.reason)
    if how == "UI":
        relay.take_away()
        await run(release, release_id=relay.release_id)
        assert (await read(asleep)).state_name == "Cancelled"


async def test_suspending_a_running_conductor(relay: FakeRelay, run: Run, api: PrefectApi) -> None:
    """It leaves at its next step; the relay, told by its state, has the next run show a form."""
    relay.soak_looks = 10_000
    soaks = asyncio.Event()
    relay.before["renew"] = soaks.set
    driving = asyncio.create_task(run(release, plan=PLAN))
    await asyncio.wait_for(soaks.wait(), 30)
    async with get_client() as prefect:
        conductor = await prefect.read_flow_run(UUID(relay.conductor))
    until = (datetime.now(UTC) + timedelta(seconds=300)).isoformat()
    details = {"pause_timeout": until, "pause_reschedule": True}
    state = {"type": "PAUSED", "name": "Suspended", "state_details": details}
    await set_state(conductor, state, force=True)
    assert (await api.read_run(str(conductor.id))).suspended_from_outside
    relay.pause()
    relay.fence += 1
    await asyncio.wait_for(driving, 30)
    asleep = await run(release, release_id=relay.release_id)
    shown = await api.read_run(str(asleep.id))
    assert (shown.state_name, shown.has_form) == ("Suspended", True)
    assert not shown.suspended_from_outside
    assert (await read(conductor)).state_name == "Superseded"
