"""Releases over the admin API, call by call."""

from typing import Any

import pytest

PLAN = {
    "version_name": "v2",
    "config_overrides": {"models": {"gpt-4.1": {"model": "gpt-4.1-2026"}}},
    "labels": {"git_sha": "abc"},
}


async def created(api: Any, **changes: Any) -> Any:
    """A release that waits for its conductor."""
    return await api.post("/admin/releases", {"plan": {**PLAN, **changes}}, status=201)


async def acts(api: Any, record: Any, fence: int, verb: str, **body: Any) -> Any:
    """One decision, as a conductor sends it."""
    headers = {
        "X-Relay-Fence": str(fence),
        "If-Match": str(record["revision"]),
        "Idempotency-Key": f"{record['id']}:{record['seq']}:{verb}",
    }
    path = f"/admin/releases/{record['id']}/act"
    return await api.post(path, {"verb": verb, **body}, headers=headers)


async def test_a_release_is_created_and_shown(api: Any) -> None:
    """The record has the plan, its steps and where to look; its version's name finds it too."""
    made = await created(api)
    shown = await api.get("/admin/releases/v2")
    listed = await api.get("/admin/releases?state=queued")
    assert made["state"] == "queued"
    assert shown["id"] == made["id"]
    assert [step["weight_percent"] for step in shown["steps"]] == [10, 25, 50, 95]
    assert shown["labels"] == {"git_sha": "abc"}
    assert listed["data"][0]["id"] == made["id"]


async def test_one_flow_run_makes_one_release(api: Any) -> None:
    """The same flow run asking again gets the release that it made."""
    headers = {"Idempotency-Key": "flow-run:1"}
    first = await api.post("/admin/releases", {"plan": PLAN}, status=201, headers=headers)
    second = await api.post("/admin/releases", {"plan": PLAN}, status=201, headers=headers)
    assert first["id"] == second["id"]


@pytest.mark.parametrize(
    ("changes", "status", "field"),
    [
        ({"auto_promote": {"promotion_steps": [10, 5, 100]}}, 422, "promotion_steps"),
        ({"auto_promote": {"promotion_steps": [10, 50]}}, 422, "promotion_steps"),
        ({"base_version": "nope"}, 422, "base_version"),
        (
            {"config_overrides": {"models": {"gpt-4.1": {"upstream": "mars"}}}},
            422,
            "upstream",
        ),
        ({"version_name": "v1"}, 409, "version_name"),
        ({"colour": "red"}, 422, "colour"),
    ],
)
async def test_a_plan_that_cannot_be_carried_out_is_refused(
    api: Any, changes: Any, status: int, field: str
) -> None:
    """The field at fault is named, and no release exists afterwards."""
    answer = await api.post("/admin/releases", {"plan": {**PLAN, **changes}}, status=status)
    listed = await api.get("/admin/releases")
    assert field in answer["error"]["param"]
    assert listed["data"] == []


async def test_a_conductor_claims_renews_and_acts_once(api: Any) -> None:
    """Claim gives a fence; a decision sent twice is carried out once."""
    made = await created(api)
    path = f"/admin/releases/{made['id']}"
    claim = await api.post(f"{path}/claim", {"flow_run_id": "run-1"})
    record = claim["release"]
    first = await acts(api, record, claim["fence"], "create_version")
    again = await acts(api, record, claim["fence"], "create_version")
    split = await acts(api, first, claim["fence"], "set_split", step=0)
    headers = {"X-Relay-Fence": "0"}
    stale = await api.post(f"{path}/renew", headers=headers, status=409)
    assert first["seq"] == again["seq"] == 2
    assert (split["state"], split["weight_percent"]) == ("soaking", 10)
    assert stale["error"]["code"] == "stale_fence"


async def test_people_approve_and_reject_at_a_gate(api: Any) -> None:
    """Only a release that waits can be decided; a rejected one ends on stable."""
    made = await created(api, auto_promote={"enabled": False})
    path = f"/admin/releases/{made['id']}"
    early = await api.post(f"{path}/approve", {}, status=409)
    claim = await api.post(f"{path}/claim", {"flow_run_id": "run-1"})
    record = await acts(api, claim["release"], claim["fence"], "create_version")
    record = await acts(api, record, claim["fence"], "ask", reason="look at it")
    wrong = await api.post(f"{path}/approve", {"step": 3}, status=409)
    waiting = await api.get(f"{path}/wait?for=person&timeout_seconds=1")
    rejected = await api.post(f"{path}/reject", {"note": "not today"})
    assert early["error"]["code"] == wrong["error"]["code"] == "step_moved_on"
    assert waiting["state"] == "awaiting_approval"
    assert rejected["state"] == "rolling_back"
    assert rejected["reason"] == "rejected by ann: not today"


async def test_abort_takes_everything_away_and_wins(api: Any) -> None:
    """Abort brakes the version, ends the release, and a late decision is refused."""
    made = await created(api)
    path = f"/admin/releases/{made['id']}"
    claim = await api.post(f"{path}/claim", {"flow_run_id": "run-1"})
    record = await acts(api, claim["release"], claim["fence"], "create_version")
    record = await acts(api, record, claim["fence"], "set_split", step=0)
    aborted = await api.post(f"{path}/abort", {"note": "odd answers"})
    twice = await api.post(f"{path}/abort", {"note": "odd answers"})
    headers = {
        "X-Relay-Fence": str(claim["fence"]),
        "If-Match": str(record["revision"]),
        "Idempotency-Key": "late",
    }
    late = await api.post(
        f"{path}/act", {"verb": "set_split", "step": 1}, headers=headers, status=409
    )
    assert aborted["weight_percent"] == 0
    assert (aborted["cause"], aborted["revision"]) == ("aborted", twice["revision"])
    assert late["error"]["code"] == "release_changed"


async def test_by_hand_a_release_can_only_be_lowered(api: Any) -> None:
    """During a release a hand-made split may lower the candidate, which pauses; 0 aborts."""
    made = await created(api)
    path = f"/admin/releases/{made['id']}"
    claim = await api.post(f"{path}/claim", {"flow_run_id": "run-1"})
    record = await acts(api, claim["release"], claim["fence"], "create_version")
    await acts(api, record, claim["fence"], "set_split", step=0)
    more = {"traffic_split": {"stable": 50, "beta": 50}}
    less = {"traffic_split": {"stable": 95, "beta": 5}}
    none = {"traffic_split": {"stable": 100}}
    refused = await api.post("/admin/traffic/config", more, status=409)
    await api.post("/admin/traffic/config", less)
    paused = await api.get(path)
    await api.post("/admin/traffic/config", none)
    ended = await api.get(path)
    assert refused["error"]["code"] == "release_in_progress"
    assert (paused["state"], paused["weight_percent"]) == ("paused", 5)
    assert (ended["state"], ended["weight_percent"]) == ("rolling_back", 0)


async def test_events_tell_the_whole_story(api: Any) -> None:
    """Each event has the envelope that webhooks carry, and the list can be continued."""
    made = await created(api)
    events = await api.get(f"/admin/releases/{made['id']}/events")
    everything = await api.get("/admin/events?limit=1")
    rest = await api.get(f"/admin/events?after={everything['data'][0]['id']}")
    (event,) = events["data"]
    assert event["type"] == "release.created"
    assert event["data"]["actor"] == {"name": "ann", "via": "api", "verified": True}
    assert event["data"]["labels"] == {"git_sha": "abc"}
    assert everything["has_more"] is True
    assert event["id"] in {other["id"] for other in rest["data"]}
