"""`release`, `get`, `status`, `list`."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli
from tests.cli.fake_relay import FakeRelay

PLAN = "version_name: v2\nbase_version: stable\nconfig_overrides: {parameters: {temperature: 0}}\n"


def page(*releases: tuple[str, str]) -> dict[str, Any]:
    """A page of `GET /admin/releases`."""
    rows: list[dict[str, Any]] = [
        {"id": id_, "version": version, "state": "promoted", "reason": None, "cause": None,
         "revision": 1, "current_step": 3, "steps_percent": [10, 25, 50, 100], "labels": {},
         "created_at": "2026-01-02T03:04:05.000Z", "finished_at": None}
        for id_, version in releases
    ]  # fmt: skip
    return {"data": rows, "has_more": False}


def test_release_prints_the_id_alone_on_stdout(cli: Cli, relay: FakeRelay, tmp_path: Path) -> None:
    """What a script needs, the id, is all that stdout gets; the plan is sent as it was written."""
    (tmp_path / "plan.yaml").write_text(PLAN)
    relay.says("POST", "/v1/admin/releases", {"id": "rel_9", "state": "queued"}, status=201)
    result = cli("release", "plan.yaml")
    assert (result.code, result.out) == (0, "rel_9\n")
    assert "grayscale get rel_9 --watch" in result.err
    plan = relay.writes[0].body["plan"]
    assert plan["version_name"] == "v2"
    assert "judge" not in plan


def test_release_refuses_a_wrong_plan_before_it_calls(
    cli: Cli, relay: FakeRelay, tmp_path: Path
) -> None:
    """A plan with a mistake exits with 2, names line and column, and never reaches the relay."""
    (tmp_path / "plan.yaml").write_text(PLAN + "judge: {alhpa: 0.05}\n")
    result = cli("release", "plan.yaml")
    assert result.code == 2
    assert "plan.yaml:4:" in result.err
    assert "alpha" in result.err
    assert relay.seen == []


def test_release_dry_run_shows_the_request_and_sends_nothing(
    cli: Cli, relay: FakeRelay, tmp_path: Path
) -> None:
    """A dry run prints the write that it would make, without the key, and makes none."""
    (tmp_path / "plan.yaml").write_text(PLAN)
    result = cli("release", "plan.yaml", "--dry-run", "--json")
    shown = json.loads(result.out)
    assert result.code == 0
    assert (shown["dry_run"], shown["method"]) == (True, "POST")
    assert shown["body"]["plan"]["version_name"] == "v2"
    assert "gs_test" not in result.out
    assert relay.writes == []


def test_release_that_conflicts_exits_with_4(cli: Cli, relay: FakeRelay, tmp_path: Path) -> None:
    """A second release under `on_conflict: reject` is a conflict, told in one line."""
    (tmp_path / "plan.yaml").write_text(PLAN)
    relay.refuses("POST", "/v1/admin/releases", 409, "release_in_progress", "rel_1 is under way")
    result = cli("release", "plan.yaml")
    assert (result.code, result.out) == (4, "")
    assert result.err == "rel_1 is under way (release_in_progress)\n"


def test_release_watch_follows_to_the_end(
    cli: Cli, relay: FakeRelay, tmp_path: Path, record: dict[str, Any]
) -> None:
    """`--watch` prints each change and ends with the exit code of the release's end."""
    (tmp_path / "plan.yaml").write_text(PLAN)
    relay.says("POST", "/v1/admin/releases", {"id": "rel_1", "state": "queued"}, status=201)
    relay.says("GET", "/v1/admin/releases/rel_1",
               record | {"state": "rolled_back", "reason": "too many errors"})  # fmt: skip
    result = cli("release", "plan.yaml", "--watch")
    assert result.code == 1
    assert "Rolled back" in result.out
    assert "too many errors" in result.out


def test_get_shows_set_and_actual_weight(
    cli: Cli, relay: FakeRelay, record: dict[str, Any]
) -> None:
    """The tree has the words of `kubectl argo rollouts`, and each step on a line of its own."""
    relay.says("GET", "/v1/admin/releases/rel_1", record)
    result = cli("get", "rel_1")
    assert result.code == 0
    for expected in (
        "◌ Progressing (soaking)", "2/4", "SetWeight:     25 %", "ActualWeight:  24.6 %",
        "watched 95/900 s", "12 of 60 requests seen", "a person is asked first",
    ):  # fmt: skip
        assert expected in result.out


def test_get_says_what_is_not_on_record_yet(
    cli: Cli, relay: FakeRelay, record: dict[str, Any]
) -> None:
    """After an abort without the store nobody reads that the candidate has its weight."""
    relay.says("GET", "/v1/admin/releases/rel_1", record | {"braked": True})
    said = cli("get", "rel_1").out
    assert "SetWeight:     0 % (braked; 25 % on record)" in said
    assert "Brake:         no new request is served by it" in said


def test_get_does_not_call_healthy_what_was_taken_back(
    cli: Cli, relay: FakeRelay, record: dict[str, Any]
) -> None:
    """A promoted version without traffic is stable no more, and the message says why."""
    reason = "promoted, and taken back: aborted by ann"
    left = record | {"state": "promoted", "weight_percent": 0, "reason": reason}
    relay.says("GET", "/v1/admin/releases/rel_1", left)
    said = cli("get", "rel_1").out
    assert "Healthy" not in said
    assert "⟲ Stable no more (promoted)" in said
    assert reason in said


def test_get_says_who_sleeps_and_until_when(
    cli: Cli, relay: FakeRelay, record: dict[str, Any]
) -> None:
    """While a release soaks for long nobody conducts it, and that is as it should be."""
    asleep = {"flow_run_id": None, "fence": 2, "asleep_until": "2026-01-02T03:04:05.000Z"}
    changes = {"conductor": asleep, "waiting_run_id": "run-7"}
    relay.says("GET", "/v1/admin/releases/rel_1", record | changes)
    expected = "Conductor:     asleep until 2026-01-02T03:04:05.000Z (flow run run-7)"
    assert expected in cli("get", "rel_1").out


def test_get_json_is_the_record(cli: Cli, relay: FakeRelay, record: dict[str, Any]) -> None:
    """`--json` prints one JSON value and nothing else."""
    relay.says("GET", "/v1/admin/releases/rel_1", record)
    got = json.loads(cli("get", "rel_1", "--json").out)
    assert (got["id"], got["state"], got["steps"][1]["observed_percent"]) == (
        "rel_1", "soaking", 24.6,
    )  # fmt: skip


def test_get_by_version_name_takes_the_newest(
    cli: Cli, relay: FakeRelay, record: dict[str, Any]
) -> None:
    """A version name stands for its newest release."""
    relay.says("GET", "/v1/admin/releases", page(("rel_3", "v3"), ("rel_1", "v2"), ("rel_0", "v2")))
    relay.says("GET", "/v1/admin/releases/rel_1", record)
    assert json.loads(cli("get", "v2", "--json").out)["id"] == "rel_1"


def test_get_of_an_unknown_version_names_those_there_are(cli: Cli, relay: FakeRelay) -> None:
    """An unknown name is a usage error that lists the newest names."""
    relay.says("GET", "/v1/admin/releases", page(("rel_3", "v3")))
    result = cli("get", "v9")
    assert result.code == 2
    assert "no release of 'v9'; the newest are of: v3" in result.err


@pytest.mark.parametrize(
    ("state", "code"),
    [("promoted", 0), ("rolled_back", 1), ("failed", 1), ("rejected", 1), ("superseded", 1),
     ("awaiting_approval", 3), ("paused", 3)],
)  # fmt: skip
def test_status_maps_each_end_to_an_exit_code(
    cli: Cli, relay: FakeRelay, record: dict[str, Any], state: str, code: int
) -> None:
    """0 promoted, 1 ended otherwise, 3 a person is asked."""
    relay.says("GET", "/v1/admin/releases/rel_1", record)
    relay.says("GET", "/v1/admin/releases/rel_1/wait", record | {"state": state})
    assert cli("status", "rel_1").code == code


def test_status_goes_on_waiting_after_the_decision(
    cli: Cli, relay: FakeRelay, record: dict[str, Any]
) -> None:
    """A gate that was approved a moment ago asks nobody any more, whatever the state still says."""
    approved = record | {"state": "awaiting_approval", "gate": {"state": "approved"}}
    relay.says("GET", "/v1/admin/releases/rel_1", approved)
    relay.says("GET", "/v1/admin/releases/rel_1/wait", record | {"state": "promoted"})
    assert cli("status", "rel_1").code == 0
    assert "Decided already" in cli("get", "rel_1").err


def test_status_with_timeout_0_looks_once(
    cli: Cli, relay: FakeRelay, record: dict[str, Any]
) -> None:
    """When time is up in a release that goes on, the exit code is 1 and stderr says why."""
    relay.says("GET", "/v1/admin/releases/rel_1", record)
    result = cli("status", "rel_1", "--timeout", "0")
    assert result.code == 1
    assert "set 25 %" in result.out
    assert "after 0 s" in result.err


def test_list_shows_one_line_per_release(cli: Cli, relay: FakeRelay) -> None:
    """The list has a head and a line per release, in the relay's order."""
    relay.says("GET", "/v1/admin/releases", page(("rel_3", "v3"), ("rel_1", "v2")))
    lines = cli("list").out.splitlines()
    assert lines[0].split() == ["VERSION", "RELEASE", "STATE", "STEP", "CREATED", "REASON"]
    assert [line.split()[:4] for line in lines[1:]] == [
        ["v3", "rel_3", "promoted", "4/4"], ["v2", "rel_1", "promoted", "4/4"],
    ]  # fmt: skip


def test_no_relay_exits_with_5(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a relay the exit code is 5, and stderr says how to start one."""
    monkeypatch.setenv("GRAYSCALE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("GRAYSCALE_API_KEY", "gs_test")
    result = cli("list")
    assert result.code == 5
    assert "grayscale up" in result.err


def test_no_key_is_a_usage_error(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key in the environment or the data directory, stderr says where one is looked for."""
    monkeypatch.delenv("GRAYSCALE_API_KEY", raising=False)
    monkeypatch.delenv("GRAYSCALE_DATA_DIR", raising=False)
    result = cli("list")
    assert result.code == 2
    assert "admin.key" in result.err


def test_the_key_file_of_the_data_directory_is_used(
    cli: Cli, relay: FakeRelay, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where GRAYSCALE_API_KEY is not set, `.grayscale/admin.key` is the key."""
    monkeypatch.delenv("GRAYSCALE_API_KEY")
    (tmp_path / ".grayscale").mkdir()
    (tmp_path / ".grayscale/admin.key").write_text("gs_from_file\n")
    relay.says("GET", "/v1/admin/releases", page())
    assert cli("list").code == 0
    assert relay.seen[0].headers["authorization"] == "Bearer gs_from_file"


def test_a_wrong_key_says_what_to_set(cli: Cli, relay: FakeRelay) -> None:
    """A 401 is a usage error that names the two places a key comes from."""
    relay.refuses("GET", "/v1/admin/releases", 401, "invalid_api_key", "Authentication failed")
    result = cli("list")
    assert result.code == 2
    assert "GRAYSCALE_API_KEY" in result.err
