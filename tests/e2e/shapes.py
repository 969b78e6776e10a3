"""What API.md promises about answers, to be checked wherever one is at hand."""

from collections.abc import Mapping
from datetime import datetime
from itertools import count
from typing import Any

import httpx

from tests.e2e.processes import Relay

_names = count(1)
_TYPES = {429: {"requests", "tokens"}}


def refused(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The error of a refusal by the relay, whose shape is checked whole."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-relay-error-source"] == "relay"
    assert answer.headers["x-request-id"]
    error: dict[str, Any] = answer.json()["error"]
    assert set(error) == {"code", "message", "type", "param"}
    assert error["code"] == code
    expected = {"server_error"} if status >= 500 else {"invalid_request_error"}
    assert error["type"] in _TYPES.get(status, expected)
    can_retry = status >= 500 or status in {408, 429}
    assert answer.headers.get("x-should-retry") == (None if can_retry else "false")
    return error


def served(answer: httpx.Response) -> httpx.Response:
    """A proxied answer, with the headers that every one has."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-relay-version"]
    assert answer.headers["x-relay-config-id"].startswith("config-")
    assert answer.headers["x-request-id"]
    timing = answer.headers["server-timing"]
    assert timing.startswith("relay;dur=")
    assert "upstream;dur=" in timing
    return answer


def is_time(text: str) -> bool:
    """Whether a text is a moment in RFC 3339, in UTC."""
    return text.endswith("Z") and datetime.fromisoformat(text).utcoffset() is not None


def by_alias(versions: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The versions of a metrics answer or a list, under their aliases."""
    return {alias: version for version in versions for alias in version["aliases"]}


def by_name(versions: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The versions of a metrics answer, under their names."""
    return {version["version"]: version for version in versions}


def new_name() -> str:
    """A version name that was not used before."""
    return f"v{next(_names)}-test"


def make_candidate(
    relay: Relay, overrides: Mapping[str, Any] | None = None, *, percent: float = 0
) -> str:
    """A new version, which is `beta` from now on, with this weight; returns its name."""
    name = new_name()
    changed = overrides or {"models": {"gpt-4.1": {"model": f"gpt-4.1-for-{name}"}}}
    body = {"name": name, "base_version": "stable", "config_overrides": changed}
    with relay.client() as admin:
        made = admin.post("/admin/versions", json=body)
        assert made.status_code == 201, made.text
        if percent:
            split = {"stable": 100 - percent, "beta": percent}
            done = admin.post("/admin/traffic/config", json={"traffic_split": split})
            assert done.status_code == 200, done.text
    return name
