"""Releases over HTTP: what people and conductors call, on a relay without Prefect."""

import json
from typing import Any

import httpx
import pytest

from tests.e2e.conducting import Conductor
from tests.e2e.processes import Relay, chat, eventually
from tests.e2e.shapes import is_time, new_name, refused, served

RECORD = {
    "id",
    "version",
    "state",
    "reason",
    "cause",
    "revision",
    "plan",
    "labels",
    "current_step",
    "steps",
    "verdict",
    "conductor",
    "config_id",
    "created_at",
    "finished_at",
    "links",
}
STEP = {
    "index",
    "step_percent",
    "weight_percent",
    "observed_percent",
    "state",
    "watched_seconds",
    "required_seconds",
    "extensions",
    "verdict",
    "approval",
}
EVENT = {
    "release_id",
    "version",
    "state",
    "step_index",
    "weight_percent",
    "config_id",
    "actor",
    "reason",
    "verdict",
    "labels",
    "links",
}


@pytest.fixture
def conductor(relay: Relay) -> Conductor:
    return Conductor(relay.client())


def test_the_record_has_every_field(conductor: Conductor) -> None:
    """From the first split on, with what each step weighs, 5 % held back at the last."""
    conductor.begin()
    record = conductor.look()
    assert set(record) >= RECORD
    assert set(record["steps"][0]) >= STEP
    assert [step["step_percent"] for step in record["steps"]] == [10, 100]
    assert [step["weight_percent"] for step in record["steps"]] == [10, 95]
    assert (record["state"], record["current_step"]) == ("soaking", 0)
    assert record["labels"] == {"git_sha": "abc"}
    assert record["conductor"]["flow_run_id"] == "run-1"
    assert 80 < record["conductor"]["lease_left_seconds"] <= 90
    assert is_time(record["created_at"])
    assert record["finished_at"] is None


def test_one_writer_at_a_time(conductor: Conductor) -> None:
    """A second conductor is refused while the first is alive; an old fence and an old revision too."""
    conductor.begin()
    refused(conductor.claim("run-2"), 409, "conductor_alive")
    renewed = conductor.client.post(
        f"{conductor.path}/renew", headers={"X-Relay-Fence": str(conductor.fence)}
    )
    stale = conductor.client.post(
        f"{conductor.path}/renew", headers={"X-Relay-Fence": str(conductor.fence - 1)}
    )
    conductor.record["revision"] -= 1
    late = conductor.try_to("set_split", step=1)
    assert renewed.status_code == 200
    refused(stale, 409, "stale_fence")
    refused(late, 409, "release_changed")


def test_no_weight_rises_without_a_verdict(conductor: Conductor) -> None:
    """The relay itself refuses the next step before the soak is over."""
    conductor.begin()
    error = refused(conductor.try_to("set_split", step=1), 409, "release_changed")
    assert "watched" in error["message"]
    assert conductor.look()["weight_percent"] == 10


def test_by_hand_it_can_only_be_lowered(conductor: Conductor) -> None:
    """More is refused, less pauses the release, nothing aborts it."""
    conductor.begin()
    admin = conductor.client

    def by_hand(percent: float) -> httpx.Response:
        split = {"stable": 100 - percent, "beta": percent}
        return admin.post("/admin/traffic/config", json={"traffic_split": split})

    refused(by_hand(20), 409, "release_in_progress")
    assert by_hand(5).status_code == 200
    assert (conductor.look()["state"], conductor.record["weight_percent"]) == ("paused", 5)
    assert by_hand(0).status_code == 200
    ended = admin.get(f"{conductor.path}/wait?for=final&timeout_seconds=10").json()
    assert (ended["state"], ended["cause"]) == ("rolled_back", "aborted")


def test_pause_resume_and_abort(conductor: Conductor) -> None:
    """People's verbs answer with the record; an aborted release ends rolled back."""
    conductor.begin()
    paused = conductor.say("pause", note="let me see").json()
    resumed = conductor.say("resume").json()
    refused(conductor.say("resume"), 409, "release_changed")
    aborted = conductor.say("abort", note="odd answers").json()
    ended = conductor.client.get(f"{conductor.path}/wait?timeout_seconds=10").json()
    assert (paused["state"], resumed["state"]) == ("paused", "soaking")
    assert aborted["weight_percent"] == 0
    assert (ended["state"], ended["cause"]) == ("rolled_back", "aborted")
    assert "odd answers" in ended["reason"]
    assert is_time(ended["finished_at"])
    refused(conductor.claim("run-2"), 409, "release_changed")


def test_approval_at_a_gate(relay: Relay) -> None:
    """A person approves once, at the step that waits; before and after it has moved on."""
    conductor = Conductor(relay.client(), approval={"before_steps": [10]})
    refused(conductor.say("approve"), 409, "step_moved_on")
    conductor.claim()
    conductor.act("create_version")
    refused(conductor.try_to("set_split", step=0), 409, "release_changed")
    conductor.act("ask", reason="before 10 %")
    waiting = conductor.client.get(f"{conductor.path}/wait?for=person&timeout_seconds=5").json()
    approved = conductor.say("approve", note="go on").json()
    refused(conductor.say("approve"), 409, "step_moved_on")
    conductor.record = approved
    assert waiting["state"] == "awaiting_approval"
    assert approved["gate"]["state"] == "approved"
    assert (approved["gate"]["verified"], approved["gate"]["decided_by"]) == (True, "admin")
    assert conductor.act("set_split", step=0)["weight_percent"] == 10


def test_a_rejected_release_ends_rejected(relay: Relay) -> None:
    """Saying no needs a reason in words only; stable keeps the traffic."""
    conductor = Conductor(relay.client(), approval={"before_steps": [10]})
    conductor.claim()
    conductor.act("create_version")
    conductor.act("ask", reason="before 10 %")
    conductor.say("reject", note="not today")
    ended = conductor.client.get(f"{conductor.path}/wait?timeout_seconds=10").json()
    assert ended["state"] == "rejected"
    assert "not today" in ended["reason"]
    again = conductor.say("retry").json()
    assert (again["state"], again["version"]) == ("queued", ended["version"])


def test_the_second_release_waits_its_turn(relay: Relay) -> None:
    """Queued behind another; `reject` instead says which one is in the way."""
    first = Conductor(relay.client())
    first.begin()
    second = Conductor(relay.client())
    refused(second.claim("run-2"), 409, "release_in_progress")
    plan = {**first.plan, "version_name": new_name(), "on_conflict": "reject"}
    third = relay.client().post("/admin/releases", json={"plan": plan})
    refused(third, 409, "release_in_progress")
    assert second.look()["state"] == "queued"


def test_a_promotion_and_the_way_back(one: Relay) -> None:
    """In full on a person's word: aliases move in one config; `previous` is where a rollback goes."""
    admin = one.client()
    conductor = Conductor(admin, auto_promote={"promotion_steps": [100]})
    conductor.begin()
    conductor.record = conductor.say("promote", full=True, note="I have seen it").json()
    conductor.act("bake", reason="in full")
    promoted = conductor.act("promote", reason="in full")
    config = admin.get("/admin/traffic/config").json()
    name = conductor.plan["version_name"]
    after = served(admin.post("/chat/completions", json=chat())).headers["x-relay-version"]
    nothing = admin.post("/admin/rollback")
    back = admin.post("/admin/rollback", headers={"X-Rollback-Target": "previous"})
    assert (promoted["state"], after) == ("promoted", name)
    assert config["aliases"] == {"stable": name, "previous": "v1"}
    assert config["traffic_split"] == {"stable": 100}
    refused(nothing, 409, "nothing_to_roll_back")
    assert nothing.json()["previous"] == "v1"
    assert nothing.json()["config_id"].startswith("config-")
    assert back.json()["aliases"]["stable"] == "v1"
    assert admin.post("/chat/completions", json=chat()).headers["x-relay-version"] == "v1"


def test_releases_are_listed_page_by_page(one: Relay) -> None:
    """Newest first, by state if asked, and every page says whether there is more."""
    admin = one.client()
    made = [Conductor(admin).record["id"] for _ in range(3)]
    first = admin.get("/admin/releases?state=queued&limit=2").json()
    rest = admin.get(f"/admin/releases?state=queued&limit=2&after={first['data'][-1]['id']}").json()
    assert [release["id"] for release in first["data"]] == [made[2], made[1]]
    assert first["has_more"] is True
    assert [release["id"] for release in rest["data"]] == [made[0]]
    assert admin.get("/admin/releases?state=lost").status_code == 422


def test_the_events_of_a_release(conductor: Conductor) -> None:
    """Every envelope has all its fields, and the list is oldest first."""
    conductor.begin()
    conductor.say("abort")
    listed = conductor.client.get(f"{conductor.path}/events").json()["data"]
    types = [event["type"] for event in listed]
    assert types[0] == "release.created"
    assert {"release.step_started", "release.rolling_back"} <= set(types)
    for event in listed:
        assert set(event) == {"type", "id", "timestamp", "schema_version", "data"}
        assert event["id"].startswith("evt_")
        assert is_time(event["timestamp"])
        if event["type"].startswith("release."):
            assert set(event["data"]) >= EVENT
        assert set(event["data"]["actor"]) == {"name", "via", "verified"}


def test_events_as_a_stream(one: Relay) -> None:
    """SSE gives what is new as it happens, each event under its own id."""
    admin = one.client()
    after = admin.get("/admin/events?limit=1000").json()["data"][-1]["id"]
    headers = {"accept": "text/event-stream"}
    with one.client().stream("GET", f"/admin/events?after={after}", headers=headers) as stream:
        lines = stream.iter_lines()
        made = Conductor(admin).record["id"]
        first = [next(lines) for _ in range(3)]
    event = json.loads(first[2].removeprefix("data: "))
    assert stream.headers["content-type"].startswith("text/event-stream")
    assert (first[0], first[1]) == (f"id: {event['id']}", "event: release.created")
    assert event["data"]["release_id"] == made


@pytest.mark.parametrize("verb", ["", "/events", "/wait", "/approve", "/abort", "/claim", "/act"])
def test_a_release_that_is_not_there(one: Relay, verb: str) -> None:
    """404 `release_not_found` from every call about one."""
    method = "GET" if verb in {"", "/events", "/wait"} else "POST"
    body = {"flow_run_id": "run-1", "verb": "bake"}
    answer = one.client().request(
        method,
        f"/admin/releases/rel_none{verb}",
        json=body if method == "POST" else None,
        headers={"X-Relay-Fence": "1", "If-Match": "1"} if verb == "/act" else {},
    )
    refused(answer, 404, "release_not_found")


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"auto_promote": {"promotion_steps": [50, 10, 100]}}, "promotion_steps"),
        ({"auto_promote": {"promotion_steps": [10, 50]}}, "promotion_steps"),
        ({"base_version": "v77"}, "base_version"),
        ({"config_overrides": {"models": {"gpt-4.1": {"upstream": "mars"}}}}, "upstream"),
        ({"traffic_split": {"stable": 90, "beta": 9}}, "traffic_split"),
        ({"version_nmae": "x"}, "version_nmae"),
        ({"version_name": "stable"}, "version_name"),
    ],
)
def test_a_plan_that_is_wrong_is_refused_with_its_field(
    one: Relay, changes: dict[str, Any], param: str
) -> None:
    """422 names the field; there is no release afterwards."""
    admin = one.client()
    plan = {"version_name": new_name(), "config_overrides": {}, **changes}
    before = admin.get("/admin/releases").json()
    answer = admin.post("/admin/releases", json={"plan": plan})
    error = answer.json()["error"]
    assert answer.status_code == 422, answer.text
    assert param in error["param"]
    assert admin.get("/admin/releases").json() == before


def test_a_conductors_key_may_conduct_but_not_approve(relay: Relay) -> None:
    """Scope `conduct` claims and acts; it cannot decide in its own name."""
    with relay.client() as admin:
        body = {"name": "conductor", "scopes": ["conduct"]}
        secret = admin.post("/admin/keys", json=body).json()["key"]
    conductor = Conductor(relay.client(secret), approval={"before_steps": [10]})
    assert conductor.claim().status_code == 200
    conductor.act("create_version")
    conductor.act("ask", reason="before 10 %")
    refused(conductor.say("approve"), 403, "insufficient_scope")
    form = {"via": "prefect-form", "approved_by": "ann"}
    approved = conductor.say("approve", **form).json()
    assert (approved["gate"]["decided_by"], approved["gate"]["verified"]) == ("ann", False)


def test_a_silent_conductor_is_replaced(conductor: Conductor) -> None:
    """The same run may claim again at any time; the fence rises, and the old one is refused."""
    conductor.begin()
    first = conductor.fence
    assert conductor.claim("run-1").status_code == 200
    assert conductor.fence == first + 1
    stale = conductor.client.post(f"{conductor.path}/renew", headers={"X-Relay-Fence": str(first)})
    refused(stale, 409, "stale_fence")
    assert eventually(lambda: conductor.look()["workers"]["lagging"] == [])
