"""Rules of what the judge is told: which cells count, as what, and a caller only once."""

from __future__ import annotations

from grayscale.judge import Arm
from grayscale.plan.models import Plan
from grayscale.plane.arms import CallerBook, arms_of, of_release
from grayscale.plane.document import Document
from grayscale.release.phases import State
from grayscale.release.record import StepView
from grayscale.traffic.counters import CALLER_ASKED, CALLER_FAILED, Cell, CellKey, Cells


def a_release(*, count_pinned: bool = False) -> Document:
    plan = Plan.model_validate({"version_name": "new", "judge": {"count_pinned": count_pinned}})
    return Document(
        id="rel_1",
        version="new",
        state=State.SOAKING,
        plan=plan,
        steps=(StepView(index=0, step_percent=10, weight_percent=10),),
        current_step=0,
        config_id="config-1",
        state_seq=1,
    )


def key(version: str, assignment: str = "weighted", *, config: str = "config-1") -> CellKey:
    return CellKey(config, version, "gpt-4.1", "main", assignment, stream=False)


def read(
    book: CallerBook, cells: Cells, *, weight: float = 10.0
) -> tuple[CallerBook, tuple[Arm, Arm]]:
    everything, _ = arms_of(cells, a_release())
    return book.read(cells, everything, version="new", weight_percent=weight)


def test_only_what_was_assigned_under_this_config_counts() -> None:
    """Pinned requests, rescues and those of another split are nobody's evidence."""
    cells = {
        key("new"): Cell(started=10),
        key("new", "pinned"): Cell(started=5),
        key("new", config="config-0"): Cell(started=7),
        key("old", "failover"): Cell(started=3),
        key("old", "first"): Cell(started=90),
    }
    assert {k.assignment for k in of_release(cells, a_release())} == {"weighted", "first"}
    pinned = of_release(cells, a_release(count_pinned=True))
    assert sum(cell.started for k, cell in pinned.items() if k.version == "new") == 15


def test_a_sticky_caller_is_independent_once() -> None:
    """The comparison sees the first request of a caller; limits see them all."""
    cells = {
        key("new", "first"): Cell(started=2, upstream_error=1, ok=1),
        key("new", "sticky"): Cell(started=50, upstream_error=49, ok=1),
        key("old", "weighted"): Cell(started=100, ok=100),
    }
    (_, candidate), independent = arms_of(cells, a_release())
    assert (candidate.requests, candidate.errors) == (52, 50)
    assert independent is not None
    assert (independent[1].requests, independent[1].errors) == (2, 1)


def test_without_sticky_callers_all_requests_are_independent() -> None:
    """There is nothing to tell apart."""
    assert arms_of({key("new"): Cell(started=2)}, a_release())[1] is None


def test_a_callers_first_failure_counts_once_and_for_good() -> None:
    """Told by two workers, or again in a later interval, it is the same caller."""
    cells = {
        key("new", "first"): Cell(started=1, callers={7: CALLER_ASKED | CALLER_FAILED}),
        key("old", "first"): Cell(started=2, callers={2000: CALLER_ASKED, 3000: CALLER_ASKED}),
    }
    book, (stable, candidate) = read(CallerBook(), cells)
    assert (candidate.callers, candidate.failed_callers) == (1, 1)
    assert (stable.callers, stable.failed_callers) == (2, 0)
    again = CallerBook.from_json(book.to_json())
    assert again == book
    _, (stable, candidate) = read(again, cells)
    assert (candidate.callers, candidate.failed_callers) == (0, 0)
    assert stable.callers == 2


def test_callers_at_risk_belong_to_the_version_that_has_them_now() -> None:
    """When the weight rises, callers who never failed are at risk with the candidate."""
    cells = {key("old", "first"): Cell(callers={900: CALLER_ASKED, 2000: CALLER_ASKED})}
    book, _ = read(CallerBook(), cells)
    _, (stable, candidate) = read(book, {}, weight=25)
    assert (stable.callers, candidate.callers) == (0, 2)


def test_traits_of_answers_become_signals() -> None:
    """Each with what it is counted among; what nothing shows is not there."""
    cells = {
        key("new")._replace(stream=True): Cell(
            started=10, ok=8, refused=2, json_asked=4, json_invalid=1, aborted=1, upstream_error=2,
            rescue_failed=1, ttft={50: 8}, cost={20: 8},
        ),
    }  # fmt: skip
    (stable, candidate), _ = arms_of(cells, a_release())
    assert candidate.signals["refusal"] == (2, 8)
    assert candidate.signals["invalid_json"] == (1, 4)
    assert candidate.signals["stream_abort"] == (1, 10)
    assert "invalid_tool_call" not in candidate.signals
    assert candidate.shared_errors == 1
    assert sorted(candidate.histograms) == ["cost", "ttft"]
    assert candidate.histograms["ttft"][50] == 8
    assert dict(stable.signals) == {}
