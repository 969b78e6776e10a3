"""What was changed in the tutorial's code, as a diff that holds nothing but the allowed repairs."""

import ast
import difflib

import pytest
import yaml

from grayscale.plan import load_plan
from tests.seed import tutorial
from tests.seed.tutorial import FILES, NAMES, PRINTED, printed, repaired, unindented


def file(name: str) -> str:
    return (FILES / name).read_text(encoding="utf-8")


def test_every_printed_block_has_its_file() -> None:
    """No block of the tutorial is left out, and no file is of our own making."""
    assert {f"{name}.txt" for name in NAMES} == {path.name for path in PRINTED.iterdir()}
    assert len(NAMES) == 14


@pytest.mark.parametrize("name", NAMES)
def test_only_the_allowed_repairs_were_made(name: str) -> None:
    """With indentation aside, a file is its printed block, `#` and header quotes repaired."""
    diff = difflib.unified_diff(
        unindented(repaired(name)).splitlines(),
        unindented(file(name)).splitlines(),
        "printed and repaired",
        name,
        lineterm="",
    )
    assert "\n".join(diff) == ""


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith(".sh")])
def test_shell_blocks_keep_their_indentation_too(name: str) -> None:
    """Only Python and JSON were indented anew."""
    assert file(name) == repaired(name)


@pytest.mark.parametrize("name", NAMES)
def test_what_was_repaired_is_shown_as_a_diff(name: str) -> None:
    """Each changed line gains a `#`, loses two quotes, or is indented; the words stay."""
    before, after = printed(name).splitlines(), file(name).splitlines()
    assert len(before) == len(after)
    changes = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    for old, new in changes:
        hashed = new == f"# {old}"
        requoted = new.replace(": ", '": "') == old and old.startswith('-H "X-')
        indented = new.lstrip(" ") == old and not name.endswith(".sh")
        assert hashed or requoted or indented, f"{old!r} became {new!r}"
    assert bool(changes) is (name in tutorial.PROSE or not name.endswith(".sh"))


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith(".py")])
def test_the_repaired_python_is_python(name: str) -> None:
    """Indented again, the scripts can be read; as printed they cannot."""
    ast.parse(file(name))
    with pytest.raises(SyntaxError):
        ast.parse(printed(name))


def test_both_config_files_are_a_plan() -> None:
    """The two files load together unchanged, though they say JSON and begin with a comment."""
    plan = load_plan([FILES / "grayscale-config.json", FILES / "rollback-config.json"])
    assert plan.version_name == "v2.1.0-beta"
    assert plan.traffic_split == {"stable": 90, "beta": 10}
    assert plan.health_check.error_threshold_percent == 5
    assert plan.health_check.latency_threshold_ms == 2000
    assert list(plan.steps_percent) == [10, 25, 50, 100]
    assert plan.auto_promote.step_seconds == 15 * 60
    assert [rule.name for rule in plan.rollback_rules] == [
        "high-error-rate",
        "high-latency",
        "critical-error",
    ]
    assert plan.rollback_cooldown_seconds == 300
    assert plan.max_rollbacks_per_hour == 3


def test_each_config_file_is_a_plan_by_itself() -> None:
    """The first names its version; the second, without one, is for the present candidate."""
    first = load_plan([FILES / "grayscale-config.json"])
    second = load_plan([FILES / "rollback-config.json"])
    assert (first.version_name, len(first.rollback_rules)) == ("v2.1.0-beta", 0)
    assert (second.version_name, len(second.rollback_rules)) == ("", 3)


@pytest.mark.parametrize("name", ["grayscale-config.json", "rollback-config.json"])
def test_a_config_file_as_printed_means_the_same(name: str) -> None:
    """JSON does not need its indentation: the printed text is read like the repaired one."""
    assert yaml.safe_load(printed(name)) == yaml.safe_load(file(name))
