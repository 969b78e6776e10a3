"""`explain` and `replay`."""

import json
from pathlib import Path
from typing import Any

import pytest

from grayscale.judge import Interval, start
from grayscale.judge.recorded import interval_json, look_once, verdict_json
from grayscale.judge.values import Arm
from grayscale.plan import plan_from_mapping
from grayscale.plan.guard_rails import settings_of
from tests.cli.conftest import Cli
from tests.cli.fake_relay import FakeRelay

ONE = "/v1/admin/releases/rel_1"
EVENTS = [
    {"type": "release.created", "id": "evt_1", "timestamp": "2026-01-02T03:04:05.000Z",
     "data": {"actor": {"name": "ann", "via": "api", "verified": True}}},
    {"type": "release.rolling_back", "id": "evt_2", "timestamp": "2026-01-03T00:00:00.000Z",
     "data": {"actor": {"name": "guard", "via": "guard"}, "reason": "too many errors"}},
]  # fmt: skip


def rows(*, failing_from: int) -> list[dict[str, Any]]:
    """Twelve intervals as they are recorded, judged by the default plan."""
    state, found = start(settings_of(plan_from_mapping({"version_name": "v2"}))), []
    for number in range(1, 13):
        candidate = Arm(requests=40, errors=6 if number >= failing_from else 0)
        interval = Interval(
            id=number, seconds=10.0, step=1, weight_percent=25.0, step_seconds=10.0 * number,
            soak_done=False, stable=Arm(requests=360, errors=2), candidate=candidate,
        )  # fmt: skip
        state, verdict = look_once(state, interval)
        at = f"2026-01-02T03:{4 + number:02}:00.000Z" if number < 6 else "2026-01-02T03:20:00.000Z"
        seen = {"id": number, "at": at, "config_id": "config-9", "stopped_by": None}
        found.append(
            {**seen, "interval": interval_json(interval), "verdict": verdict_json(verdict)}
        )
    return found


def pages(relay: FakeRelay, path: str, found: list[dict[str, Any]], *, size: int) -> None:
    """Hand a list out in pages."""

    def page(request: Any) -> tuple[int, Any]:
        query = dict(pair.split("=") for pair in request.query.split("&"))
        numbers = [str(row["id"]) for row in found]
        begin = numbers.index(query["after"]) + 1 if "after" in query else 0
        data = found[begin : begin + size]
        return 200, {"data": data, "has_more": begin + size < len(found)}

    relay.answers["GET", path] = page


@pytest.fixture
def recorded(relay: FakeRelay, record: dict[str, Any]) -> FakeRelay:
    """A release that was rolled back at its second step, in pages of five intervals."""
    ended = {"state": "rolled_back", "cause": "candidate", "weight_percent": 0,
             "reason": "too many errors", "finished_at": "2026-01-03T00:00:00.000Z"}  # fmt: skip
    relay.says("GET", ONE, record | ended)
    pages(relay, f"{ONE}/events", EVENTS, size=1)
    pages(relay, f"{ONE}/intervals", rows(failing_from=4), size=5)
    return relay


def test_explain_begins_with_the_end(cli: Cli, recorded: FakeRelay) -> None:
    """The first lines say how it ended and why; times stand under their day; nothing is missing."""
    result = cli("explain", "rel_1")
    lines = result.out.splitlines()
    assert result.code == 0
    assert lines[0].startswith("v2 was rolled back at 2026-01-03 00:00:00 UTC")
    assert lines[1] == "too many errors"
    assert lines[2].startswith("Gate error")
    assert lines[3] == "The same plan once more: grayscale retry rel_1"
    assert "  ✖ 25 %" in result.out
    told = lines[lines.index("What happened (UTC)") + 1 :]
    created = "03:04:05  ann created the release: 10 % → 25 % → 50 % → 100 %, 15 min at each."
    ended = "00:00:00  guard took the traffic back."
    lines = [line.strip() for line in told[:4]]
    assert lines == ["2026-01-02", created, "2026-01-03", ended]
    assert [seen.query for seen in recorded.seen if seen.path.endswith("intervals")] == [
        "limit=500", "after=5&limit=500", "after=10&limit=500",
    ]  # fmt: skip


def test_explain_json_is_one_value(cli: Cli, recorded: FakeRelay) -> None:
    """`--json` holds the same story in fields."""
    told = json.loads(cli("explain", "rel_1", "--json").out)
    assert (told["state"], told["why"]) == ("rolled_back", "too many errors")
    assert told["evidence"]["crossed"] == told["evidence"]["points"][-1]["interval"]
    assert [step["state"] for step in told["steps"]] == ["done", "ended"]
    assert len(told["timeline"]) == 2


def test_replay_reproduces_what_is_recorded(cli: Cli, recorded: FakeRelay) -> None:
    """Without another plan every verdict comes out as recorded, and the exit code is 0."""
    result = cli("replay", "rel_1")
    assert (result.code, result.out) == (
        0, "12 intervals judged again: exactly as recorded.\n",
    )  # fmt: skip
    assert json.loads(cli("replay", "rel_1", "--json").out)["identical"] is True


def test_replay_that_does_not_reproduce_exits_with_1(
    cli: Cli, relay: FakeRelay, recorded: FakeRelay
) -> None:
    """Verdicts that today's judge does not give are shown where they differ."""
    forged = rows(failing_from=4)
    forged[0]["verdict"]["outcome"] = "harmful"
    pages(relay, f"{ONE}/intervals", forged, size=5)
    result = cli("replay", "rel_1")
    assert result.code == 1
    assert "not as recorded" in result.out
    assert "the judge of this version is not the one that judged then" in result.err


def test_replay_by_another_plan(cli: Cli, recorded: FakeRelay, tmp_path: Path) -> None:
    """The first line says what it would have done and what is on record; exit code 0."""
    (tmp_path / "lax.yaml").write_text(
        "version_name: v2\n"
        "health_check: {error_threshold_percent: 90}\n"
        "judge: {alpha: 0.000000001, interval_seconds: 30, count_pinned: true}\n"
        "auto_promote: {step_duration_minutes: 5}\n"
    )
    result = cli("replay", "rel_1", "--plan", "lax.yaml")
    lines = result.out.splitlines()
    assert result.code == 0
    assert " would have rolled back at 03:20:00, " in lines[0]
    assert " later, at 25 %, by gate errors; recorded: rolled back at " in lines[0]
    assert "INTERVALS  FROM" in result.out
    assert result.out.count("recorded") >= 4  # the three things that a replay cannot show


def test_replay_refuses_a_wrong_plan(cli: Cli, relay: FakeRelay, tmp_path: Path) -> None:
    """A plan with a mistake is a usage error before anything is read."""
    (tmp_path / "plan.yaml").write_text("version_name: v2\njudge: {alhpa: 0.05}\n")
    assert cli("replay", "rel_1", "--plan", "plan.yaml").code == 2
    assert relay.seen == []


def test_get_shows_what_stopped_the_clock(
    cli: Cli, relay: FakeRelay, record: dict[str, Any]
) -> None:
    """A step's line tells what stopped its soak and for how long; the gate's text stands once."""
    record["steps"][1]["unwatched"] = {"split": 30.0, "paused": 120.0}
    why = "9 of 60 requests. Wait about 3 h, raise the weight, or reject."
    gate = {"state": "waiting", "why": why, "deadline": "2026-01-03T03:04:05.000Z"}
    asked = {"state": "awaiting_approval", "reason": why, "gate": gate}
    relay.says("GET", ONE, record | asked)
    shown = cli("get", "rel_1").out
    assert "clock stood still: paused 2 m 0 s, the split was not verified 30 s" in shown
    assert shown.count(why) == 1
