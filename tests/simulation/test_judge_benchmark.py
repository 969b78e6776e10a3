"""Rules of the judge's benchmark: the rules in use today are kept as they are, counts are honest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.judge import report
from benchmarks.judge.cells import CELLS, PLAN, Bar, Cell
from benchmarks.judge.command import main
from benchmarks.judge.judges import JUDGES, OWN
from benchmarks.judge.measure import Figure, Measured, highest_count
from benchmarks.judge.peers import (
    MannWhitney,
    argo_like,
    flagger_like,
    threshold_10_60,
    threshold_60_300,
)
from benchmarks.judge.reference import ReferenceEngine
from grayscale.judge import LATENCY_EDGES_MS, Arm, Interval, Outcome
from grayscale.simulation import End, Ended, Judge, World, run

BUCKETS = len(LATENCY_EDGES_MS) + 1
FAST, SLOW = 120, 160  # buckets of about 350 and 2,500 ms


def arm(requests: int, errors: int = 0, *, bucket: int = FAST) -> Arm:
    counts = [0] * BUCKETS
    counts[bucket] = requests - errors
    return Arm(requests, errors, counts)


def looks(judge: Judge, pairs: Sequence[tuple[Arm, Arm]], *, step: int = 0) -> list[Outcome]:
    """What the judge says of these (stable, candidate), ten seconds each."""
    return [
        judge.look(
            Interval(
                id=index + 1,
                seconds=10.0,
                step=step,
                weight_percent=50.0,
                step_seconds=10.0 * (index + 1),
                soak_done=False,
                stable=stable,
                candidate=candidate,
            )
        ).outcome
        for index, (stable, candidate) in enumerate(pairs)
    ]


def first_rollback(judge: Judge, pairs: Sequence[tuple[Arm, Arm]]) -> int | None:
    """The number of the first interval after which it rolls back."""
    outcomes = looks(judge, pairs)
    return outcomes.index(Outcome.HARMFUL) + 1 if Outcome.HARMFUL in outcomes else None


GOOD = (arm(50), arm(50))
FAILING = (arm(50), arm(50, 5))
SLUGGISH = (arm(50), arm(50, bucket=SLOW))
SILENT = (arm(50), arm(0))


@pytest.mark.parametrize("bad", [FAILING, SLUGGISH], ids=["errors", "latency"])
def test_each_rule_rolls_back_when_its_limit_is_broken_as_often_as_it_wants(
    bad: tuple[Arm, Arm],
) -> None:
    """At the first look over its window, at the fourth bad minute, at the tenth."""
    found = [
        first_rollback(new_judge(PLAN), [bad] * 90)
        for new_judge in (threshold_10_60, threshold_60_300, argo_like, flagger_like)
    ]
    assert found == [1, 6, 24, 60]


def test_no_data_is_a_failed_minute_but_no_broken_threshold() -> None:
    """Counters of failures take silence for failure; a comparison with nothing is false."""
    found = [
        first_rollback(new_judge(PLAN), [SILENT] * 90)
        for new_judge in (threshold_10_60, threshold_60_300, argo_like, flagger_like)
    ]
    assert found == [None, None, 24, 60]


def test_a_good_candidate_breaks_no_limit() -> None:
    """None of the rules rolls back what never fails."""
    for means in JUDGES.values():
        assert first_rollback(means.new_judge(PLAN), [GOOD] * 90) is None


def test_failed_minutes_are_added_up_however_far_apart() -> None:
    """Good minutes in between forgive nothing."""
    minutes = ([FAILING] * 6 + [GOOD] * 30) * 5
    assert first_rollback(argo_like(PLAN), minutes) == 3 * 36 + 6


def test_mann_whitney_sees_a_sustained_shift_and_no_rare_one() -> None:
    """After five minutes of more errors; not after two bad minutes of ten."""
    noise = [(arm(500, 3 + i % 5), arm(500, 30 + i % 7)) for i in range(30)]
    assert first_rollback(MannWhitney(PLAN), noise) == 30
    rare = [(arm(500, 3 + i % 5), arm(500, 60 if i % 60 < 12 else 3 + i % 4)) for i in range(60)]
    assert first_rollback(MannWhitney(PLAN), rare) is None


def test_the_reference_engine_finds_harm_and_holds_when_both_suffer() -> None:
    """Relative evidence rolls back; the same trouble in both arms holds the ramp."""
    found = first_rollback(ReferenceEngine(PLAN), [(arm(90, 1), arm(30, 3))] * 60)
    assert found is not None
    assert found < 15
    both = looks(ReferenceEngine(PLAN), [(arm(50, 25), arm(50, 25))] * 30)
    assert set(both) == {Outcome.INCONCLUSIVE}
    assert looks(ReferenceEngine(PLAN), [GOOD] * 3)[-1] is Outcome.HEALTHY


def test_the_reference_engine_is_right_about_the_obvious() -> None:
    """In simulated releases too: 1 to 7 % errors come back, twins go out."""
    cells = {cell.name: cell for cell in CELLS}
    means = JUDGES["reference"]
    bad = [run(PLAN, cells["errors-1-7"].world, seed, means=means) for seed in range(5)]
    assert {ended.end for ended in bad} == {End.ROLLED_BACK}
    assert run(PLAN, cells["aa-1-10"].world, 1, means=means).end is End.PROMOTED


ENDED = Ended(
    end=End.ROLLED_BACK,
    seconds=92.0,
    worse_since=0.0,
    candidate_requests=90,
    failed_requests=7,
    callers_failed=0,
    evidence_seconds=(None,),
    cause="candidate",
    sentence="",
)
CELL = Cell("a", "a cell", World(), Bar(false_rollbacks=0.02, missed=0.0, median_seconds=100))


def test_a_count_is_too_high_above_the_99_percent_quantile() -> None:
    """2 % of 200 releases may be up to 9 by chance; of nothing allowed, one is too many."""
    assert highest_count(200, 0.02) == 9
    assert highest_count(200, 0.01) == 6
    assert highest_count(20, 0.02) == 2
    assert (highest_count(50, 0.0), highest_count(50, 1.0)) == (0, 50)


def test_a_cell_is_held_against_each_figure_of_its_bar() -> None:
    """Found in time passes; found late, missed, or rolled back too early does not."""

    def kept(*rollouts: Ended) -> dict[str, bool | None]:
        return {figure.name: figure.kept for figure in Measured(CELL, rollouts).figures()}

    assert kept(*[ENDED] * 10) == {
        "false rollbacks": True,
        "promoted": True,
        "asked": None,
        "median detection": True,
        "p95": None,
        "mean failed requests": None,
    }
    late = replace(ENDED, seconds=300.0)
    assert kept(*[late] * 10)["median detection"] is False
    promoted = replace(ENDED, end=End.PROMOTED)
    assert kept(*[ENDED] * 9, promoted)["promoted"] is False
    early = replace(ENDED, worse_since=None)
    assert kept(*[ENDED] * 6, *[early] * 4)["false rollbacks"] is False


def test_in_a_harmless_world_every_rollback_is_false() -> None:
    """Whatever was different, it was no reason."""
    cold = replace(CELL, harmless=True)
    measured = Measured(cold, (ENDED, replace(ENDED, end=End.PROMOTED)))
    assert (measured.false_rollbacks, measured.missed, measured.about_harm) == (1, 0, False)


def test_what_was_never_found_is_infinitely_late() -> None:
    """The median knows of releases that were not rolled back."""
    asked = replace(ENDED, end=End.ASKED)
    measured = Measured(CELL, (ENDED, asked, asked))
    assert measured.quantile(lambda one: one.detected_after, 0.5) == math.inf


def test_the_tables_name_what_failed() -> None:
    """One line a cell; a column a judge; the command above."""
    measured = Measured(CELL, (replace(ENDED, seconds=300.0),))
    results = {"a": {OWN: measured, "argo-like": measured}}
    cost = [Figure("times the reference", "1.10", "≤ 1.2", kept=True)]
    tables = report.tables(results, cost, command="python -m benchmarks.judge --seed 1")
    text = "\n".join(tables.values())
    assert text.count("`python -m benchmarks.judge --seed 1`") == 2
    assert "median detection 300 s" in text
    assert "| **fail** |" in text
    assert "| CPU of one look, default gates | times the reference 1.10 |" in text
    assert "| cell | grayscale | argo-like |" in text
    assert report.failed(results, cost) == ["a"]


def test_tables_are_written_between_the_markers(tmp_path: Path) -> None:
    """What stands around them stays, and old tables go."""
    page = tmp_path / "README.md"
    page.write_text(report.README.read_text(encoding="utf-8"), encoding="utf-8")
    report.write({"figures": "the first table"}, into=page)
    report.write({"figures": "not this", "comparison": "the comparison"}, into=page)
    report.write({"figures": "the second table"}, into=page)
    text = page.read_text(encoding="utf-8")
    assert "the first table" not in text
    assert text.count("the second table") == text.count("<!-- figures: end -->") == 1
    assert text.count("the comparison\n") == text.count("<!-- comparison: end -->") == 1
    assert "not this" not in text
    assert text.startswith("# Is the judge right")


def test_every_cell_has_its_own_name_and_world() -> None:
    """The bar's cells are all there, each under a name of its own."""
    names = [cell.name for cell in CELLS]
    assert len(names) == len(set(names))
    assert sum(name.startswith("aa-") for name in names) >= 13
    barred = [cell for cell in CELLS if cell.bar != Bar()]
    assert len(barred) >= 25


def test_the_command_measures_and_fails_below_the_bar(capsys: pytest.CaptureFixture[str]) -> None:
    """One run of two releases: the table on stdout, the exit code by the bar."""
    code = main(["--only", "outage", "--rollouts", "2", "--processes", "1", "--seed", "4"])
    said = capsys.readouterr()
    assert code == 0
    assert "| total outage, 10 rps |" in said.out
    assert "--seed 4" in said.out
    assert "outage, grayscale:" in said.err
