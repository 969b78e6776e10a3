"""Nothing that a caller can put into a field makes the relay fail."""

import json
from typing import Any

import pytest

from tests.e2e.processes import Relay
from tests.e2e.shapes import new_name

ODD: list[Any] = [None, True, -1, 10**40, 1e308, "", "x" * 3000, "\x00", "\ud83d", [], ["x"], {}]
WRITES: dict[str, list[str]] = {
    "/admin/versions": ["name", "base_version", "config_overrides"],
    "/admin/traffic/config": ["traffic_split", "reason"],
    "/admin/rollback": ["force", "drain_timeout_seconds", "target_type", "gradual"],
    "/admin/keys": ["name", "scopes", "models", "requests_per_minute", "expires_at"],
    "/admin/releases": ["plan", "trigger"],
}


def bodies(path: str, name: str) -> list[bytes]:
    """A good body of each call, with something odd in one field."""
    plan = {"version_name": new_name()}
    good: dict[str, dict[str, Any]] = {
        "/admin/versions": {"name": new_name(), "base_version": "stable", "config_overrides": {}},
        "/admin/traffic/config": {"traffic_split": {"stable": 100}},
        "/admin/rollback": {},
        "/admin/keys": {"name": "odd", "scopes": ["read"]},
        "/admin/releases": {"plan": plan},
    }
    return [json.dumps({**good[path], name: odd}).encode() for odd in ODD]


@pytest.mark.parametrize(("path", "name"), [(p, name) for p in WRITES for name in WRITES[p]])
def test_an_odd_value_is_answered(one: Relay, path: str, name: str) -> None:
    """It is taken or refused with a reason; neither a 500 nor a lost connection."""
    caller = one.client()
    for body in bodies(path, name):
        answer = caller.post(path, content=body)
        assert answer.status_code < 500, f"{body[:80]!r}: {answer.text}"
        if answer.status_code >= 400:
            assert set(answer.json()["error"]) == {"code", "message", "type", "param"}


@pytest.mark.parametrize("name", ["messages", "stream", "user", "safety_identifier", "max_tokens"])
def test_an_odd_value_on_its_way_to_a_model(one: Relay, name: str) -> None:
    """The relay reads what it must, and leaves the rest to the provider."""
    caller = one.client()
    for odd in ODD:
        body = json.dumps({"model": "gpt-4.1", "messages": [], name: odd}).encode()
        answer = caller.post("/chat/completions", content=body)
        assert answer.status_code in {200, 400}, f"{odd!r:.80}: {answer.text}"


@pytest.mark.parametrize(
    "headers",
    [
        {"Idempotency-Key": b"x" * 300},
        {"If-Match": b"\xff"},
        {"X-Rollback-Target": b"\xe9"},
        {"X-Rollback-Reason": b"\xff\xfe"},
        {"X-Relay-Version": b"\xff"},
        {"X-Relay-Sticky-Key": b"\xff" * 400},
        {"X-Request-Id": b"\xff"},
        {"X-Relay-Fence": b"9" * 50},
    ],
    ids=lambda headers: next(iter(headers)),
)
def test_an_odd_header_is_answered(one: Relay, headers: dict[str, bytes]) -> None:
    """Bytes that are no text, and text that is too long, end in an answer."""
    caller = one.client()
    for path in ("/chat/completions", "/admin/rollback", "/admin/releases/rel_none/renew"):
        content = b'{"model": "gpt-4.1", "messages": []}'
        given = {name.encode(): value for name, value in headers.items()}
        answer = caller.post(path, content=content, headers=list(given.items()))
        assert answer.status_code < 500, answer.text
