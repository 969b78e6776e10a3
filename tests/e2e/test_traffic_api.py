"""Versions, splits, metrics and rollback over HTTP: each call of API.md, each field of it."""

from typing import Any

import httpx
import pytest

from tests.e2e.processes import Relay, chat, eventually
from tests.e2e.shapes import by_alias, by_name, is_time, make_candidate, new_name, refused, served

WINDOW = {"window_seconds", "from", "as_of", "workers", "config_id", "versions"}
ROLLBACK = {
    "rollback_id",
    "state",
    "from_config_id",
    "to_config_id",
    "candidate_weight_percent",
    "in_flight",
    "started_at",
    "finished_at",
    "actor",
    "reason",
    "recorded",
}


def split(admin: httpx.Client, **weights: float) -> httpx.Response:
    """A split made by hand."""
    return admin.post("/admin/traffic/config", json={"traffic_split": weights})


def test_a_version_is_created_once(admin: httpx.Client) -> None:
    """201, then 200 for the same, 409 for another configuration under the name."""
    name = new_name()
    body = {"name": name, "base_version": "stable", "config_overrides": {}}
    other = {**body, "config_overrides": {"parameters": {"temperature": 0}}}
    first, second = (admin.post("/admin/versions", json=body) for _ in range(2))
    third = admin.post("/admin/versions", json=other)
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json()["config_hash"] == second.json()["config_hash"]
    assert first.json()["aliases"] == ["beta"]
    refused(third, 409, "version_exists")


def test_the_list_of_versions(admin: httpx.Client, relay: Relay) -> None:
    """Both paths give the same list, each version with every field."""
    name = make_candidate(relay, {"system_prompt": "Be brief."}, percent=10)
    listed = admin.get("/admin/versions").json()
    assert listed == admin.get("/admin/versions/list").json()
    assert set(listed) == {"data", "has_more"}
    version = by_alias(listed["data"])["beta"]
    assert set(version) == {
        "name",
        "aliases",
        "status",
        "weight_percent",
        "base_version",
        "config_hash",
        "config",
        "created_at",
        "created_by",
        "promoted_at",
    }
    assert (version["name"], version["status"]) == (name, "candidate")
    assert (version["weight_percent"], version["base_version"]) == (10, "v1")
    assert (version["created_by"], is_time(version["created_at"])) == ("admin", True)
    assert version["config"]["system_prompt"] == {"text": "Be brief.", "mode": "prepend"}
    assert by_alias(listed["data"])["stable"]["status"] == "active"


@pytest.mark.parametrize("name", ["stable", "beta", "previous", "list"])
def test_a_reserved_name_is_refused(one: Relay, name: str) -> None:
    """Aliases, and the word that is a path, cannot be a version's name."""
    body = {"name": name, "base_version": "stable", "config_overrides": {}}
    refused(one.client().post("/admin/versions", json=body), 422, "reserved_name")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "name"),
        ({"name": 7}, "name"),
        ({"name": "-x"}, "name"),
        ({"name": "a b"}, "name"),
        ({"name": "x" * 65}, "name"),
        ({"name": "ok", "config_overrides": []}, "config_overrides"),
        ({"name": "ok", "config_overrides": {"modells": {}}}, "config_overrides"),
        ({"name": "ok", "config_overrides": {"parameters": 7}}, "config_overrides"),
        ({"name": "ok", "base_version": 3}, "base_version"),
    ],
)
def test_a_version_that_is_none_is_refused(one: Relay, body: Any, param: str) -> None:
    """422 names the field at fault."""
    answer = one.client().post("/admin/versions", json=body)
    error = answer.json()["error"]
    assert answer.status_code == 422, answer.text
    assert error["param"].startswith(param)


def test_a_version_on_a_base_that_is_not_there(one: Relay) -> None:
    """404, naming the versions that are."""
    body = {"name": new_name(), "base_version": "v77", "config_overrides": {}}
    error = refused(one.client().post("/admin/versions", json=body), 404, "version_not_found")
    assert "v1" in error["message"]


def test_what_a_version_changes_reaches_the_provider(one: Relay, the_provider: Any) -> None:
    """Parameters win over the caller, defaults fill in, a plain prompt is put in front."""
    overrides = {
        "parameters": {"temperature": 0.1},
        "defaults": {"max_tokens": 7, "top_p": 0.5},
        "remove_parameters": ["logit_bias"],
        "system_prompt": "Be brief.",
        "models": {"gpt-4.1": {"model": "gpt-4.1-tuned"}},
    }
    name = make_candidate(one, overrides)
    body = chat(temperature=1, top_p=0.9, logit_bias={"1": 1})
    headers = {"X-Relay-Version": name, "X-Request-Id": name}
    answer = served(one.client().post("/chat/completions", json=body, headers=headers))
    (seen,) = the_provider.requests(name)
    sent = httpx.Response(200, content=seen["body"]).json()
    assert (sent["temperature"], sent["max_tokens"], sent["top_p"]) == (0.1, 7, 0.9)
    assert "logit_bias" not in sent
    assert sent["messages"][0] == {"role": "system", "content": "Be brief."}
    assert answer.json()["model"] == "gpt-4.1-tuned"
    assert answer.headers["x-relay-version"] == name


def test_a_split_is_verified_on_every_worker(admin: httpx.Client, relay: Relay) -> None:
    """200 with the new config, the one before, and all workers applied."""
    name = make_candidate(relay)
    before = admin.get("/admin/traffic/config").json()
    answer = split(admin, stable=90, beta=10)
    body = answer.json()
    assert answer.status_code == 200
    assert set(body) == {"config_id", "previous_config_id", "traffic_split", "aliases", "workers"}
    assert body["previous_config_id"] == before["config_id"]
    assert body["traffic_split"] == {"stable": 90, "beta": 10}
    assert body["aliases"]["beta"] == name
    assert body["workers"] == {"total": relay.workers, "applied": relay.workers, "lagging": []}


def test_two_keys_for_one_version_are_added(admin: httpx.Client, relay: Relay) -> None:
    """An alias and the name behind it mean the same version."""
    name = make_candidate(relay)
    body = split(admin, **{"stable": 80, "beta": 15, name: 5}).json()
    assert body["traffic_split"] == {"stable": 80, "beta": 20}


@pytest.mark.parametrize(
    "weights",
    [
        '{"stable": 90, "beta": 9}',
        '{"stable": 110, "beta": -10}',
        '{"stable": NaN, "beta": 10}',
        '{"stable": Infinity}',
        '{"stable": 1e400}',
        '{"stable": "100"}',
        '{"stable": true}',
        '{"stable": null}',
        "{}",
        "[]",
        "100",
        "null",
    ],
)
def test_a_split_that_is_none_changes_nothing(one: Relay, weights: str) -> None:
    """Sums other than 100, NaN, negatives, other types: 422, naming what to do."""
    admin = one.client()
    before = admin.get("/admin/traffic/config").json()
    answer = admin.post("/admin/traffic/config", content=f'{{"traffic_split": {weights}}}')
    error = answer.json()["error"]
    assert answer.status_code == 422, answer.text
    assert set(error) == {"code", "message", "type", "param"}
    assert admin.get("/admin/traffic/config").json() == before


def test_a_split_over_an_unknown_version(one: Relay) -> None:
    """404, and the versions that are there."""
    error = refused(split(one.client(), stable=90, canary=10), 404, "version_not_found")
    assert "canary" in error["message"]
    assert "stable" in error["message"]


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"7", b"\xff", b'{"traffic_split": {'])
def test_malformed_json_is_refused_by_the_admin_api(one: Relay, body: bytes) -> None:
    """No body makes the relay fail."""
    answer = one.client().post("/admin/traffic/config", content=body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["error"]["message"]


def test_a_write_with_a_key_happens_once(admin: httpx.Client, relay: Relay) -> None:
    """The same key gives the first answer; with another body it is refused."""
    make_candidate(relay)
    key = {"Idempotency-Key": new_name()}
    body = {"traffic_split": {"stable": 70, "beta": 30}}
    other = {"traffic_split": {"stable": 60, "beta": 40}}
    first, second = (
        admin.post("/admin/traffic/config", json=body, headers=key).json() for _ in range(2)
    )
    reused = admin.post("/admin/traffic/config", json=other, headers=key)
    assert first["config_id"] == second["config_id"]
    refused(reused, 422, "idempotency_key_reused")
    assert admin.get("/admin/traffic/config").json()["config_id"] == first["config_id"]


def test_a_rollback_sent_twice_brakes_nobody_else(one: Relay) -> None:
    """A repeated rollback answers as before, and leaves a newer candidate in traffic."""
    admin, key = one.client(), {"Idempotency-Key": new_name()}
    make_candidate(one, percent=50)
    first = admin.post("/admin/rollback", headers=key).json()
    name = make_candidate(one, percent=50)
    second = admin.post("/admin/rollback", headers=key).json()
    versions = {
        admin.post("/chat/completions", json=chat()).headers["x-relay-version"] for _ in range(40)
    }
    assert first["rollback_id"] == second["rollback_id"]
    assert versions == {"v1", name}


@pytest.mark.parametrize("path", ["/admin/traffic/config", "/admin/rollback"])
def test_if_match_guards_against_a_change_in_between(one: Relay, path: str) -> None:
    """412 with the config in force; with the right one the write goes through."""
    name = make_candidate(one, percent=40)
    admin = one.client()
    now = admin.get("/admin/traffic/config").json()["config_id"]
    body = {"traffic_split": {"stable": 70, "beta": 30}} if "traffic" in path else {}
    stale = admin.post(path, json=body, headers={"If-Match": "config-of-yesterday"})
    still = {
        admin.post("/chat/completions", json=chat()).headers["x-relay-version"] for _ in range(40)
    }
    fresh = admin.post(path, json=body, headers={"If-Match": f'"{now}"'})
    assert (stale.status_code, stale.json()["error"]["code"]) == (412, "config_changed")
    assert stale.json()["config"]["config_id"] == now
    assert still == {"v1", name}
    assert fresh.status_code == 200


def test_the_distribution(admin: httpx.Client, relay: Relay) -> None:
    """Intended and observed shares; observed counts what the split assigned, not what was pinned."""
    name = make_candidate(relay, percent=50)
    caller = relay.client()
    for _ in range(60):
        served(caller.post("/chat/completions", json=chat()))
    served(caller.post("/chat/completions", json=chat(), headers={"X-Relay-Version": name}))

    def counted() -> bool:
        versions = admin.get("/admin/traffic/distribution?window_seconds=60").json()["versions"]
        candidate = by_name(versions)[name]
        return bool(candidate["requests"] > 10 and candidate["pinned"] == 1)

    assert eventually(counted)
    body = admin.get("/admin/traffic/distribution?window_seconds=60").json()
    candidate = by_name(body["versions"])[name]
    assert set(body) == WINDOW
    assert (body["window_seconds"], body["workers"]) == (60, relay.workers)
    assert is_time(body["from"])
    assert is_time(body["as_of"])
    assert set(candidate) == {
        "version",
        "aliases",
        "intended_percent",
        "observed_percent",
        "requests",
        "pinned",
    }
    assert (candidate["aliases"], candidate["intended_percent"]) == (["beta"], 50)
    assert sum(v["observed_percent"] for v in body["versions"]) == pytest.approx(100, abs=0.1)


def test_error_rates_and_latencies(admin: httpx.Client, relay: Relay) -> None:
    """Every field, and null where nothing was measured."""
    name = make_candidate(relay, percent=10)
    errors = admin.get("/admin/metrics/errors").json()
    latency = admin.get("/admin/metrics/latency").json()
    assert set(errors) == set(latency) == WINDOW
    assert set(by_name(errors["versions"])[name]) == {
        "version",
        "aliases",
        "requests",
        "errors",
        "error_rate_percent",
        "rejected",
        "client_gone",
        "failed_over",
        "by_code",
    }
    assert by_name(latency["versions"])[name] == {
        "version": name,
        "aliases": ["beta"],
        "count": 0,
        "p50_ms": None,
        "p95_ms": None,
        "p99_ms": None,
        "ttft_p50_ms": None,
        "ttft_p95_ms": None,
    }


def test_a_stream_has_a_time_to_its_first_token(one: Relay) -> None:
    """A stream is as fast as its first content, and has a column for it; an answer has none."""
    streamed, whole = make_candidate(one), make_candidate(one)
    for name, stream in ((streamed, True), (whole, False)):
        body, headers = chat("slow", stream=stream), {"X-Relay-Version": name}
        one.client().post("/chat/completions", json=body, headers=headers).read()
    versions = by_name(one.client().get("/admin/metrics/latency").json()["versions"])
    assert versions[streamed]["count"] == versions[whole]["count"] == 1
    assert 15 < versions[streamed]["ttft_p50_ms"] == versions[streamed]["p50_ms"] < 600
    assert versions[whole]["ttft_p50_ms"] is None


@pytest.mark.parametrize("seconds", ["0", "86401", "x", "1.5", "-1", ""])
def test_a_window_beyond_its_bounds(one: Relay, seconds: str) -> None:
    """1 to 86,400 seconds; anything else is said to be wrong."""
    for path in ("traffic/distribution", "metrics/errors", "metrics/latency"):
        answer = one.client().get(f"/admin/{path}?window_seconds={seconds}")
        assert answer.json()["error"]["param"] == "window_seconds"
        assert answer.status_code == 422


def test_the_exposition_never_falls(relay: Relay) -> None:
    """/metrics is the sum over all workers on whichever of them it is asked."""
    callers = relay.client_of_each_worker()
    path = f"http://127.0.0.1:{relay.port}/metrics"
    series = 'grayscale_requests_total{model="gpt-4.1",outcome="ok",upstream="main",version="v1"} '

    def total(caller: httpx.Client) -> float:
        lines = caller.get(path).text.splitlines()
        return sum(float(line.removeprefix(series)) for line in lines if line.startswith(series))

    before = [total(caller) for caller in callers]
    for caller in callers:
        served(caller.post("/chat/completions", json=chat()))
    assert eventually(
        lambda: all(total(caller) == max(before) + len(callers) for caller in callers)
    )
    names = {line.split("{")[0] for line in callers[0].get(path).text.splitlines()}
    assert {
        "grayscale_request_duration_seconds_bucket",
        "grayscale_time_to_first_token_seconds_bucket",
        "grayscale_version_weight_percent",
    } <= names


def test_the_history_is_read_page_by_page(one: Relay) -> None:
    """Newest first, each config with split, aliases, time, actor and reason."""
    make_candidate(one)
    admin = one.client()
    body = {"traffic_split": {"stable": 95, "beta": 5}, "reason": "a first look"}
    made = admin.post("/admin/traffic/config", json=body).json()
    first = admin.get("/admin/config/history?limit=2").json()
    after = first["data"][-1]["config_id"]
    second = admin.get(f"/admin/config/history?limit=2&after={after}").json()
    newest = first["data"][0]
    assert first["has_more"] is True
    assert newest["config_id"] == made["config_id"]
    assert {"traffic_split", "aliases", "created_at", "actor", "reason"} <= set(newest)
    assert newest["reason"] == "a first look"
    assert newest["actor"] == {"name": "admin", "via": "api", "verified": True}
    assert is_time(newest["created_at"])
    assert {c["config_id"] for c in first["data"]}.isdisjoint(
        {c["config_id"] for c in second["data"]}
    )


def test_a_rollback_and_its_status(admin: httpx.Client, relay: Relay) -> None:
    """The candidate's weight is gone when the call returns, and the record comes to its end."""
    make_candidate(relay, percent=30)
    before = admin.get("/admin/traffic/config").json()["config_id"]
    headers = {"X-Rollback-Target": "stable", "X-Rollback-Reason": "odd answers"}
    body = {"force": True, "drain_connections": True, "drain_timeout_seconds": 5}
    done = admin.post("/admin/rollback", json=body, headers=headers)
    assert done.status_code == 200
    status = admin.get("/admin/rollback/status").json()
    assert set(status) == ROLLBACK
    assert (status["reason"], status["recorded"]) == ("odd answers", True)
    assert status["actor"]["name"] == "admin"
    assert (status["from_config_id"], status["candidate_weight_percent"]) == (before, 0)
    assert is_time(status["started_at"])

    def completed() -> bool:
        return bool(admin.get("/admin/rollback/status").json()["state"] == "completed")

    assert eventually(completed)
    assert is_time(admin.get("/admin/rollback/status").json()["finished_at"])


@pytest.mark.parametrize(("typed", "name"), [("Kim\x1b ", "Kim"), ("", "somebody")])
def test_who_asked_in_prefects_form_is_on_record(one: Relay, typed: str, name: str) -> None:
    """A rollback from the form has the name that was typed, as a claim, in every event."""
    make_candidate(one)
    admin = one.client()
    admin.post("/admin/traffic/config", json={"traffic_split": {"stable": 90, "beta": 10}})
    head = admin.get("/admin/events?limit=1000").json()["data"][-1]["id"]
    body = {"via": "prefect-form", "by": typed}
    assert admin.post("/admin/rollback", json=body).status_code == 200
    actor = {"name": name, "via": "prefect-form", "verified": False}
    told = admin.get(f"/admin/events?after={head}").json()["data"]
    assert [event["data"]["actor"] for event in told] == [actor] * len(told) != []
    assert admin.get("/admin/rollback/status").json()["actor"] == actor


def test_nothing_to_roll_back_is_said(admin: httpx.Client, relay: Relay) -> None:
    """409 naming `previous` and its config; and a candidate at 0 % may still be looked at."""
    name = make_candidate(relay)
    answer = admin.post("/admin/rollback")
    refused(answer, 409, "nothing_to_roll_back")
    assert {"previous", "config_id"} <= answer.json().keys()
    key = admin.post("/admin/keys", json={"name": "caller", "scopes": ["invoke"]}).json()["key"]
    headers = {"X-Relay-Version": name}
    pinned = relay.client(key).post("/chat/completions", json=chat(), headers=headers)
    assert served(pinned).headers["x-relay-version"] == name


def test_a_rollback_that_is_refused_changes_nothing(one: Relay) -> None:
    """An unknown target or config leaves the candidate in traffic."""
    name = make_candidate(one, percent=50)
    admin = one.client()
    target = admin.post("/admin/rollback", headers={"X-Rollback-Target": "v77"})
    by_id = {"target_type": "config_id", "config_id": "config-none"}
    config = admin.post("/admin/rollback", json=by_id)
    error = refused(target, 404, "version_not_found")
    versions = {
        admin.post("/chat/completions", json=chat()).headers["x-relay-version"] for _ in range(40)
    }
    assert error["message"].startswith("Target version 'v77' does not exist")
    refused(config, 404, "config_not_found")
    assert versions == {"v1", name}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"force": "yes"}, "force"),
        ({"drain_connections": 1}, "drain_connections"),
        ({"drain_timeout_seconds": -1}, "drain_timeout_seconds"),
        ({"drain_timeout_seconds": 601}, "drain_timeout_seconds"),
        ({"target_type": "planet"}, "target_type"),
        ({"target_type": "config_id"}, "config_id"),
        ({"gradual": {"step_size": 0, "step_delay_seconds": 1}}, "gradual.step_size"),
        ({"gradual": {"step_size": 5}}, "gradual.step_delay_seconds"),
        ({"gradual": 7}, "gradual"),
    ],
)
def test_a_rollback_that_is_none_is_refused(one: Relay, body: Any, param: str) -> None:
    """422 names the field."""
    answer = one.client().post("/admin/rollback", json=body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["error"]["param"] == param


def test_a_gradual_rollback_can_be_stopped(one: Relay) -> None:
    """The leader lowers the weight; abort freezes it where it is."""
    make_candidate(one, percent=20)
    admin = one.client()
    gradual = {"gradual": {"step_size": 4, "step_delay_seconds": 0.1}}
    assert admin.post("/admin/rollback", json=gradual).status_code == 200

    def weight() -> float:
        found = admin.get("/admin/rollback/status").json()["candidate_weight_percent"]
        return float(found)

    assert eventually(lambda: 0 < weight() < 20)
    stopped = admin.post("/admin/rollback/abort").json()
    frozen = weight()
    refused(admin.post("/admin/rollback/abort"), 409, "nothing_to_roll_back")
    assert stopped["state"] == "aborted"
    assert 0 < frozen < 20


def test_a_config_is_gone_back_to_by_its_id(admin: httpx.Client, relay: Relay) -> None:
    """Split and aliases are those of the config; one with an unproven version is not allowed."""
    made = admin.get("/admin/traffic/config").json()
    make_candidate(relay, percent=25)
    with_candidate = admin.get("/admin/traffic/config").json()["config_id"]
    by_id = {"target_type": "config_id", "config_id": made["config_id"]}
    done = admin.post("/admin/rollback", json=by_id)
    assert done.status_code == 200
    assert done.json()["traffic_split"] == made["traffic_split"]
    assert done.json()["aliases"] == made["aliases"]
    again = {"target_type": "config_id", "config_id": with_candidate}
    refused(admin.post("/admin/rollback", json=again), 409, "config_not_allowed")
