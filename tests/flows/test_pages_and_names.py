"""What people read in Prefect's UI, and how runs find each other."""

from __future__ import annotations

from typing import Any

import pytest
from prefect.flows import load_flow_from_entrypoint
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools.validation import validate

from flows.release import release
from grayscale.release.phases import State
from grayscale.release.record import ReleaseRecord, VerdictView
from tasks.artifacts import artifact_key
from tasks.evidence import evidence_lines
from tasks.nightly import newest_unpromoted
from tasks.pages import (
    approval_page,
    following,
    pause_page,
    run_title,
    split_caption,
    split_rows,
    verdict_caption,
    verdict_page,
)
from tasks.runs import release_of, release_tag
from tasks.soak import look_seconds, soak_title

VERDICT = VerdictView(
    outcome="inconclusive", sentence="only 12 requests", evidence={"requests": 12, "rate": 0.25}
)


def record(**values: Any) -> ReleaseRecord:
    """A release at its first step."""
    steps = [
        {"index": 0, "step_percent": 10, "weight_percent": 10, "state": "running"},
        {"index": 1, "step_percent": 100, "weight_percent": 95},
    ]
    base: dict[str, Any] = {
        "id": "rel_A1",
        "version": "v2",
        "state": "soaking",
        "revision": 1,
        "seq": 1,
        "plan": {"version_name": "v2"},
        "steps": steps,
        "current_step": 0,
        "weight_percent": 10,
        "created_at": "2026-01-01T00:00:00.000Z",
    }
    return ReleaseRecord.model_validate(base | values)


@pytest.mark.parametrize(
    ("values", "title"),
    [
        ({}, "v2 · 10 %"),
        ({"state": "preparing", "weight_percent": 0}, "v2 · preparing"),
        ({"state": "paused"}, "v2 · paused at 10 %"),
        ({"state": "awaiting_approval"}, "v2 · 10 %, waiting for approval"),
        ({"state": "baking", "weight_percent": 95}, "v2 · bake at 95 %"),
        ({"state": "rolled_back"}, "v2 · rolled back"),
    ],
)
def test_a_run_is_named_after_version_and_step(values: dict[str, Any], title: str) -> None:
    """The list of runs says which version stands where."""
    assert run_title(record(**values)) == title


def test_every_wait_has_a_name() -> None:
    """Each state in which a conductor only watches reads as a line of a runbook."""
    titles = {state: soak_title(record(state=state)) for state in State}
    assert titles[State.SOAKING] == "soak at 10 %"
    assert titles[State.ROLLING_BACK] == "roll back"
    assert titles[State.QUEUED] == "wait while queued"


def test_looks_are_bounded() -> None:
    """A conductor looks twice per interval, but never oftener than 0.5 s or rarer than 5 s."""
    plans = {1: 0.5, 4: 2.0, 300: 5.0}
    for interval, seconds in plans.items():
        plan = {"version_name": "v2", "judge": {"interval_seconds": interval}}
        assert look_seconds(record(plan=plan)) == seconds


def test_who_approves_sees_why_and_the_evidence() -> None:
    """The form shows the question, its reason, the verdict, the deadline and what happens then."""
    gate = {
        "state": "waiting",
        "why": "the plan asks before 100 %",
        "deadline": "2026-01-02T03:04:05.678Z",
    }
    page = approval_page(record(state="awaiting_approval", gate=gate, verdict=VERDICT))
    for said in (
        "Let v2 go on to 100 %?",
        "the plan asks before 100 %",
        "only 12 requests",
        "by 2026-01-02 03:04 UTC the release is rolled back",
        "rel_A1",
    ):
        assert said in page


def test_who_resumes_sees_who_paused() -> None:
    """The form of a pause shows its reason and what comes of it."""
    page = pause_page(record(state="paused", reason="paused by Kim: strange answers"))
    assert "paused by Kim: strange answers" in page
    assert "After 24 h" in page


def test_a_verdict_page_has_sentence_and_numbers() -> None:
    """The judge's words come with the numbers behind them."""
    page = verdict_page(record(verdict=VERDICT, labels={"owner": "search"}))
    assert "**Verdict: inconclusive.** only 12 requests" in page
    assert "| requests | 12 |" in page
    assert "| rate | 0.25 |" in page
    assert "owner: search" in page
    assert "none yet" in verdict_page(record())
    assert verdict_caption(record(verdict=VERDICT)) == "v2 · 10 %: inconclusive"


def test_evidence_is_written_for_people() -> None:
    """Gates become rows with counts; what nobody can count is said in words; pipes break nothing."""
    arms = {"stable": {"bad": 0, "all": 0}, "candidate": {"bad": 12, "all": 4040}}
    gates = {
        "error_limit": {"e_value": 4.9e-11, "measured": True, "step": arms},
        "p95": {"e_value": 1.6201, "step": arms},
        "a|b": {"e_value": 1.0, "measured": False, "step": arms},
    }
    evidence = {"health_e_value": 3.9e88, "rules_broken": [], "gates": gates}
    lines = evidence_lines(evidence)
    assert "| health e value | over a million |" in lines
    assert "| rules broken | none |" in lines
    assert "| error limit | 12 failed of 4,040 (0.3 %) | no requests | below 0.001 |" in lines
    assert "| p95 | 12 slow of 4,040 (0.3 %) | no requests | 1.62 |" in lines
    assert "| a\\|b | 12 bad of 4,040 (0.3 %) | no requests | not measured |" in lines
    assert evidence_lines({}) == []


def test_the_split_of_a_finished_release_runs_nowhere() -> None:
    """After the end no step is running, and the caption says who has the traffic."""
    ended = record(state="rejected", weight_percent=0, reason="rejected by Kim")
    assert [row["state"] for row in split_rows(ended)] == ["ended", "pending"]
    assert split_caption(ended) == "v2 · rejected, 0 % of the traffic: rejected by Kim"


def test_the_split_has_a_row_per_step() -> None:
    """The table shows the ramp, both weights, and the bake once it began."""
    bake = {"index": 2, "step_percent": 100, "weight_percent": 95}
    rows = split_rows(record(bake=bake))
    assert [row["step"] for row in rows] == ["10 %", "100 %", "bake"]
    assert (rows[1]["v2"], rows[1]["stable"]) == ("95 %", "5 %")


def test_what_follows_a_gate_is_named() -> None:
    """A gate leads to a step, to the bake or to the promotion."""
    bake = {"index": 2, "step_percent": 100, "weight_percent": 95}
    assert following(record(current_step=None)) == "10 %"
    assert following(record(current_step=1)) == "the bake"
    assert following(record(bake=bake)) == "promotion"


def test_artifact_keys_are_what_prefect_takes() -> None:
    """Lower-case letters, digits and dashes only; the version is in it, and which release."""
    assert artifact_key("verdict", record(version="V2.1_x", id="rel_01JZ_Ab")) == (
        "verdict-v2-1-x-1jz-ab"
    )


def test_a_tag_leads_to_the_release() -> None:
    """The tag of a run names its release."""
    assert release_of(["other", release_tag("rel_1")]) == "rel_1"
    assert release_of(["other"]) is None


def test_the_nightly_version_is_new_and_allowed() -> None:
    """Promoted, withdrawn and quarantined versions are not released again."""
    rows: list[dict[str, Any]] = [
        {"name": "v1", "status": "retired", "created_at": "1", "promoted_at": "1"},
        {"name": "v2", "status": "retired", "created_at": "2", "promoted_at": None},
        {"name": "v3", "status": "quarantined", "created_at": "3", "promoted_at": None},
        {"name": "v4", "status": "active", "created_at": "4", "promoted_at": "4"},
    ]
    assert newest_unpromoted(rows) == "v2"
    assert newest_unpromoted([rows[0], rows[2], rows[3]]) is None
    assert (
        newest_unpromoted([*rows, {"name": "v0", "status": "candidate", "created_at": "9"}]) == "v0"
    )


@pytest.mark.parametrize(
    ("entrypoint", "name"),
    [
        ("flows.release:release", "release"),
        ("flows.rollback:rollback", "rollback"),
        ("flows.nightly:nightly_canary", "nightly-canary"),
    ],
)
def test_entrypoints_load(entrypoint: str, name: str) -> None:
    """Prefect finds each flow by its module, not by a placeholder."""
    assert load_flow_from_entrypoint(entrypoint, use_placeholder_flow=False).name == name


def test_a_mistake_in_the_form_is_shown_at_its_field() -> None:
    """The form's plan is one typed group, so that Prefect names the wrong field, not the plan."""
    schema = parameter_schema(release.fn).model_dump()
    plan = {"version_name": "v2", "health_check": {"latency_threshold_ms": -1}}
    (error,) = validate({"plan": plan}, schema)
    assert list(error.path) == ["plan", "health_check", "latency_threshold_ms"]
    assert validate({"release_id": "rel_1"}, schema) == []
