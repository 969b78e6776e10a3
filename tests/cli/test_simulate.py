"""Rules of `simulate`: answers without a server, in words or JSON; refuses worlds that cannot be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Cli

PLAN = """\
version_name: v2
config_overrides: {parameters: {temperature: 0}}
auto_promote: {promotion_steps: [50, 100], step_duration_seconds: 60}
bake: {duration_seconds: 30}
"""


@pytest.fixture
def plan(cli: Cli) -> str:
    """A quick plan in the present folder."""
    Path("plan.yaml").write_text(PLAN, encoding="utf-8")
    return "plan.yaml"


def test_a_good_candidate_is_promoted_in_the_simulation(cli: Cli, plan: str) -> None:
    """The table says how releases end, what they take, and what each step needs."""
    ended = cli("simulate", plan, "--rollouts", "5")
    assert ended.code == 0
    assert ended.out.startswith(
        "plan.yaml: 5 releases, scenario healthy, 10 requests per second; stable fails 1 %, the "
        "candidate 1 %; seed 1\n"
    )
    for words in ("rolled back for no reason", "asks a person", "19 of 20 within", "bake"):
        assert words in ended.out
    assert "time until it is found" not in ended.out
    assert ended.err == ""


def test_a_bad_candidate_is_found_in_the_simulation(cli: Cli, plan: str) -> None:
    """Where there is harm, the table says how soon it is found and how often it is missed."""
    ended = cli("simulate", plan, "--rollouts", "5", "--scenario", "outage")
    assert "the candidate 100 %" in ended.out
    assert "missed: promoted although worse" in ended.out
    assert "time until it is found" in ended.out


def test_json_holds_all_numbers(cli: Cli, plan: str) -> None:
    """What was asked for, probabilities with their interval, times, and every step."""
    arguments = ("--rollouts", "6", "--scenario", "errors", "--json", "--seed", "3")
    options = ("--candidate-error-rate", "40", "--stable-error-rate", "0.5", "--rps", "20")
    ended = cli("simulate", plan, *arguments, *options)
    answer = json.loads(ended.out)
    asked = ("version", "scenario", "rps", "stable_error_rate", "candidate_error_rate", "seed")
    assert [answer[name] for name in asked] == ["v2", "errors", 20.0, 0.5, 40.0, 3]
    assert answer["found"]["count"] == answer["rollouts"] == 6
    assert answer["missed_detection"]["count"] == 0
    assert 0 < answer["missed_detection"]["high"] < 1
    assert 0 < answer["detection_seconds"]["p50"] <= 22
    assert answer["failed_requests"]["p50"] >= answer["failures_seen_by_callers"]["p50"]
    assert [step["name"] for step in answer["steps"]] == ["50 %", "100 %", "bake"]


def test_the_same_seed_gives_the_same_answer(cli: Cli, plan: str) -> None:
    """To the byte; another seed gives another one."""
    first, again, other = (
        cli("simulate", plan, "--rollouts", "5", "--json", "--seed", seed).out
        for seed in ("1", "1", "2")
    )
    assert first == again
    assert first != other


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--rps", "0", "--rps: 0 is out of bounds; give a number above 0 to 10000"),
        ("--rps", "nan", "--rps: nan is out of bounds"),
        ("--rps", "inf", "--rps: inf is out of bounds"),
        ("--stable-error-rate", "101", "give a number from 0 to 100"),
        ("--candidate-error-rate", "-1", "--candidate-error-rate: -1 is out of bounds"),
        ("--latency-shift", "0", "--latency-shift: 0 is out of bounds"),
        ("--rollouts", "0", "--rollouts: 0 is out of bounds; give a number from 1"),
        ("--seed", "-1", "--seed: -1 is out of bounds"),
        ("--scenario", "flaping", "'flaping' is not one of"),
        ("--rps", "many", "Invalid value for '--rps'"),
    ],
)
def test_wrong_numbers_are_refused(cli: Cli, plan: str, option: str, value: str, says: str) -> None:
    """Each names the option, the value and what to give instead; the exit code is 2."""
    ended = cli("simulate", plan, option, value)
    assert ended.code == 2
    assert says in ended.err
    assert ended.out == ""


def test_wrong_plans_are_refused_as_by_lint(cli: Cli) -> None:
    """A plan that cannot be read cannot be tried."""
    Path("wrong.yaml").write_text("version_name: v2\nbakes: {}\n", encoding="utf-8")
    ended = cli("simulate", "wrong.yaml")
    assert ended.code == 2
    assert "wrong.yaml:2" in ended.err


def test_lint_can_be_told_the_traffic(cli: Cli, plan: str) -> None:
    """`--rps` shows what the soaks are too short to see, without a relay."""
    ended = cli("lint", plan, "--rps", "2")
    assert ended.code == 0
    assert "at 2 requests per second the step of 50 % sees 60 of the about 130" in ended.err
    assert cli("lint", plan, "--rps", "2", "--strict").code == 1
    assert cli("lint", plan, "--rps", "200", "--strict").code == 0
    assert cli("lint", plan, "--rps", "-1").code == 2
