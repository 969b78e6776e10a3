"""`init` and `lint`."""

import json
from pathlib import Path

from grayscale.settings import load_settings
from tests.cli.conftest import Cli
from tests.cli.fake_relay import FakeRelay

PLAN = "version_name: v2\nbase_version: stable\nconfig_overrides: {parameters: {temperature: 0}}\n"


def test_init_writes_files_that_the_other_commands_accept(cli: Cli, tmp_path: Path) -> None:
    """What `init` writes is read by `lint` without a word, and by the relay."""
    result = cli("init")
    assert (result.code, result.out.split()) == (0, ["grayscale.yaml", "release.yaml"])
    checked = cli("lint", "release.yaml", "--strict")
    assert (checked.code, checked.err) == (0, "")
    settings = load_settings(tmp_path / "grayscale.yaml", {"OPENAI_API_KEY": "sk-x"})
    assert list(settings.models) == ["gpt-4.1"]


def test_init_overwrites_only_when_forced(cli: Cli, tmp_path: Path) -> None:
    """A file that is there is kept, and nothing else is written, unless --force."""
    (tmp_path / "release.yaml").write_text("mine")
    assert cli("init").code == 2
    assert (tmp_path / "release.yaml").read_text() == "mine"
    assert not (tmp_path / "grayscale.yaml").exists()
    assert cli("init", "--force").code == 0
    assert (tmp_path / "release.yaml").read_text() != "mine"


def test_init_dry_run_writes_nothing(cli: Cli, tmp_path: Path) -> None:
    """A dry run names the files and leaves the folder empty."""
    assert json.loads(cli("init", "--dry-run", "--json").out)["dry_run"] is True
    assert list(tmp_path.iterdir()) == []


def test_lint_accepts_and_sums_up(cli: Cli, tmp_path: Path) -> None:
    """A good plan is summed up on stdout."""
    (tmp_path / "plan.yaml").write_text(PLAN)
    result = cli("lint", "plan.yaml")
    assert (result.code, result.out) == (
        0, "plan.yaml: v2 on stable: 10 % → 25 % → 50 % → 100 %\n",
    )  # fmt: skip


def test_lint_merges_files(cli: Cli, tmp_path: Path) -> None:
    """Several files make one plan."""
    (tmp_path / "plan.yaml").write_text(PLAN)
    (tmp_path / "more.json").write_text('{"rollback_cooldown_seconds": 60}')
    assert cli("lint", "plan.yaml", "more.json").out.startswith("plan.yaml + more.json: v2")


def test_lint_names_line_and_column(cli: Cli, tmp_path: Path) -> None:
    """A mistake exits with 2; each problem has file, line, column, field and nearest name."""
    (tmp_path / "plan.yaml").write_text(PLAN + "judge:\n  alhpa: 0.05\n")
    result = cli("lint", "plan.yaml")
    assert (result.code, result.out) == (2, "")
    assert "plan.yaml:5:3: judge.alhpa" in result.err
    shown = json.loads(cli("lint", "plan.yaml", "--json").out)
    assert shown["ok"] is False
    assert shown["problems"][0]["line"] == 5


def test_lint_warnings_fail_only_when_strict(cli: Cli, tmp_path: Path) -> None:
    """A plan that will work but not as meant exits with 0, and with 1 under --strict."""
    steps = "auto_promote: {promotion_steps: [0.5, 100]}\n"
    (tmp_path / "plan.yaml").write_text(PLAN + steps)
    result = cli("lint", "plan.yaml")
    assert result.code == 0
    assert "warning: " in result.err
    assert cli("lint", "plan.yaml", "--strict").code == 1
    assert json.loads(cli("lint", "plan.yaml", "--json").out)["warnings"]


def test_lint_live_holds_the_plan_against_the_traffic(
    cli: Cli, relay: FakeRelay, tmp_path: Path
) -> None:
    """A latency limit below what stable needs today is a warning, if the relay may be asked."""
    (tmp_path / "plan.yaml").write_text(PLAN + "health_check: {latency_threshold_ms: 200}\n")
    head = {"window_seconds": 300}
    stable = {"version": "v1", "aliases": ["stable"], "p95_ms": 450.0, "requests": 30_000}
    relay.says("GET", "/v1/admin/metrics/latency", head | {"versions": [stable]})
    relay.says("GET", "/v1/admin/traffic/distribution", head | {"versions": [stable]})
    assert cli("lint", "plan.yaml").err == ""
    assert "450" in cli("lint", "plan.yaml", "--live").err
