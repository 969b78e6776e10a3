"""One Prefect server for the whole session, and a relay for each test."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import Pause
from prefect.flow_engine import run_flow_async
from prefect.testing.utilities import prefect_test_harness

from tests.flows.fake_relay import FakeRelay

Run = Callable[..., Coroutine[Any, Any, FlowRun]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Prefect leaves sockets and tasks to the garbage collector; only here that is no error."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.filterwarnings("ignore::ResourceWarning"))


@pytest.fixture(autouse=True)
def swept(request: pytest.FixtureRequest) -> Iterator[None]:
    """What Prefect left is collected here, and not in somebody else's test."""
    yield
    if "prefect_server" in request.fixturenames:
        gc.collect()


@pytest.fixture(scope="package")
def prefect_server() -> Iterator[None]:
    """A real Prefect server with its own database."""
    with prefect_test_harness(server_startup_timeout=150):
        yield
    gc.collect()


@pytest.fixture
async def relay(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeRelay]:
    """A relay on loopback that the environment names."""
    async with FakeRelay() as fake:
        monkeypatch.setenv("GRAYSCALE_URL", f"{fake.origin}/v1")
        monkeypatch.setenv("GRAYSCALE_API_KEY", "gs_test")
        yield fake


@pytest.fixture
def run(prefect_server: None) -> Run:
    """Run a flow as a worker would: a run of a deployment, begun again if it has an id."""

    async def run_it(
        flow: Flow[..., Any], run_id: UUID | None = None, **parameters: Any
    ) -> FlowRun:
        async with get_client() as prefect:
            if run_id is None:
                flow_id = await prefect.create_flow(flow)
                deployment_id = await prefect.create_deployment(flow_id, name="on-demand")
                created = await prefect.create_flow_run_from_deployment(
                    deployment_id, parameters=parameters
                )
                run_id = created.id
            flow_run = await prefect.read_flow_run(run_id)
            with suppress(Pause):  # how a suspended run leaves; its process ends here
                await run_flow_async(
                    flow, flow_run=flow_run, parameters=flow_run.parameters, return_type="state"
                )
            return await prefect.read_flow_run(run_id)

    return run_it
