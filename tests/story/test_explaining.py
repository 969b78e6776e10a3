"""A release's story: the most important first, whatever state it is in."""

from typing import Any

import pytest

from grayscale.plan import plan_from_mapping
from grayscale.release.phases import State
from grayscale.story import explain
from grayscale.story.history import history_of
from grayscale.story.words import sentence_of
from tests.story.histories import ANN, BOB, GUARD, at, event, history, look

BAKE = {"index": 4, "step_percent": 100, "weight_percent": 95, "state": "running"}
END: dict[str, Any] = {"finished_at": at(130), "weight_percent": 0.0}


@pytest.mark.parametrize(
    ("changes", "headline"),
    [
        ({"state": "queued", "current_step": None}, "v2 waits for its turn; no traffic has moved."),
        ({"state": "preparing", "current_step": None},
         "v2 is being prepared; no traffic has moved."),
        ({"stage": {"watched_seconds": 95, "required_seconds": 900}},
         "v2 is watched at 10 %: 1 m 35 s of 15 m 0 s watched."),
        ({"state": "baking", "current_step": 3, "weight_percent": 95.0, "bake": BAKE},
         "v2 is watched at 95 %, in the bake: 0 s of 0 s watched."),
        ({"state": "held", "cause": "split"},
         "v2 is held at 10 % (split); 0 s of 0 s watched."),
        ({"state": "held", "cause": "upstream", "current_step": None},
         "v2 is held at 10 % (upstream); no step has begun."),
        ({"state": "paused"}, "v2 is paused at 10 %; it stays there until somebody says so."),
        ({"state": "awaiting_approval"}, "v2 waits for a person at 10 %."),
        ({"state": "awaiting_approval", "gate": {"state": "waiting", "deadline": at(60)}},
         ("v2 waits for a person at 10 %, until 2026-01-02 03:05:05 UTC; without an answer it is "
         "rolled back.")),
        ({"state": "awaiting_approval", "gate": {"state": "waiting", "deadline": at(60)},
          "plan": {"approval": {"on_timeout": "hold"}}},
         ("v2 waits for a person at 10 %, until 2026-01-02 03:05:05 UTC; without an answer it is "
         "left at stable.")),
        ({"state": "rolling_back", "weight_percent": 0.0},
         "v2 is being rolled back from 0 %; new requests go to stable already."),
        ({"state": "promoted", **END, "weight_percent": 100.0},
         "v2 was promoted at 2026-01-02 03:06:15 UTC, 2 m 10 s after it was created."),
        ({"state": "promoted", **END},
         ("v2 was promoted at 2026-01-02 03:06:15 UTC, 2 m 10 s after it was created. It has no "
         "traffic any more.")),
        ({"braked": True},
         ("v2 was taken out of traffic; the record, which still says soaking at 10 %, follows as "
         "soon as the store can be written.")),
        ({"state": "promoted", "promote_full": True, **END, "weight_percent": 100.0},
         ("v2 was promoted at 2026-01-02 03:06:15 UTC, 2 m 10 s after it was created, on a "
         "person's word.")),
        ({"state": "rolled_back", "cause": "candidate", **END},
         ("v2 was rolled back at 2026-01-02 03:06:15 UTC, 2 m 10 s after it was created, at 10 %: "
         "the judge found it harmful. Stable has all the traffic.")),
        ({"state": "rejected", "cause": "rejected", "current_step": None, **END},
         ("v2 was rejected at 2026-01-02 03:06:15 UTC, 2 m 10 s after it was created, before it "
         "had any traffic: somebody said no. Stable has all the traffic.")),
        ({"state": "failed", **END},
         ("v2 failed at 2026-01-02 03:06:15 UTC, 2 m 10 s after it was created, at 10 %. Stable "
         "has all the traffic.")),
    ],
)  # fmt: skip
def test_the_first_sentence(changes: dict[str, Any], headline: str) -> None:
    """It says where the release stands, or how, when and why it ended."""
    assert explain(history(**changes)).headline == headline


@pytest.mark.parametrize("state", list(State))
def test_every_state_has_a_story(state: State) -> None:
    """No state is without a headline; where something can be typed, it names the release."""
    told = explain(history(state=state.value, finished_at=at(60) if state.final else None))
    assert told.headline.startswith("v2 ")
    assert told.advice is None or "rel_1" in told.advice or "undo" in told.advice


def test_nobody_is_told_to_undo_what_is_undone() -> None:
    """A promoted version without traffic was left: an undo would hit the one after it."""
    assert "undo" in str(explain(history(state="promoted", weight_percent=100.0)).advice)
    assert explain(history(state="promoted", weight_percent=0.0)).advice is None


def test_whoever_has_braked_is_told_what_is_left_to_do() -> None:
    """Not to abort once more, but to look after the store."""
    assert "grayscale doctor" in str(explain(history(braked=True)).advice)


def test_the_second_sentence_is_why() -> None:
    """The judge's sentence while it is watched, the state's reason wherever it does not move."""
    verdict = {"outcome": "inconclusive", "sentence": "9 of 60 requests"}
    assert explain(history(reason="soaking", verdict=verdict)).why == "9 of 60 requests"
    assert explain(history(state="held", reason="both fail", verdict=verdict)).why == "both fail"
    assert explain(history(state="preparing", current_step=None)).why == ""


def test_how_the_evidence_grew() -> None:
    """Each mark that the evidence passed for good has its interval, up to the one that decided."""
    values = [1.0, 3.0, 1.5, 2.5, 6.0, 26.0]
    looks = [look(number, value) for number, value in enumerate(values, start=1)]
    looks[-1]["verdict"]["outcome"] = "harmful"
    grown = explain(history(looks=looks)).evidence
    assert grown is not None
    assert (grown.gate, grown.crossed) == ("errors", 6)
    assert [(point.interval, point.e_value) for point in grown.points] == [
        (4, 2.5),
        (5, 6),
        (6, 26),
    ]
    assert grown.sentence == (
        "Gate errors accused it: the evidence rose to 2.5 at 03:04:45 (interval 4), 6 at 03:04:55 "
        "(interval 5); it was 26 at 03:05:05 (interval 6), and 20 is enough."
    )


def test_a_total_outage_is_told_in_one_interval() -> None:
    """What one interval decides has no history of growth."""
    looks = [look(1), look(2, 3.9e9, outcome="harmful")]
    grown = explain(history(looks=looks)).evidence
    assert grown is not None
    assert grown.sentence == (
        "Gate errors accused it: the evidence was over a million at 03:04:25 (interval 2), and 20 "
        "is enough, within one interval."
    )


def test_the_gate_that_says_most_is_named() -> None:
    """A gate counts by its share of the evidence, and not at all where it may not blame."""
    gates = {"errors": (0.4, 4.0), "p95": (0.3, 9.0), "rule slow": (0.0, 99.0)}
    near = look(3, 3.2, gates=gates)
    near["verdict"]["evidence"]["gates"]["latency_limit"] = {
        "share": 0.1, "e_value": 900.0, "blamed": False,
    }  # fmt: skip
    grown = explain(history(looks=[look(2, 1.1), near, look(4, 1.2)])).evidence
    assert grown is not None
    assert (grown.gate, grown.crossed) == ("p95", None)
    assert grown.sentence == (
        "The evidence of harm never came nearer than 3.2 of the 20 that a rollback takes: at "
        "03:04:35 (interval 3), by gate p95."
    )


def test_without_evidence_there_is_nothing_to_tell_of_it() -> None:
    """Intervals without counters, and gates that accuse nobody, are passed over."""
    assert explain(history()).evidence is None
    assert explain(history(looks=[look(1, None)])).evidence is None
    assert explain(history(looks=[look(1, 0.8)])).evidence is None


def test_each_step_has_its_traffic_clock_and_verdict() -> None:
    """Requests with their share, watched time, extensions, what stopped the clock, the verdict."""
    stage = {
        "watched_seconds": 900, "required_seconds": 1800, "extensions": 1, "stable_requests": 9000,
        "candidate_requests": 1000, "observed_percent": 10.0,
        "unwatched": {"split": 30.0, "paused": 120.0},
        "verdict": {"outcome": "healthy", "sentence": "Healthy at 10 %."},
    }  # fmt: skip
    looks = [look(1), look(2, stopped_by="split"), look(3, stopped_by="split"),
             look(4, stopped_by="paused"), look(5)]  # fmt: skip
    (step,) = explain(history(stage=stage, looks=looks)).steps
    assert step.sentence == (
        "1,000 of 10,000 requests (10 %), 15 m 0 s of 30 m 0 s watched, extended once. The "
        "clock stood still: paused 2 m 0 s, the split was not verified 30 s. Healthy at 10 %."
    )
    assert [(stop.what, stop.at, stop.seconds) for stop in step.stops] == [
        ("split", at(20), 20), ("paused", at(40), 10),
    ]  # fmt: skip


def test_gates_are_told_with_the_step_that_they_lead_to() -> None:
    """Who let a step begin, with the name marked where it is only a claim."""
    past = history(state="awaiting_approval")
    approved = {"state": "approved", "decided_by": "bob", "verified": False, "note": "go"}
    waiting = {"state": "waiting"}
    steps = [
        step.model_copy(update={"approval": type(step).model_validate(
            {**step.model_dump(), "approval": gate}).approval})
        for step, gate in zip(past.record.steps, [approved, waiting, None, None], strict=True)
    ]  # fmt: skip
    record = past.record.model_copy(update={"steps": steps})
    told = explain(history_of(record, [], []))
    ended = explain(history_of(record.model_copy(update={"state": State.REJECTED}), [], []))
    assert told.steps[0].sentence.startswith("Approved by bob (name not verified): go.")
    assert told.steps[1].sentence == "A person is asked first."
    assert ended.steps[1].sentence == "Nobody answered."
    assert len(told.steps) == 2


def test_decisions_are_those_of_people() -> None:
    """What guard, relay and conductor did is in the timeline alone."""
    events = [
        event("release.created", 0, reason="waiting for a conductor"),
        event("split.changed", 1, actor=GUARD),
        event("release.paused", 2, actor=BOB, weight_percent=10.0, reason="paused by bob"),
        event("release.paused", 3, actor=GUARD, weight_percent=10.0, reason="a rule"),
        event("release.resumed", 4, reason="resumed by ann: back from lunch"),
    ]
    told = explain(history(events=events))
    assert [moment.sentence for moment in told.decisions] == [
        "bob (name not verified) paused it at 10 %.", "ann lets it go on: back from lunch.",
    ]  # fmt: skip
    assert len(told.timeline) == 4
    assert told.timeline[0].sentence == (
        "ann created the release: 10 % → 25 % → 50 % → 100 %, 15 min at each."
    )


@pytest.mark.parametrize(
    ("kind", "data", "sentence"),
    [
        ("release.rule_broken", {"action": "alert", "reason": "rule hot is broken"},
         "the plan's alert acts: rule hot is broken."),
        ("release.approved", {"actor": BOB, "reason": "fine!"},
         "bob (name not verified) approved: fine!"),
        ("release.rejected", {"reason": "rejected by ann: not today"}, "ann said no: not today."),
        ("release.step_started", {"weight_percent": 25.0, "reason": "the gates are green"},
         "takes 25 %: the gates are green."),
        ("release.step_started", {}, "takes its weight."),
        ("notice.undeliverable", {"channel": "slack", "reason": "no such channel."},
         "a notice to slack was given up: no such channel."),
        ("something.new", {"reason": "odd"}, "something new: odd."),
        ("release.rolling_back", {"actor": GUARD, "reason": "told above"},
         "guard took the traffic back."),
        ("release.rolling_back", {"reason": "aborted by ann"}, "ann took the traffic back."),
        ("release.resumed", {"actor": GUARD, "reason": "the split is as it should be again"},
         "guard lets it go on: the split is as it should be again."),
        ("release.held", {"actor": None}, "held at its weight."),
        ("split.changed", {}, None),
    ],
)  # fmt: skip
def test_every_event_is_a_sentence(kind: str, data: Any, sentence: str | None) -> None:
    """Known or not, an event is told once, with its reason if nothing above has told that."""
    (made,) = history(events=[event(kind, 1) | {"data": {"actor": ANN} | data}]).events
    plan = plan_from_mapping({"version_name": "v2"})
    assert sentence_of(made, plan, known="told above") == sentence
