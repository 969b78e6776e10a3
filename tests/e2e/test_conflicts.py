"""Two callers on two workers at the same instant: one outcome, and each is told which."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import httpx
import pytest

from tests.e2e.conducting import Conductor
from tests.e2e.conftest import quieten
from tests.e2e.processes import Relay
from tests.e2e.shapes import new_name

Ask = Callable[[httpx.Client], httpx.Response]


@pytest.fixture
def callers(relays: dict[int, Relay]) -> list[httpx.Client]:
    """Two operators, each with a connection to another worker."""
    quieten(relays[2])
    return relays[2].client_of_each_worker()


def at_once(callers: list[httpx.Client], *asks: Ask) -> list[httpx.Response]:
    """Each caller asks in the same instant as the other."""
    line = Barrier(len(callers))

    def go(client: httpx.Client, ask: Ask) -> httpx.Response:
        line.wait(10)
        return ask(client)

    with ThreadPoolExecutor(len(callers)) as pool:
        return list(pool.map(go, callers, asks))


def plan(how: str) -> dict[str, Any]:
    """A release of a new version."""
    name = new_name()
    overrides = {"models": {"gpt-4.1": {"model": f"gpt-4.1-for-{name}"}}}
    return {"version_name": name, "config_overrides": overrides, "on_conflict": how}


def post(path: str, body: dict[str, Any]) -> Ask:
    return lambda client: client.post(path, json=body)


@pytest.mark.parametrize("how", ["queue", "reject", "supersede"])
def test_two_releases_race(callers: list[httpx.Client], how: str) -> None:
    """Queued behind the other, refused with the other's id, or in the other's place."""
    bodies = [{"plan": plan(how)}, {"plan": plan(how)}]
    answers = at_once(callers, *(post("/admin/releases", body) for body in bodies))
    codes = sorted(answer.status_code for answer in answers)
    listed = callers[0].get("/admin/releases?limit=2").json()["data"]
    if how == "reject":
        assert codes == [201, 409]
        winner = next(answer.json() for answer in answers if answer.status_code == 201)
        loser = next(answer.json() for answer in answers if answer.status_code == 409)
        assert loser["error"]["code"] == "release_in_progress"
        assert loser["release_id"] == winner["id"]
        assert f"Release {winner['id']}" in loser["error"]["message"]
        return
    assert codes == [201, 201]
    newest, oldest = listed
    assert newest["state"] == "queued"
    if how == "supersede":
        assert oldest["state"] == "superseded"
        assert newest["version"] in oldest["reason"]
    else:
        assert oldest["state"] == "queued"
        assert newest["reason"].startswith(f"queued behind release {oldest['id']}")


def test_an_approval_and_an_abort_race(callers: list[httpx.Client]) -> None:
    """The abort is carried out whoever was first, and a later approval says by whom and when."""
    conductor = Conductor(callers[0], auto_promote={"enabled": False})
    assert conductor.claim().status_code == 200
    conductor.act("create_version")
    conductor.act("ask", reason="look at it")
    approved, aborted = at_once(
        callers,
        post(f"{conductor.path}/approve", {"note": "fine"}),
        post(f"{conductor.path}/abort", {"note": "odd answers"}),
    )
    assert aborted.status_code == 200
    assert approved.status_code in {200, 409}
    late = conductor.say("approve")
    again = conductor.say("abort")
    record = conductor.look()
    assert (late.status_code, late.json()["error"]["code"]) == (409, "step_moved_on")
    assert late.json()["happened"]["by"] in {"admin", "relay"}
    assert "odd answers" in late.json()["error"]["message"]
    assert again.status_code == 200
    assert (record["cause"], record["weight_percent"]) == ("aborted", 0)


def test_a_claim_of_each_race(callers: list[httpx.Client]) -> None:
    """Two runs claim one release: one conducts, the other is told which one does."""
    conductor = Conductor(callers[0])
    path = f"{conductor.path}/claim"
    answers = at_once(
        callers, post(path, {"flow_run_id": "run-a"}), post(path, {"flow_run_id": "run-b"})
    )
    won = [answer for answer in answers if answer.status_code == 200]
    lost = [answer for answer in answers if answer.status_code == 409]
    assert (len(won), len(lost)) == (1, 1)
    winner = won[0].json()["release"]["conductor"]["flow_run_id"]
    assert lost[0].json()["error"]["code"] == "conductor_alive"
    assert winner in lost[0].json()["error"]["message"]


def test_a_quarantine_and_its_end_over_the_api(callers: list[httpx.Client]) -> None:
    """Barred under every name with the reason; the word of a person gives it back."""
    conductor = Conductor(callers[0])
    conductor.begin()
    name, other = conductor.plan["version_name"], new_name()
    barred = callers[1].post(f"/admin/versions/{name}/quarantine", json={"reason": "leaks"})
    assert callers[0].get(f"{conductor.path}/wait?timeout_seconds=10").json()["state"] == (
        "rolled_back"
    )
    again = {"plan": {**conductor.plan, "version_name": other}}
    refused = callers[0].post("/admin/releases", json=again)
    lifted = callers[0].post(f"/admin/versions/{name}/lift", json={"reason": "a false alarm"})
    taken = callers[1].post("/admin/releases", json=again)
    assert barred.json()["status"] == "quarantined"
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "config_not_allowed")
    assert f"'{name}'" in refused.json()["error"]["message"]
    assert "leaks" in refused.json()["error"]["message"]
    assert lifted.json()["status"] == "retired"
    assert taken.status_code == 201
