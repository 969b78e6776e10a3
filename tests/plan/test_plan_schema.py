"""Rules of the schema, the examples, and the rules that go to the judge."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from grayscale.judge import Rule
from grayscale.plan import load_plan, plan_from_mapping
from grayscale.plan.guard_rails import judge_rules
from grayscale.plan.models import Plan
from grayscale.plan.schema import main, plan_schema

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "deployments" / "plans").glob("*.yaml"))


def test_the_schema_in_the_repository_is_that_of_the_models() -> None:
    """Editors check plans against what the code accepts."""
    command = [sys.executable, "-m", "grayscale.plan.schema", "--check"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, cwd=ROOT, env=environment, check=False)
    assert done.returncode == 0


def test_a_schema_that_is_not_up_to_date_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--check fails on a missing or old file, and writing mends it."""
    file = tmp_path / "schemas" / "s.json"
    assert main(["--check", str(file)]) == 1
    assert "is not up to date; run: python -m grayscale.plan.schema" in capsys.readouterr().err
    assert main([str(file)]) == 0
    assert main(["--check", str(file)]) == 0
    assert json.loads(file.read_text(encoding="utf-8")) == plan_schema()


def test_every_field_has_a_help_text() -> None:
    """The same texts are shown in editors and in the form."""
    schema = plan_schema()
    for model in (schema, *schema["$defs"].values()):
        for name, field in model.get("properties", {}).items():
            group = schema["$defs"].get(field.get("$ref", "").removeprefix("#/$defs/"), {})
            assert field.get("description") or group.get("description"), name


def test_nothing_is_required() -> None:
    """A form can be sent as it is: without a name the present candidate is released."""
    assert "required" not in plan_schema()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_are_plans(path: Path) -> None:
    """Every plan that ships can be released."""
    assert load_plan(path).steps_percent[-1] == 100


def test_the_complete_example_shows_every_field_and_its_default() -> None:
    """What canary.yaml writes out and does not name, describe or decorate is the default."""
    plan = load_plan(ROOT / "deployments" / "plans" / "canary.yaml")
    assert plan.model_fields_set == set(Plan.model_fields)
    own = {"version_name", "config_overrides", "description", "labels", "traffic_split"}
    default = plan_from_mapping({"version_name": plan.version_name})
    for name in set(Plan.model_fields) - own - {"rollback_rules"}:
        assert getattr(plan, name) == getattr(default, name), name


def test_rules_reach_the_judge() -> None:
    """The judge gets limits and codes; only rollbacks take the candidate away."""
    plan = plan_from_mapping(
        {
            "version_name": "v1",
            "rollback_rules": [
                {"name": "a", "condition": "error_rate > 5"},
                {"name": "b", "condition": "error_code IN [500, 502]", "action": "alert"},
                {"name": "c", "condition": "error_code == 503", "action": "immediate_rollback"},
            ],
        }
    )
    assert judge_rules(plan) == (
        Rule("a", "error_rate", 5.0),
        Rule("b", "error_code", codes=(500, 502), rolls_back=False),
        Rule("c", "error_code", codes=(503,)),
    )
