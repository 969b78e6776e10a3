"""Versions, splits, metrics, rollback and keys over the admin API, call by call."""

from typing import Any

import pytest

from grayscale.plane.plane import Plane

CHANGED = {"models": {"gpt-4.1": {"model": "gpt-4.1-2026"}}}


async def beta(api: Any, name: str = "v2-beta") -> Any:
    """A candidate made by hand."""
    body = {"name": name, "base_version": "stable", "config_overrides": CHANGED}
    return await api.post("/admin/versions", body, status=201)


async def test_a_version_is_created_once(api: Any) -> None:
    """201 at first, 200 for the same again, 409 for another configuration under the name."""
    created = await beta(api)
    again = {"name": "v2-beta", "base_version": "stable", "config_overrides": CHANGED}
    other = {**again, "config_overrides": {}}
    assert created["aliases"] == ["beta"]
    assert (await api.post("/admin/versions", again))["name"] == "v2-beta"
    refused = await api.post("/admin/versions", other, status=409)
    assert refused["error"]["code"] == "version_exists"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"name": "stable"}, 422, "reserved_name"),
        ({"name": "a b"}, 422, "invalid_name"),
        ({}, 422, "invalid_request"),
        ({"name": "x", "base_version": "nope"}, 404, "version_not_found"),
        ({"name": "x", "config_overrides": {"models": {"m": {"model": "m"}}}}, 422, None),
        ({"name": "x", "config_overrides": {"colour": "red"}}, 422, "invalid_config"),
        (
            {"name": "x", "config_overrides": {"models": {"gpt-4.1": {"upstream": "mars"}}}},
            422,
            "unknown_upstream",
        ),
    ],
)
async def test_a_bad_version_is_refused_with_its_field(
    api: Any, body: Any, status: int, code: str | None
) -> None:
    """Each wrong field is named, and nothing is created."""
    answer = await api.post("/admin/versions", body, status=status)
    listed = await api.get("/admin/versions/list")
    assert code is None or answer["error"]["code"] == code
    assert answer["error"]["param"]
    assert [version["name"] for version in listed["data"]] == ["v1"]


async def test_a_split_by_hand_names_aliases_or_versions(api: Any) -> None:
    """The answer has the config, the one before it, the aliases and the workers."""
    await beta(api)
    split = {"traffic_split": {"stable": 90, "v2-beta": 10}}
    answer = await api.post("/admin/traffic/config", split)
    shown = await api.get("/admin/traffic/distribution")
    history = await api.get("/admin/config/history")
    assert answer["traffic_split"] == {"stable": 90, "beta": 10}
    assert answer["aliases"] == {"stable": "v1", "beta": "v2-beta"}
    assert answer["workers"] == {"total": 0, "applied": 0, "lagging": []}
    assert {v["version"]: v["intended_percent"] for v in shown["versions"]} == {
        "v1": 90,
        "v2-beta": 10,
    }
    assert history["data"][0]["config_id"] == answer["config_id"]
    assert history["data"][1]["config_id"] == answer["previous_config_id"]


@pytest.mark.parametrize(
    ("split", "status"),
    [
        ({"stable": 90, "beta": 20}, 422),
        ({"stable": 110, "beta": -10}, 422),
        ({"stable": "90", "beta": 10}, 422),
        ({"stable": True}, 422),
        ({}, 422),
        ("stable", 422),
        ({"stable": 90, "nope": 10}, 404),
    ],
)
async def test_a_wrong_split_changes_nothing(api: Any, split: Any, status: int) -> None:
    """Splits that do not add up, are no numbers or name nothing are refused whole."""
    before = await api.get("/admin/traffic/config")
    await api.post("/admin/traffic/config", {"traffic_split": split}, status=status)
    assert await api.get("/admin/traffic/config") == before


async def test_not_a_number_is_not_json(api: Any) -> None:
    """NaN in the body is refused before anything looks at it."""
    response = await api.client.post(
        "/admin/traffic/config", content=b'{"traffic_split": {"stable": NaN}}'
    )
    assert response.status_code == 422
    assert "NaN" in response.json()["error"]["message"]


async def test_if_match_guards_against_a_change_in_between(api: Any) -> None:
    """A split that was decided on an outdated config is refused with the current one."""
    await beta(api)
    split = {"traffic_split": {"stable": 90, "beta": 10}}
    headers = {"If-Match": "config-old"}
    answer = await api.post("/admin/traffic/config", split, status=412, headers=headers)
    assert answer["error"]["code"] == "config_changed"
    assert answer["config"]["traffic_split"] == {"stable": 100}


async def test_an_idempotency_key_repeats_the_first_answer(api: Any) -> None:
    """The same key gives the same config; with another body it is refused."""
    await beta(api)
    split = {"traffic_split": {"stable": 90, "beta": 10}}
    headers = {"Idempotency-Key": "once"}
    first = await api.post("/admin/traffic/config", split, headers=headers)
    second = await api.post("/admin/traffic/config", split, headers=headers)
    other = {"traffic_split": {"stable": 80, "beta": 20}}
    answer = await api.post("/admin/traffic/config", other, headers=headers, status=422)
    assert first["config_id"] == second["config_id"]
    assert answer["error"]["code"] == "idempotency_key_reused"


async def test_rollback_without_headers_goes_to_stable(api: Any) -> None:
    """The seed's rollback as printed: to stable, for no given reason."""
    await beta(api)
    await api.post("/admin/traffic/config", {"traffic_split": {"stable": 90, "beta": 10}})
    answer = await api.post("/admin/rollback", {"force": True, "drain_connections": True})
    status = await api.get("/admin/rollback/status")
    shown = await api.get("/admin/traffic/config")
    assert answer["reason"] == "not given"
    assert shown["traffic_split"] == {"stable": 100}
    assert (status["state"], status["reason"]) == ("switching", "not given")


async def test_a_reason_may_have_any_letters(api: Any) -> None:
    """A reason in UTF-8, as curl sends it, is kept as it was written."""
    await beta(api)
    await api.post("/admin/traffic/config", {"traffic_split": {"stable": 90, "beta": 10}})
    headers = {"X-Rollback-Reason": "Latenz über 3 s".encode()}
    answer = await api.post("/admin/rollback", {}, headers=headers)
    assert answer["reason"] == "Latenz über 3 s"


async def test_nothing_to_roll_back_says_so(api: Any) -> None:
    """With all traffic on stable there is nothing to take away."""
    answer = await api.post("/admin/rollback", {}, status=409)
    assert answer["error"]["code"] == "nothing_to_roll_back"


async def test_an_unknown_target_is_named(api: Any) -> None:
    """The seed's error 5, with the names that do exist."""
    headers = {"X-Rollback-Target": "prod-stable"}
    answer = await api.post("/admin/rollback", {}, status=404, headers=headers)
    assert answer["error"]["code"] == "version_not_found"
    assert answer["error"]["message"].startswith("Target version 'prod-stable' does not exist")
    assert "v1" in answer["error"]["message"]


async def test_a_config_of_the_past_is_restored(api: Any) -> None:
    """Going back to a config_id restores its split; unknown and never promoted are refused."""
    await beta(api)
    body = {"traffic_split": {"stable": 90, "beta": 10}}
    split = await api.post("/admin/traffic/config", body)
    back = {"target_type": "config_id", "config_id": split["previous_config_id"]}
    answer = await api.post("/admin/rollback", back)
    assert answer["traffic_split"] == {"stable": 100}
    forward = {"target_type": "config_id", "config_id": split["config_id"]}
    refused = await api.post("/admin/rollback", forward, status=409)
    assert refused["error"]["code"] == "config_not_allowed"
    unknown = {"target_type": "config_id", "config_id": "config-abc123"}
    missing = await api.post("/admin/rollback", unknown, status=404)
    assert missing["error"]["code"] == "config_not_found"


async def test_a_key_is_shown_once_and_can_be_revoked(api: Any) -> None:
    """The key works within its scopes, is never shown again, and ends with its revocation."""
    created = await api.post("/admin/keys", {"name": "ci", "scopes": ["read"]}, status=201)
    ci = api.with_key(created["key"])
    listed = await api.get("/admin/keys")
    await ci.get("/admin/versions")
    denied = await ci.post("/admin/rollback", {}, status=403)
    await api.delete(f"/admin/keys/{created['id']}")
    gone = await ci.get("/admin/versions", status=401)
    assert created["key"].startswith("gs_")
    assert created["key"] not in str(listed)
    assert denied["error"]["code"] == "insufficient_scope"
    assert gone["error"] == {
        "code": "invalid_api_key",
        "message": gone["error"]["message"],
        "type": "invalid_request_error",
        "param": None,
    }
    assert gone["error"]["message"].startswith("Authentication failed")


async def test_unknown_paths_answer_in_the_error_shape(api: Any) -> None:
    """404 and 405 are errors like any other."""
    missing = await api.get("/admin/nothing", status=404)
    wrong = await api.get("/admin/rollback", status=405)
    assert missing["error"]["code"] == "not_found"
    assert wrong["error"]["code"] == "method_not_allowed"


async def test_metrics_have_a_head_and_every_version(api: Any) -> None:
    """Without traffic there are zeros and nulls, and the window is bounded."""
    errors = await api.get("/admin/metrics/errors")
    latency = await api.get("/admin/metrics/latency?window_seconds=60")
    await api.get("/admin/metrics/latency?window_seconds=0", status=422)
    assert errors["window_seconds"] == 300
    assert errors["versions"][0]["requests"] == 0
    assert latency["versions"][0]["p95_ms"] is None


async def test_without_its_store_the_api_says_so(api: Any, plane: Plane) -> None:
    """A store that vanished is a clear 503 to those who ask, and `degraded` in the readiness."""
    path = plane.database.path
    if path is None:
        pytest.skip("a file can vanish under the relay, a server cannot")
    path.unlink()
    refused = await api.get("/admin/versions", status=503)
    ready = await api.client.get("http://relay/readyz")
    assert refused["error"]["code"] == "store_lost"
    assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
