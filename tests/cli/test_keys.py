"""`keys create|list|revoke`."""

import json
from typing import Any

from tests.cli.conftest import Cli
from tests.cli.fake_relay import FakeRelay

KEY: dict[str, Any] = {
    "id": "key_1", "name": "ci", "prefix": "gs_abcd", "last4": "wxyz", "scopes": ["invoke"],
    "models": None, "requests_per_minute": 60, "tokens_per_minute": None, "expires_at": None,
    "created_at": "2026-01-02T03:04:05.000Z", "created_by": "admin", "revoked_at": None,
}  # fmt: skip


def test_create_prints_the_key_alone_on_stdout(cli: Cli, relay: FakeRelay) -> None:
    """The key is the data; that it is shown once is talk. Limits not given are not sent."""
    relay.says("POST", "/v1/admin/keys", KEY | {"key": "gs_secret"}, status=201)
    result = cli("keys", "create", "ci", "--scope", "read", "--requests-per-minute", "60")
    assert (result.code, result.out) == (0, "gs_secret\n")
    assert "not shown again" in result.err
    assert relay.writes[0].body == {"name": "ci", "scopes": ["read"], "requests_per_minute": 60}


def test_list_shows_no_secret(cli: Cli, relay: FakeRelay) -> None:
    """A key is recognised by its prefix and last four characters."""
    relay.says("GET", "/v1/admin/keys", {"data": [KEY]})
    assert "gs_abcd…wxyz" in cli("keys", "list").out
    assert json.loads(cli("keys", "list", "--json").out) == {"data": [KEY]}


def test_revoke_deletes(cli: Cli, relay: FakeRelay) -> None:
    """Revoking is one DELETE; an unknown id is a usage error."""
    relay.says("DELETE", "/v1/admin/keys/key_1", {})
    assert cli("keys", "revoke", "key_1").out == "key_1\n"
    relay.refuses("DELETE", "/v1/admin/keys/key_2", 404, "key_not_found", "no key_2")
    assert cli("keys", "revoke", "key_2").code == 2
