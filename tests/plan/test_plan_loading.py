"""Rules of reading plans: YAML and JSON, one file or several, and where mistakes are."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grayscale.plan import Plan, PlanError, load_plan, parse_plan, plan_from_mapping

RELEASE_FILE = """# grayscale-config.json
{
"version_name": "v2.1.0-beta",
"traffic_split": {
"stable": 90,
"beta": 10
},
"health_check": {
"enabled": true,
"error_threshold_percent": 5,
"latency_threshold_ms": 2000
},
"auto_promote": {
"enabled": true,
"promotion_steps": [10, 25, 50, 100],
"step_duration_minutes": 15
}
}
"""
RULES_FILE = """# rollback-config.json
{
"rollback_rules": [
{
"name": "high-error-rate",
"condition": "error_rate > 5",
"action": "rollback_to_version",
"target_version": "stable",
"notification": {
"enabled": true,
"channels": ["webhook", "email"]
}
},
{
"name": "critical-error",
"condition": "error_code IN [500, 502, 503, 504]",
"action": "immediate_rollback",
"target_version": "stable",
"notification": {
"enabled": true,
"channels": ["webhook", "email", "slack"]
}
}
],
"rollback_cooldown_seconds": 300,
"max_rollbacks_per_hour": 3
}
"""


def written(folder: Path, **texts: str) -> list[Path]:
    paths = [folder / f"{name}.json" for name in texts]
    for path, text in zip(paths, texts.values(), strict=True):
        path.write_text(text, encoding="utf-8")
    return paths


def mistakes(text: str) -> list[str]:
    with pytest.raises(PlanError) as caught:
        parse_plan(text, "p.yaml")
    return str(caught.value).splitlines()


def test_a_release_file_is_accepted_as_printed(tmp_path: Path) -> None:
    """JSON under a comment line is a plan."""
    plan = load_plan(written(tmp_path, release=RELEASE_FILE))
    assert plan.version_name == "v2.1.0-beta"
    assert plan.traffic_split == {"stable": 90, "beta": 10}
    assert plan.steps_percent == (10, 25, 50, 100)


def test_two_files_make_one_plan_in_either_order(tmp_path: Path) -> None:
    """Files with different fields are merged."""
    paths = written(tmp_path, release=RELEASE_FILE, rules=RULES_FILE)
    plan = load_plan(paths)
    assert [rule.name for rule in plan.rollback_rules] == ["high-error-rate", "critical-error"]
    assert load_plan(reversed(paths)) == plan


def test_a_single_path_is_a_plan_too(tmp_path: Path) -> None:
    """load_plan takes one path without a list around it."""
    (path,) = written(tmp_path, release=RELEASE_FILE)
    assert load_plan(path) == load_plan(str(path)) == load_plan([path])


def test_rules_alone_are_a_plan_for_the_present_candidate(tmp_path: Path) -> None:
    """Either file of the tutorial is accepted by itself."""
    (path,) = written(tmp_path, rules=RULES_FILE)
    plan = load_plan(path)
    assert plan.version_name == ""
    assert len(plan.rollback_rules) == 2


def test_a_field_in_two_files_is_refused_with_both_places(tmp_path: Path) -> None:
    """Nobody has to guess which of two values counts."""
    paths = written(tmp_path, a="version_name: v1\nlabels: {}\n", b="x-n: 1\nlabels: {}\n")
    with pytest.raises(PlanError) as caught:
        load_plan(paths)
    assert str(caught.value) == (
        f"{paths[1]}:2:1: labels: stands in {paths[0]}:2 too; every field belongs into one file"
    )


def test_extensions_may_stand_in_every_file(tmp_path: Path) -> None:
    """x- fields are nobody's, so they cannot overlap."""
    paths = written(tmp_path, a="version_name: v1\nx-n: 1\n", b="x-n: 2\n")
    assert load_plan(paths) == plan_from_mapping({"version_name": "v1"})


def test_a_problem_knows_its_place_value_and_nearest_name() -> None:
    """A problem is a value that a program can read, too."""
    with pytest.raises(PlanError) as caught:
        parse_plan("version_name: v1\non_conflict: rejct\n", "p.yaml")
    (problem,) = caught.value.problems
    assert (problem.file, problem.line, problem.column) == ("p.yaml", 2, 14)
    assert (problem.field, problem.value, problem.nearest) == ("on_conflict", "rejct", "reject")


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file() -> None:
    """Nobody mends a plan one error at a time."""
    text = "version_nam: v1\nhealth_check: {error_treshold_percent: 5, enabled: perhaps}\n"
    assert mistakes(text) == [
        "p.yaml:1:1: version_nam: is no field of a plan; did you mean 'version_name'?",
        (
            "p.yaml:2:16: health_check.error_treshold_percent: is no field of a plan; "
            "did you mean 'error_threshold_percent'?"
        ),
        "p.yaml:2:52: health_check.enabled: must be a valid boolean, not 'perhaps'",
    ]


def test_an_unknown_field_in_a_list_gets_the_nearest_name() -> None:
    """Fields are known at every depth."""
    text = (
        "version_name: v1\nrollback_rules:\n  - {name: a, condition: error_rate > 1, actoin: 1}\n"
    )
    assert mistakes(text) == [
        "p.yaml:3:42: rollback_rules[0].actoin: is no field of a plan; did you mean 'action'?"
    ]


def test_a_field_like_no_other_gets_no_nearest_name() -> None:
    """A wild guess would help nobody."""
    assert mistakes("version_name: v1\nzzz: 1\n") == ["p.yaml:2:1: zzz: is no field of a plan"]


def test_a_field_inside_free_text_is_no_model() -> None:
    """Below fields that hold anything, there are no names to choose from."""
    assert mistakes("version_name: v1\nlabels: {a: {b: 1}}\n") == [
        "p.yaml:2:13: labels.a: must be text, not {'b': 1}; put it in quotes"
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "p.yaml:1:1: is empty; a plan has at least version_name"),
        ("- a\n", "p.yaml:1:1: is no mapping; a plan has keys such as version_name"),
        ("a: 1\n---\nb: 2\n", "p.yaml:2:1: holds a second document; a plan is one"),
        ("a: 1\na: 2\n", "p.yaml:2:1: 'a' is there twice, first in line 1"),
        ("? [a]\n: 1\n", "p.yaml:1:3: is no name for a field; use plain text"),
        ("a: .nan\n", "p.yaml:1:4: .nan is no number that a plan can use"),
        ("a: *b\n", "p.yaml:1:4: *b stands for nothing before it"),
        ("a: &b [*b]\n", "p.yaml:1:8: *b stands for nothing before it"),
        ("a: !!python/name:os 1\n", "p.yaml:1:4: has the tag tag:yaml.org,2002:python/name:os; "),
        ('a: "\\ud83d"\n', "p.yaml:1:4: holds half a character"),
        ("a: [\n", "p.yaml:2:1: is not YAML: expected the node content"),
        ("a: 1\n\tb: 2\n", "p.yaml:2:1: is not YAML: found character"),
        ("a: \x07\n", "p.yaml: is not YAML: "),
        ("a: \ud83d", "p.yaml: is not valid text (UTF-8)"),
        ("[" * 5000, "p.yaml:1:42: is nested deeper than 40 levels"),
        ("a: " + "{a: " * 50, "is nested deeper than 40 levels"),
        ("a: " + "x" * 300_000, "p.yaml: is 300003 bytes long; a plan has at most 262144"),
    ],
)
def test_what_is_no_document_is_refused_with_its_place(text: str, expected: str) -> None:
    """File, line and column are told wherever they are known."""
    assert mistakes(text)[0].find(expected) >= 0


def test_a_bomb_of_aliases_is_refused_at_once() -> None:
    """What aliases expand to is counted before it is built."""
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 8)}]" for n in range(1, 30)]
    began = time.monotonic()
    (mistake,) = mistakes("\n".join(lines))
    assert "expands to more than 20000 values" in mistake
    assert time.monotonic() - began < 5


def test_few_aliases_are_welcome() -> None:
    """An anchor may be used again, as in any YAML; mistakes in it are found where it is used."""
    plan = parse_plan("x-l: &l {a: b}\nversion_name: v1\nlabels: *l\n", "p.yaml")
    assert plan.labels == {"a": "b"}
    assert mistakes("x-l: &l {a: 1}\nversion_name: v1\nlabels: *l\n")[0].startswith("p.yaml:3:9: ")


def test_only_yamls_core_schema_is_read() -> None:
    """Dates, `yes` and sexagesimals are text; numbers and true are what JSON says."""
    text = (
        "version_name: v1\nconfig_overrides:\n  parameters: {a: 2026-11-22, b: yes, c: 1:30, "
        "d: 1e3, e: TRUE, f: ~, g: '1', h: 017, i: -.5, j: }\n"
    )
    parameters = {
        "a": "2026-11-22", "b": "yes", "c": "1:30", "d": 1000.0, "e": True,
        "f": None, "g": "1", "h": 17, "i": -0.5, "j": None,
    }  # fmt: skip
    assert parse_plan(text, "p").config_overrides == {"parameters": parameters}


def test_json_may_use_tabs_and_escaped_pairs() -> None:
    """JSON is read whole, though it is not all YAML."""
    text = '{"version_name":"v1",\n\t"description":"\\ud83d\\ude00 \\/"}'
    assert parse_plan(text, "p.json").description == "😀 /"


def test_numbers_where_names_belong_want_quotes() -> None:
    """`version_name: 2.1` is a number to YAML; the message says what to do."""
    assert mistakes("version_name: 2.1\n") == [
        "p.yaml:1:15: version_name: must be text, not 2.1; put it in quotes"
    ]


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    """A missing, binary or endless file is told by name."""
    with pytest.raises(PlanError, match=r"missing\.yaml: cannot be read \(No such file"):
        load_plan(tmp_path / "missing.yaml")
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"version_name: \xff\n")
    with pytest.raises(PlanError, match=r"binary\.yaml: is not valid text \(UTF-8\): byte 14"):
        load_plan(binary)
    endless = tmp_path / "endless.yaml"
    endless.write_bytes(b"#" * 262_145)
    with pytest.raises(PlanError, match=r"endless\.yaml: is longer than 262144 bytes"):
        load_plan(endless)


def test_no_file_is_no_plan() -> None:
    """An empty list of files is told apart from an empty file."""
    with pytest.raises(PlanError, match="no file was given"):
        load_plan([])


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    """Files of editors that write one are plans, too."""
    path = tmp_path / "bom.yaml"
    path.write_text("version_name: v1\n", encoding="utf-8-sig")
    assert load_plan(path).version_name == "v1"


def test_problems_of_a_body_have_fields_but_no_lines() -> None:
    """The API's messages name the field alone."""
    with pytest.raises(PlanError) as caught:
        plan_from_mapping({"version_name": "v1", "approval": {"before_steps": [33]}})
    assert str(caught.value) == "approval.before_steps: 33 is none of the steps"
    (problem,) = caught.value.problems
    assert (problem.value, problem.line) == ([33], None)


def test_a_default_at_fault_has_no_value_of_its_own() -> None:
    """A fault of a field that was not written shows the place around it."""
    with pytest.raises(PlanError) as caught:
        parse_plan("version_name: v1\nauto_promote: {step_duration_seconds: 0}\n", "p.yaml")
    (problem,) = caught.value.problems
    assert problem.field == "auto_promote.step_duration_minutes"
    assert (problem.line, problem.value) == (2, None)


def test_long_values_are_cut_in_messages() -> None:
    """A message is one line, however long the value is."""
    (mistake,) = mistakes(f"version_name: v1\nbase_version: [{', '.join(['abc'] * 500)}]\n")
    assert len(mistake) < 200


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    """Whatever a file holds is a plan or a PlanError."""
    try:
        outcome: object = parse_plan(data.decode("utf-8", "replace"), "p")
    except PlanError as error:
        outcome = error
    assert isinstance(outcome, Plan) or (isinstance(outcome, PlanError) and outcome.problems)
