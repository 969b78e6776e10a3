"""`approve`, `reject`, `pause`, `resume`, `abort`, `retry`, `promote`."""

import json
from typing import Any

import pytest

from tests.cli.conftest import Cli
from tests.cli.fake_relay import FakeRelay

RELEASE = "/v1/admin/releases/rel_1"


@pytest.mark.parametrize(
    ("command", "verb", "body"),
    [
        (["approve", "rel_1", "--note", "fine"], "approve", {"step": 1, "note": "fine"}),
        (["reject", "rel_1"], "reject", {"step": 1, "note": ""}),
        (["pause", "rel_1", "--at-stable"], "pause", {"at_stable": True, "note": ""}),
        (["resume", "rel_1"], "resume", {"note": ""}),
        (["abort", "rel_1", "--note", "ugly"], "abort", {"note": "ugly"}),
        (["retry", "rel_1"], "retry", {"note": ""}),
        (["promote", "rel_1"], "promote", {"full": False, "note": ""}),
        (["promote", "rel_1", "--full"], "promote", {"full": True, "note": ""}),
    ],
)
def test_each_verb_is_one_call(
    cli: Cli,
    relay: FakeRelay,
    record: dict[str, Any],
    *,
    command: list[str],
    verb: str,
    body: dict[str, Any],
) -> None:
    """A decision is one POST, and its answer is shown on one line."""
    relay.says("GET", RELEASE, record)
    relay.says("POST", f"{RELEASE}/{verb}", record)
    result = cli(*command)
    assert result.code == 0
    assert result.out.startswith("v2 rel_1: ◌ Progressing (soaking)")
    assert [(seen.path, seen.body) for seen in relay.writes] == [(f"{RELEASE}/{verb}", body)]


def test_abort_looks_at_nothing_before_and_says_what_is_not_on_record(
    cli: Cli, relay: FakeRelay
) -> None:
    """With its store gone the relay still takes the candidate away: one call, and exit code 0."""
    answer = {"id": "rel_1", "recorded": False, "message": "Done: no new request. Not on record."}
    relay.says("POST", f"{RELEASE}/abort", answer, status=202)
    result = cli("abort", "rel_1")
    assert (result.code, result.out) == (0, "")
    assert "Not on record" in result.err
    assert json.loads(cli("abort", "rel_1", "--json").out)["recorded"] is False


def test_a_relay_that_cannot_write_did_answer(
    cli: Cli, relay: FakeRelay, record: dict[str, Any]
) -> None:
    """Nobody is told to start a relay that says why it cannot; exit code 5 all the same."""
    relay.says("GET", RELEASE, record)
    locked = {"error": {"code": "store_unavailable", "message": "database is locked"}}
    relay.says("POST", f"{RELEASE}/approve", locked, status=503)
    result = cli("approve", "rel_1")
    assert result.code == 5
    assert "database is locked" in result.err
    assert "the relay cannot do that now" in result.err
    assert "grayscale up" not in result.err


def test_approve_step_is_the_number_that_get_shows(
    cli: Cli, relay: FakeRelay, record: dict[str, Any]
) -> None:
    """`--step 1` means the first step, so that a late click does not open the next gate."""
    relay.says("GET", RELEASE, record)
    relay.refuses("POST", f"{RELEASE}/approve", 409, "step_moved_on", "rel_1 waits at 25 % now")
    result = cli("approve", "rel_1", "--step", "1")
    assert relay.writes[0].body["step"] == 0
    assert (result.code, result.out) == (4, "")
    assert "step_moved_on" in result.err


def test_approve_before_the_first_step_is_step_null(
    cli: Cli, relay: FakeRelay, record: dict[str, Any]
) -> None:
    """`--step 0` is the gate in front of the first step."""
    relay.says("GET", RELEASE, record)
    relay.says("POST", f"{RELEASE}/approve", record)
    assert cli("approve", "rel_1", "--step", "0").code == 0
    assert relay.writes[0].body["step"] is None


def test_approve_of_a_step_that_the_plan_does_not_have(
    cli: Cli, relay: FakeRelay, record: dict[str, Any]
) -> None:
    """A step beyond the plan is a usage error, and nothing is sent."""
    relay.says("GET", RELEASE, record)
    result = cli("approve", "rel_1", "--step", "5")
    assert (result.code, relay.writes) == (2, [])
    assert "v2 has 4 steps" in result.err


def test_abort_dry_run_sends_nothing(cli: Cli, relay: FakeRelay, record: dict[str, Any]) -> None:
    """A dry run of a decision looks the release up and shows the call."""
    relay.says("GET", RELEASE, record)
    result = cli("abort", "rel_1", "--dry-run")
    assert (result.code, relay.writes) == (0, [])
    assert result.out.startswith(f"POST {relay.url}/admin/releases/rel_1/abort")


def test_json_is_the_record_after_the_decision(
    cli: Cli, relay: FakeRelay, record: dict[str, Any]
) -> None:
    """`--json` prints the record that the relay answered with."""
    relay.says("GET", RELEASE, record)
    relay.says("POST", f"{RELEASE}/pause", record | {"state": "paused"})
    assert json.loads(cli("pause", "rel_1", "--json").out)["state"] == "paused"
