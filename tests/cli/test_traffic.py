"""`rollback`, `undo`, `split`."""

import json
from typing import Any

import pytest

from tests.cli.conftest import Cli
from tests.cli.fake_relay import FakeRelay

ROLLBACK: dict[str, Any] = {
    "rollback_id": "rb_1", "config_id": "config-3", "previous_config_id": "config-2",
    "traffic_split": {"stable": 100}, "status": {"state": "switching"},
}  # fmt: skip
CONFIG: dict[str, Any] = {
    "config_id": "config-3", "previous_config_id": "config-2",
    "traffic_split": {"stable": 90, "beta": 10}, "aliases": {},
    "workers": {"total": 2, "applied": 2, "lagging": []},
}  # fmt: skip


def test_rollback_goes_to_stable_with_its_reason(cli: Cli, relay: FakeRelay) -> None:
    """A rollback names its target and reason in the headers of API.md."""
    relay.says("POST", "/v1/admin/rollback", ROLLBACK)
    result = cli("rollback", "--reason", "p95 doubled")
    assert (result.code, result.out) == (0, "rb_1\n")
    assert "switching: new requests go to stable 100 % (config-3)" in result.err
    seen = relay.writes[0]
    assert seen.headers["x-rollback-target"] == "stable"
    assert seen.headers["x-rollback-reason"] == "p95 doubled"
    assert seen.body == {"force": False, "drain_connections": True}


def test_rollback_needs_a_reason(cli: Cli, relay: FakeRelay) -> None:
    """Without --reason nothing happens: it is what others read at 2 a.m."""
    result = cli("rollback")
    assert (result.code, relay.seen) == (2, [])
    assert "--reason" in result.err


def test_rollback_to_a_config(cli: Cli, relay: FakeRelay) -> None:
    """`--to config-…` restores split and aliases of that config."""
    relay.says("POST", "/v1/admin/rollback", ROLLBACK)
    assert cli("rollback", "--to", "config-1", "--reason", "r").code == 0
    body = relay.writes[0].body
    assert (body["target_type"], body["config_id"]) == ("config_id", "config-1")


def test_gradual_rollback(cli: Cli, relay: FakeRelay) -> None:
    """`--gradual 10/30` is 10 % every 30 s."""
    relay.says("POST", "/v1/admin/rollback", ROLLBACK | {"status": {"state": "gradual"}})
    result = cli("rollback", "--reason", "r", "--gradual", "10/30")
    assert relay.writes[0].body["gradual"] == {"step_size": 10, "step_delay_seconds": 30}
    assert "gradual" in result.err


@pytest.mark.parametrize("text", ["10", "ten/30", "10/", "/"])
def test_gradual_in_other_words_is_a_usage_error(cli: Cli, relay: FakeRelay, text: str) -> None:
    """What is not SIZE/SECONDS is refused with the way to write it."""
    result = cli("rollback", "--reason", "r", "--gradual", text)
    assert (result.code, relay.seen) == (2, [])
    assert "SIZE/SECONDS" in result.err


def test_nothing_to_roll_back_is_a_conflict(cli: Cli, relay: FakeRelay) -> None:
    """409 exits with 4 and prints what the relay says."""
    relay.refuses("POST", "/v1/admin/rollback", 409, "nothing_to_roll_back", "previous is v1")
    result = cli("rollback", "--reason", "r")
    assert (result.code, result.err) == (4, "previous is v1 (nothing_to_roll_back)\n")


def test_undo_goes_to_previous(cli: Cli, relay: FakeRelay) -> None:
    """`undo` takes the last promotion back."""
    relay.says("POST", "/v1/admin/rollback", ROLLBACK)
    assert cli("undo").code == 0
    assert relay.writes[0].headers["x-rollback-target"] == "previous"


def test_split_set_sends_the_weights(cli: Cli, relay: FakeRelay) -> None:
    """Weights go as numbers, with the reason; stderr says how to go back."""
    relay.says("POST", "/v1/admin/traffic/config", CONFIG)
    result = cli("split", "set", "stable=87.5", "beta=12.5", "--reason", "by hand")
    assert result.code == 0
    assert relay.writes[0].body == {
        "traffic_split": {"stable": 87.5, "beta": 12.5}, "reason": "by hand",
    }  # fmt: skip
    assert "2 of 2 workers" in result.err
    assert "grayscale rollback --to config-2" in result.err


@pytest.mark.parametrize("weights", [["stable"], ["stable=x"], ["a=50", "a=50"]])
def test_split_set_in_other_words_is_a_usage_error(
    cli: Cli, relay: FakeRelay, weights: list[str]
) -> None:
    """What is not NAME=PERCENT, once per name, is refused before any call."""
    result = cli("split", "set", *weights)
    assert (result.code, relay.seen) == (2, [])


def test_split_get_shows_set_and_actual(cli: Cli, relay: FakeRelay) -> None:
    """One line per version: what is set, and what was seen."""
    version = {"version": "v1", "aliases": ["stable"], "intended_percent": 90.0,
               "observed_percent": None, "requests": 0, "pinned": 0}  # fmt: skip
    answer = {"window_seconds": 60, "from": "a", "as_of": "b", "workers": 1,
              "config_id": "config-3", "versions": [version]}  # fmt: skip
    relay.says("GET", "/v1/admin/traffic/distribution", answer)
    result = cli("split", "get", "--window", "60")
    assert relay.seen[0].query == "window_seconds=60"
    assert result.out.splitlines()[1].split() == ["v1", "stable", "90", "%", "-", "0", "0"]
    assert json.loads(cli("split", "get", "--json").out) == answer


def test_split_get_shows_what_is_braked(cli: Cli, relay: FakeRelay) -> None:
    """A version that was taken out of traffic is not shown with the weight of the record alone."""
    version = {"version": "v2", "aliases": [], "intended_percent": 10.0,
               "observed_percent": 3.0, "requests": 9, "pinned": 0}  # fmt: skip
    answer = {"window_seconds": 60, "from": "a", "as_of": "b", "workers": 1,
              "config_id": "config-3", "versions": [version], "braked": ["v2"]}  # fmt: skip
    relay.says("GET", "/v1/admin/traffic/distribution", answer)
    assert "0 % (braked; 10 % on record)" in cli("split", "get").out
