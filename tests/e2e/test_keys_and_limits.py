"""Keys over HTTP: scopes, models, expiry, revocation and rates, on every worker."""

import time
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import httpx
import pytest

from tests.e2e.processes import Relay, chat, eventually
from tests.e2e.shapes import is_time, refused, served

SHOWN = {
    "id",
    "name",
    "prefix",
    "last4",
    "scopes",
    "models",
    "requests_per_minute",
    "tokens_per_minute",
    "expires_at",
    "created_at",
}


def make_key(relay: Relay, **fields: Any) -> dict[str, Any]:
    """A key with scope `invoke`, unless told otherwise."""
    with relay.client() as admin:
        made = admin.post("/admin/keys", json={"name": "caller", "scopes": ["invoke"], **fields})
        assert made.status_code == 201, made.text
        created: dict[str, Any] = made.json()
        return created


def ask(caller: httpx.Client, model: str = "gpt-4.1") -> httpx.Response:
    """One chat completion."""
    return caller.post("/chat/completions", json=chat(model))


def is_refused(caller: httpx.Client) -> bool:
    """Whether the caller's key is none by now."""
    return ask(caller).status_code == 401


def test_a_key_is_shown_once(one: Relay) -> None:
    """The list has its first and last characters, never the key."""
    made = make_key(one, name="shown-once")
    listed = one.client().get("/admin/keys")
    entry = next(key for key in listed.json()["data"] if key["id"] == made["id"])
    assert made["key"].startswith("gs_")
    assert set(made) >= SHOWN | {"key"}
    assert set(entry) >= SHOWN
    assert (entry["prefix"], entry["last4"]) == (made["key"][:7], made["key"][-4:])
    assert is_time(entry["created_at"])
    assert made["key"] not in listed.text


def test_a_new_key_works_at_once_on_every_worker(relay: Relay) -> None:
    """When the call returns, each worker knows the key."""
    made = make_key(relay)
    for caller in relay.client_of_each_worker(made["key"]):
        served(ask(caller))


def test_a_revoked_key_is_refused_by_every_worker(relay: Relay) -> None:
    """Soon nobody lets it in, also on connections that are open."""
    made = make_key(relay)
    callers = relay.client_of_each_worker(made["key"])
    for caller in callers:
        served(ask(caller))
    with relay.client() as admin:
        assert admin.delete(f"/admin/keys/{made['id']}").status_code == 200
        refused(admin.delete("/admin/keys/key_none"), 404, "key_not_found")
    for caller in callers:
        assert eventually(partial(is_refused, caller), seconds=5)
        error = refused(ask(caller), 401, "invalid_api_key")
        assert error["message"].startswith("Authentication failed")


def test_a_key_expires_to_the_second(relay: Relay) -> None:
    """Before its end a key is good, afterwards it is like any wrong one."""
    end = datetime.now(UTC) + timedelta(seconds=1.5)
    made = make_key(relay, expires_at=end.isoformat())
    callers = relay.client_of_each_worker(made["key"])
    before = [ask(caller).status_code for caller in callers]
    in_time = datetime.now(UTC) < end
    time.sleep(max(0.0, (end - datetime.now(UTC)).total_seconds()) + 0.01)
    for caller in callers:
        refused(ask(caller), 401, "invalid_api_key")
    assert not in_time or set(before) == {200}


@pytest.mark.parametrize(
    ("scopes", "method", "path", "status"),
    [
        (["read"], "POST", "/chat/completions", 403),
        (["read"], "GET", "/models", 403),
        (["invoke"], "GET", "/admin/versions", 403),
        (["read"], "POST", "/admin/rollback", 403),
        (["read"], "GET", "/admin/versions", 200),
        (["operate"], "POST", "/admin/keys", 403),
        (["operate"], "GET", "/admin/keys", 403),
        (["approve"], "POST", "/admin/traffic/config", 403),
        (["conduct"], "POST", "/admin/traffic/config", 403),
        (["invoke", "operate"], "DELETE", "/admin/keys/key_1", 403),
    ],
)
def test_a_key_opens_what_its_scopes_say(
    one: Relay, scopes: list[str], method: str, path: str, status: int
) -> None:
    """403 names the scope that is missing and those that are there."""
    made = make_key(one, scopes=scopes)
    answer = one.client(made["key"]).request(method, path)
    assert answer.status_code == status, answer.text
    if status == 403:
        error = refused(answer, 403, "insufficient_scope")
        assert scopes[0] in error["message"]


def test_a_key_may_be_for_some_models_only(one: Relay) -> None:
    """Other models are not there for it, neither to call nor in the list."""
    caller = one.client(make_key(one, models=["gpt-4.1"])["key"])
    served(ask(caller))
    refused(ask(caller, "claude-sonnet-4-5"), 404, "model_not_found")
    assert [model["id"] for model in caller.get("/models").json()["data"]] == ["gpt-4.1"]


def test_requests_per_minute_are_shared_by_the_workers(relay: Relay) -> None:
    """A key's limit is one limit, however many workers there are."""
    made = make_key(relay, requests_per_minute=10)
    callers = relay.client_of_each_worker(made["key"])
    answers = [ask(callers[turn % len(callers)]) for turn in range(16)]
    passed = [answer for answer in answers if answer.status_code == 200]
    assert 9 <= len(passed) <= 13
    error = refused(answers[-1], 429, "rate_limit_exceeded")
    assert error["message"].startswith("Too many requests")
    assert error["type"] == "requests"
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert int(answers[-1].headers["retry-after-ms"]) > 0


def test_tokens_per_minute_are_counted(one: Relay) -> None:
    """A key that has used up its tokens waits; the error says it is about tokens."""
    caller = one.client(make_key(one, tokens_per_minute=60)["key"])
    answers = [ask(caller) for _ in range(8)]
    assert answers[0].status_code == 200
    assert refused(answers[-1], 429, "rate_limit_exceeded")["type"] == "tokens"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"scopes": []}, "scopes"),
        ({"scopes": ["root"]}, "scopes"),
        ({"name": ""}, "name"),
        ({"requests_per_minute": 0}, "requests_per_minute"),
        ({"tokens_per_minute": -1}, "tokens_per_minute"),
        ({"tokens_per_minute": 10**40}, "tokens_per_minute"),
        ({"expires_at": "tomorrow"}, "expires_at"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_key_that_is_none_of_ours_is_not_made(one: Relay, fields: Any, param: str) -> None:
    """422 names the field and the value."""
    body = {"name": "caller", "scopes": ["invoke"], **fields}
    answer = one.client().post("/admin/keys", json=body)
    assert answer.status_code == 422, answer.text
    assert param in answer.json()["error"]["param"]
