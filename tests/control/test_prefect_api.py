"""Prefect's REST API as the relay and the command line use it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from grayscale.prefect_api import PrefectApi, PrefectRefused, PrefectUnreachable

URL = "http://prefect.test/api"
RUN = {
    "id": "run-1", "name": "brave-otter", "tags": ["release:rel_1"], "parameters": {"a": 1},
    "state": {"type": "SCHEDULED", "name": "Scheduled"},
}  # fmt: skip


def answering(
    *answers: tuple[int, Any], seen: list[httpx.Request] | None = None
) -> httpx.MockTransport:
    """A Prefect that gives these answers in turn, the last one for ever."""
    left: Iterator[tuple[int, Any]] = iter(answers)
    last: tuple[int, Any] = answers[-1]

    def handle(request: httpx.Request) -> httpx.Response:
        if seen is not None:
            seen.append(request)
        status, body = next(left, last)
        if isinstance(body, str):
            return httpx.Response(status, text=body)
        return httpx.Response(status, json=body)

    return httpx.MockTransport(handle)


async def test_a_run_is_created_once_per_key() -> None:
    """The deployment is looked up by name once; the idempotency key goes with each order."""
    seen: list[httpx.Request] = []
    transport = answering((200, {"id": "dep-1"}), (201, RUN), seen=seen)
    async with PrefectApi(URL, transport=transport) as prefect:
        await prefect.create_run("release/on-demand", parameters={})
        run = await prefect.create_run(
            "release/on-demand",
            parameters={"release_id": "rel_1"},
            idempotency_key="rel_1:1",
            tags=["release:rel_1"],
        )
    assert (run.id, run.state_type, run.over) == ("run-1", "SCHEDULED", False)
    assert [request.url.path for request in seen] == [
        "/api/deployments/name/release/on-demand",
        "/api/deployments/dep-1/create_flow_run",
        "/api/deployments/dep-1/create_flow_run",
    ]
    assert json.loads(seen[2].content) == {
        "parameters": {"release_id": "rel_1"},
        "tags": ["release:rel_1"],
        "state": {"type": "SCHEDULED"},
        "idempotency_key": "rel_1:1",
    }


async def test_a_deployment_made_anew_is_found_again() -> None:
    """After a refusal with 404 the deployment's id is looked up afresh."""
    seen: list[httpx.Request] = []
    answers = [(200, {"id": "old"}), (404, {}), (200, {"id": "new"}), (201, RUN)]
    async with PrefectApi(URL, transport=answering(*answers, seen=seen)) as prefect:
        with pytest.raises(PrefectRefused):
            await prefect.create_run("release/on-demand", parameters={})
        await prefect.create_run("release/on-demand", parameters={})
    assert seen[-1].url.path == "/api/deployments/new/create_flow_run"


async def test_a_busy_database_is_tried_again() -> None:
    """SQLite's 503 is no failure until it lasts."""
    async with PrefectApi(URL, transport=answering((503, {}), (503, {}), (200, RUN))) as prefect:
        assert (await prefect.read_run("run-1")).name == "brave-otter"
    async with PrefectApi(URL, transport=answering((503, "database is locked"))) as prefect:
        with pytest.raises(PrefectUnreachable, match="503: database is locked"):
            await prefect.read_run("run-1")


@pytest.mark.parametrize(
    "error",
    [httpx.ConnectError("refused"), httpx.ReadTimeout(""), httpx.InvalidURL("odd")],
    ids=lambda error: type(error).__name__,
)
async def test_no_answer_is_unreachable(error: Exception) -> None:
    """The HTTP client's own errors do not get past the seam, and health is just false."""

    def handle(_request: httpx.Request) -> httpx.Response:
        raise error

    async with PrefectApi(URL, transport=httpx.MockTransport(handle)) as prefect:
        with pytest.raises(PrefectUnreachable):
            await prefect.read_run("run-1")
        assert await prefect.healthy() is False


async def test_a_refused_change_of_state_is_an_error() -> None:
    """Prefect answers 200 with REJECT; what counts is the status in the body."""
    body = {"status": "REJECT", "details": {"reason": "not paused"}}
    async with PrefectApi(URL, transport=answering((200, body))) as prefect:
        with pytest.raises(PrefectRefused, match="not paused"):
            await prefect.resume("run-1", {"approve": True})
        with pytest.raises(PrefectRefused, match="not paused"):
            await prefect.force_state("run-1", "COMPLETED", name="Superseded", message="")


async def test_an_answer_before_the_form_is_stored_is_sent_again() -> None:
    """A run shows as suspended a moment before its form can be answered."""
    early = {"status": "REJECT", "details": {"reason": "Run input schema not found."}}
    seen: list[httpx.Request] = []
    transport = answering((200, early), (201, {"status": "ACCEPT"}), seen=seen)
    async with PrefectApi(URL, transport=transport) as prefect:
        await prefect.resume("run-1", {"approve": True})
    assert len(seen) == 2


async def test_runs_are_found_by_tag_and_state() -> None:
    """The filter names the tag and the states; the newest come first."""
    seen: list[httpx.Request] = []
    async with PrefectApi(URL, transport=answering((200, [RUN]), seen=seen)) as prefect:
        (run,) = await prefect.runs_by_tag("release:rel_1", states=["PAUSED"])
        await prefect.runs_by_tag("release:rel_1")
    assert run.tags == ("release:rel_1",)
    assert json.loads(seen[0].content)["flow_runs"] == {
        "tags": {"all_": ["release:rel_1"]},
        "state": {"type": {"any_": ["PAUSED"]}},
    }
    assert "state" not in json.loads(seen[1].content)["flow_runs"]


async def test_something_else_on_the_port_is_not_prefect() -> None:
    """A page that is not JSON is not taken for an answer."""
    async with PrefectApi(URL, auth_string="a:b", transport=answering((200, "<html>"))) as prefect:
        with pytest.raises(PrefectUnreachable, match="is the URL Prefect's API"):
            await prefect.read_run("run-1")


def test_the_relays_clients_do_not_import_prefect() -> None:
    """Prefect costs seconds and 88 MB: who only talks to it over HTTP does without."""
    code = "import sys, grayscale.prefect_api, grayscale.control; print('prefect' in sys.modules)"
    command = [sys.executable, "-c", code]
    environ = {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
