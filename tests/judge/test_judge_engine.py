"""Rules of the judge's face: three answers, their causes, and input that cannot be true."""

from __future__ import annotations

import json
import zlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grayscale.judge import (
    LATENCY_EDGES_MS,
    Arm,
    Interval,
    JudgeInputError,
    JudgeState,
    Rule,
    Settings,
    Verdict,
    advance,
    start,
)
from grayscale.judge.evidence import EProcess
from grayscale.judge.layout import gate_set
from grayscale.judge.past import Past, Spread
from grayscale.judge.state import FORMAT, GateState, Health, Mark, Noise, counts_in
from tests.judge.intervals import CLEAN, QUICK, SICK, SLOW, an_interval, answers, judged


def test_the_edges_are_log_buckets_from_a_millisecond_to_ten_minutes() -> None:
    """Upper edges rise by 5 %, so that any latency is known to within 2.5 %."""
    assert LATENCY_EDGES_MS[0] == 1.0
    assert LATENCY_EDGES_MS[-2] < 600_000 <= LATENCY_EDGES_MS[-1]
    for below, above in pairwise(LATENCY_EDGES_MS):
        assert above / below == pytest.approx(1.05, abs=1e-3)


def test_the_contracts_example_works_as_written() -> None:
    """The face that others call: start, advance, and four fields of a verdict."""
    state = start(Settings(error_threshold_percent=5.0, latency_threshold_ms=2000.0, alpha=0.05))
    state, verdict = advance(
        state,
        Interval(
            id=1, seconds=10.0, step=0, weight_percent=10.0, step_seconds=120.0, soak_done=False,
            stable=Arm(requests=900, errors=9, latency_counts=answers(891)),
            candidate=Arm(requests=100, errors=1, latency_counts=answers(99)),
        ),
    )  # fmt: skip
    assert (verdict.outcome, verdict.cause) == ("inconclusive", "not_enough_data")
    assert "1 of 100 candidate requests failed (1.0 %)" in verdict.sentence
    assert verdict.evidence["gates"]["errors"]["step"]["stable"] == {"bad": 9, "all": 900}


def test_clean_requests_make_healthy() -> None:
    """A hundred requests without a failure exclude a failure rate above 5 %."""
    _, verdict = judged(CLEAN)
    assert (verdict.outcome, verdict.cause) == ("healthy", None)
    assert verdict.sentence.startswith(
        "Healthy at 10 %: 0 of 100 candidate requests failed (0.0 %) against 0 of 900 on stable "
        "(0.0 %); a failure rate above 5 % would look this good at most once in "
    )


def test_failures_alike_make_healthy_where_the_limit_is_near() -> None:
    """Where the limit cannot be excluded, a candidate not twice as bad as stable will do."""
    _, verdict = judged(*[(Arm(900, 44), Arm(900, 43))] * 4, weight_percent=50.0)
    assert verdict.outcome == "healthy"
    assert "a version that fails twice as often as stable would look this good" in verdict.sentence


def test_too_few_requests_are_no_health() -> None:
    """Below the minimum there is no healthy, however clean."""
    _, verdict = judged((Arm(500, 0), Arm(59, 0)), settings=Settings(error_threshold_percent=50))
    assert (verdict.outcome, verdict.cause) == ("inconclusive", "not_enough_data")
    assert "59 of the 60 candidate requests" in verdict.sentence


def test_no_requests_at_all_are_not_enough_data() -> None:
    """Silence is neither good nor bad."""
    _, verdict = judged(*[(Arm(), Arm())] * 50)
    assert (verdict.outcome, verdict.cause) == ("inconclusive", "not_enough_data")


def test_health_is_shown_anew_at_each_step() -> None:
    """What was seen at 10 % does not let a release leave 25 %."""
    state, verdict = judged(CLEAN)
    assert verdict.outcome == "healthy"
    few = an_interval(2, Arm(9), Arm(3), step=1, weight_percent=25.0)
    state, verdict = advance(state, few)
    assert (verdict.outcome, verdict.evidence["candidate_requests"]) == ("inconclusive", 3)
    again = an_interval(3, Arm(9), Arm(3), step=1, weight_percent=20.0)
    _, verdict = advance(state, again)
    assert verdict.evidence["candidate_requests"] == 3


def test_evidence_of_harm_outlives_a_step() -> None:
    """A candidate that looks bad at 10 % does not start clean at 25 %."""
    state, first = judged((Arm(90, 0), Arm(10, 2)))
    _, second = advance(state, an_interval(2, Arm(), Arm(), step=1, weight_percent=25.0))
    assert first.evidence["gates"]["errors"]["e_value"] > 5
    assert second.evidence["gates"]["errors"]["e_value"] > 5


def test_many_failures_are_harmful_and_told_with_numbers() -> None:
    """The sentence names time, weight, both counts and the odds."""
    _, verdict = judged(*[(Arm(90, 1), Arm(10, 3))] * 16)
    assert (verdict.outcome, verdict.cause) == ("harmful", "candidate")
    assert verdict.sentence.startswith("Rolled back after 20 s at 10 %: 6 of 20 candidate requests")
    assert (
        "failed (30.0 %) against 2 of 180 on stable (1.1 %); a version as good" in verdict.sentence
    )
    assert verdict.evidence["e_value"] >= verdict.evidence["needed_e_value"] == 20


def test_harm_right_after_a_step_is_told_with_all_counts() -> None:
    """Where the step has hardly begun, the whole release is told."""
    state, _ = judged((Arm(180, 1), Arm(20, 3)))
    _, verdict = advance(state, an_interval(2, Arm(9), Arm(3, 3), step=1, weight_percent=25.0))
    assert verdict.outcome == "harmful"
    assert "6 of 23 candidate requests failed" in verdict.sentence


def test_harmful_stays_harmful() -> None:
    """No later interval takes the verdict back."""
    state, harmful = judged((Arm(900, 0), Arm(100, 50)))
    for number in range(2, 20):
        state, verdict = advance(state, an_interval(number, *CLEAN))
        assert verdict == harmful


def test_a_total_failure_at_full_weight_is_harmful_without_control() -> None:
    """At 100 % there is nothing to compare with: the limit alone decides."""
    _, verdict = judged((Arm(), Arm(20, 20)), weight_percent=100.0)
    assert verdict.outcome == "harmful"
    assert "with 5.0 % as the limit; a version within the limit would" in verdict.sentence


def test_both_arms_sick_is_the_upstream() -> None:
    """A provider's outage holds the release and blames nobody else."""
    _, verdict = judged(*[CLEAN] * 3, *[SICK] * 30)
    assert (verdict.outcome, verdict.cause) == ("inconclusive", "upstream")
    assert "stable itself is beyond it, so the upstream is the likely cause" in verdict.sentence


def test_sick_stable_and_well_candidate_is_a_hold() -> None:
    """While stable suffers, nothing is promoted."""
    _, verdict = judged((Arm(900, 450), Arm(100, 0)))
    assert (verdict.outcome, verdict.cause) == ("inconclusive", "upstream")


def at_95_percent(*later: tuple[Arm, Arm]) -> Verdict:
    """After ten minutes in health at half of the traffic."""
    state, verdict = judged(*[(Arm(50, 0), Arm(50, 0))] * 60, weight_percent=50.0)
    for number, (stable, candidate) in enumerate(later, 61):
        interval = an_interval(number, stable, candidate, step=1, weight_percent=95.0)
        state, verdict = advance(state, interval)
        if verdict.outcome == "harmful":
            return verdict
    return verdict


def test_without_a_control_nobody_is_blamed() -> None:
    """Where stable has no requests, nothing tells whether it would have fared better."""
    verdict = at_95_percent(*[(Arm(), Arm(9, 3))] * 40)
    assert verdict.outcome == "inconclusive"
    assert verdict.evidence["gates"]["error_limit"]["blamed"] is False


def test_a_few_requests_of_stable_are_control_enough() -> None:
    """One in ten seconds, all of them well, while a third of the candidate's fail."""
    verdict = at_95_percent(*[(Arm(1), Arm(9, 3))] * 20)
    assert verdict.outcome == "harmful"


def test_an_outage_that_stable_hardly_sees_is_not_blamed_on_the_candidate() -> None:
    """At a request in twenty seconds a third of which fails too, during the outage and after it."""
    sick, idle, well = Arm(9, 3), (Arm(), Arm(9, 3)), (Arm(1), Arm(9))
    outage = [(Arm(1), sick), idle, (Arm(1, 1), sick), idle, (Arm(1), sick), idle] * 5
    assert at_95_percent(*outage).outcome == "inconclusive"
    assert at_95_percent(*outage, *[well, (Arm(), Arm(9))] * 40).outcome != "harmful"


def test_a_mild_shared_rise_at_full_weight_is_not_blamed_on_the_candidate() -> None:
    """Below the plan's limit, stable must be surely well before the candidate is at fault."""
    rise = [(Arm(5), Arm(95, 2))] * 10 + [(Arm(5, 1), Arm(95, 2))] * 2
    assert at_95_percent(*rise).outcome != "harmful"


@pytest.mark.parametrize("idle", [Arm(), Arm(5)])
def test_a_version_that_is_idle_for_a_while_is_compared_by_what_it_has(idle: Arm) -> None:
    """Failures of an interval are held against the requests of that interval, too."""
    even = [(Arm(900, 9), Arm(100, 1))] * 12
    _, verdict = judged(*even, *[(idle, Arm(100, 1))] * 28)
    assert verdict.outcome != "harmful"


def test_failures_of_the_weight_before_are_no_evidence_against_the_one_after() -> None:
    """At 10 % there still come time-outs of requests that started when it was 50 %."""
    state, verdict = judged(*[(Arm(500, 5), Arm(500, 5))] * 12, weight_percent=50.0)
    for number in range(13, 19):
        late = an_interval(number, Arm(900, 9), Arm(100, 9), step=1)
        state, verdict = advance(state, late)
    assert verdict.outcome != "harmful"


def test_a_little_evidence_of_harm_is_no_health() -> None:
    """Not enough to roll back can be too much to go on."""
    _, verdict = judged((Arm(9000, 9), Arm(1000, 6)))
    assert (verdict.outcome, verdict.cause) == ("inconclusive", "not_enough_data")
    assert "too much to go on" in verdict.sentence


def test_more_failures_than_the_limit_are_no_health() -> None:
    """A step beyond the limit cannot be left, though it may be chance."""
    _, verdict = judged(*[(Arm(1000, 40), Arm(1000, 51))] * 3, weight_percent=50.0)
    assert verdict.outcome == "inconclusive"
    assert "5.0 % as the limit; it may be chance" in verdict.sentence


def test_answers_beyond_the_latency_limit_are_no_health() -> None:
    """Slow answers stand in the way even before they are proof."""
    candidate = Arm(100, 0, [a + b for a, b in zip(answers(92), answers(8, SLOW), strict=True)])
    stable = Arm(100, 0, [a + b for a, b in zip(answers(96), answers(4, SLOW), strict=True)])
    settings = Settings(latency_warmup_seconds=0)
    _, verdict = judged((stable, candidate), settings=settings, weight_percent=50.0)
    assert verdict.outcome == "inconclusive"
    assert "8 of 100 candidate requests took longer than 2000 ms (8.0 %)" in verdict.sentence


def test_latencies_of_the_warm_up_are_not_judged() -> None:
    """A cold start is slow, and no fault; afterwards it would be."""
    cold = (Arm(900, 0, answers(900)), Arm(100, 0, answers(100, SLOW)))
    _, warming = judged(*[cold] * 6)
    assert warming.outcome == "healthy"
    _, warm = judged(*[cold] * 7)
    assert warm.outcome == "harmful"
    assert "100 of 100 candidate requests" in warm.sentence


def test_a_candidate_slower_than_stables_past_is_harmful() -> None:
    """Below the limit, but much slower than stable: the relative gates tell."""
    arms = (Arm(900, 0, answers(900, 60)), Arm(100, 0, answers(100, 70)))
    _, verdict = judged(*[arms] * 3, settings=Settings(latency_warmup_seconds=0))
    assert verdict.outcome == "harmful"
    assert "were slower than stable's past p50 (100.0 %)" in verdict.sentence


def test_ten_percent_slower_is_as_good_as_stable() -> None:
    """A shift of two buckets is tolerated."""
    arms = (Arm(900, 0, answers(900, 60)), Arm(100, 0, answers(100, 62)))
    _, verdict = judged(*[arms] * 30, settings=Settings(latency_warmup_seconds=0))
    assert verdict.outcome == "healthy"


def test_ends_may_be_told_after_starts() -> None:
    """A request that started in one interval may fail in the next one."""
    state, _ = advance(start(), an_interval(1, Arm(90, 0, answers(80)), Arm(10, 0, answers(4))))
    assert (state.open_stable, state.open_candidate) == (10, 6)
    state, verdict = advance(state, an_interval(2, Arm(0, 1, answers(9)), Arm(0, 6, answers(0))))
    assert (state.open_stable, state.open_candidate) == (0, 0)
    assert verdict.outcome == "harmful"


def test_failures_told_late_are_taken_from_what_seemed_good() -> None:
    """Over all intervals, failures are counted against the requests that there were."""
    state, _ = advance(start(), an_interval(1, Arm(90, 0, answers(80)), Arm(9, 0, answers(0))))
    state, _ = advance(state, an_interval(2, Arm(0, 0, answers(10)), Arm(1, 2, answers(0))))
    assert state.debt == 1
    state, _ = advance(state, an_interval(3, Arm(0, 0, answers(0)), Arm(5, 0, answers(12))))
    assert state.debt == 0
    gates = gate_set(state.settings)
    slot = gates.slots[gates.place["error_limit"]]
    assert counts_in(slot, state.totals).candidate == 15


def test_a_failure_without_a_request_in_this_step_is_of_one_before_it() -> None:
    """The first news of a step is held against the requests of the two minutes before."""
    state, _ = advance(start(), an_interval(1, Arm(90, 0, answers(90)), Arm(9, 0, answers(0))))
    late = an_interval(2, Arm(0, 0, answers(0)), Arm(0, 2, answers(0)), step=1)
    _, verdict = advance(state, late)
    assert verdict.evidence["gates"]["errors"]["e_value"] > 5
    _, verdict = advance(start(), an_interval(1, Arm(0, 0), Arm(0, 0)))
    assert verdict.evidence["e_value"] == pytest.approx(0, abs=1)


def test_a_candidate_that_never_answers_is_not_healthy() -> None:
    """Requests without an end are no evidence of health."""
    _, verdict = judged(*[(Arm(900, 0, answers(900)), Arm(100, 0, answers(0)))] * 20)
    assert (verdict.outcome, verdict.cause) == ("inconclusive", "not_enough_data")


@pytest.mark.parametrize(
    ("arms", "weight", "missing"),
    [
        ((Arm(900), Arm()), 10.0, "has had 0 (0.0 %) instead of 10 %"),
        ((Arm(), Arm(900)), 95.0, "has had 900 (100.0 %) instead of 95 %"),
    ],
)
def test_an_arm_that_vanishes_is_a_mismatch(
    arms: tuple[Arm, Arm], weight: float, missing: str
) -> None:
    """A version without the requests of its weight holds the release."""
    _, verdict = judged(arms, weight_percent=weight)
    assert (verdict.outcome, verdict.cause) == ("inconclusive", "split_mismatch")
    assert missing in verdict.sentence


def test_an_unverified_split_holds() -> None:
    """As long as some worker may run another split, nothing is healthy."""
    _, verdict = judged(CLEAN, split_verified=False)
    assert (verdict.outcome, verdict.cause) == ("inconclusive", "split_mismatch")


def test_stale_counters_hold_and_teach_nothing() -> None:
    """An interval without all counters is left out whole."""
    before, _ = judged(CLEAN)
    after, verdict = advance(before, an_interval(2, Arm(90, 0), Arm(10, 10), fresh=False))
    assert (verdict.outcome, verdict.cause) == ("inconclusive", "stale_metrics")
    assert after == before._replace(last_id=2)


def test_no_latencies_are_no_obstacle() -> None:
    """Arms without latencies are judged by their errors, before and after others had some."""
    state, _ = judged((Arm(90, 0, answers(90)), Arm(10, 0, answers(10))))
    state, verdict = advance(state, an_interval(2, Arm(900), Arm(100)))
    assert verdict.outcome == "healthy"
    assert state.histograms["latency"].total == 90


def test_answers_to_what_stable_was_asked_before_the_release_are_taken() -> None:
    """Long answers are under way when a release begins."""
    _, verdict = judged(*[(Arm(90, 0, answers(120)), Arm(10, 0, answers(9)))] * 12)
    assert verdict.outcome == "healthy"


def test_requests_that_never_end_are_not_healthy() -> None:
    """A candidate of which a third hangs is not promoted, and the verdict says why."""
    _, verdict = judged(*[(Arm(90, 0, answers(89)), Arm(10, 0, answers(7)))] * 30)
    assert (verdict.outcome, verdict.cause) == ("inconclusive", "not_enough_data")
    assert (
        "90 of 300 candidate requests have no end yet, against 30 of 2,700 on" in verdict.sentence
    )


def test_requests_that_take_long_in_both_versions_are_healthy() -> None:
    """Answers of two intervals are under way in stable, too."""
    late = [(Arm(90, 0, answers(0)), Arm(10, 0, answers(0)))] * 2
    _, verdict = judged(*late, *[(Arm(90, 0, answers(90)), Arm(10, 0, answers(10)))] * 12)
    assert verdict.outcome == "healthy"


ARMS = st.builds(
    lambda requests, share, slow: Arm(
        requests,
        round(requests * share),
        answers(requests - round(requests * share), SLOW if slow else QUICK),
        {500: round(requests * share)},
    ),
    st.integers(min_value=0, max_value=500),
    st.floats(min_value=0, max_value=1),
    st.booleans(),
)
RULES = (
    Rule("errors", "error_rate", 10.0),
    Rule("zero", "error_rate", 0.0, rolls_back=False),
    Rule("slow", "p99_latency_ms", 3000.0),
    Rule("codes", "error_code", codes=(500, 503)),
)


def test_what_is_stored_does_not_change_unnoticed() -> None:
    """A state of another shape has another format: no build reads another one's by mistake."""
    gates = gate_set(Settings())
    kept = (JudgeState, GateState, EProcess, Noise, Mark, Health, Past, Spread)
    shape = [
        *((kind.__name__, kind._fields) for kind in kept),
        *((gate.name, len(gate.prior.first)) for gate in gates.gates),
        (gates.slots, gates.remembered, gates.length),
    ]
    found = (FORMAT, zlib.crc32(repr(shape).encode()))
    assert found == (1, 1101469553), "raise FORMAT, and write the new pair here"


def test_a_state_of_another_format_is_refused() -> None:
    """What another build has written is not read as if it were this one's."""
    with pytest.raises(JudgeInputError, match="format: None is not 1"):
        JudgeState.from_json({**start().to_json(), "format": None})


@given(
    st.lists(st.tuples(ARMS, ARMS, st.sampled_from([10.0, 50.0, 95.0, 100.0])), max_size=12),
    st.sampled_from([1.0, 4.0, 30.0]),
)
def test_the_state_survives_json_at_any_time(
    story: list[tuple[Arm, Arm, float]], seconds: float
) -> None:
    """A judge read from JSON goes on exactly like the one that was written; nothing crashes it."""
    state = start(Settings(rules=RULES, latency_warmup_seconds=5))
    for number, (stable, candidate, weight) in enumerate(story, 1):
        interval = an_interval(
            number, stable, candidate, seconds=seconds, step=int(weight), weight_percent=weight
        )
        stored = JudgeState.from_json(json.loads(json.dumps(state.to_json(), allow_nan=False)))
        assert stored == state
        state, verdict = advance(stored, interval)
        json.dumps(verdict.evidence, allow_nan=False)
        assert verdict.outcome != "healthy" or verdict.evidence["candidate_requests"] >= 60


def with_rule(rule: Rule, *arms: tuple[Arm, Arm]) -> Verdict:
    return judged(*arms, settings=Settings(rules=(rule,), latency_warmup_seconds=0))[1]


def test_a_rule_tighter_than_the_limit_rolls_back() -> None:
    """A plan's own guard rail is a gate like the others."""
    arms = [(Arm(900, 0), Arm(900, 11))] * 4
    assert judged(*arms)[1].outcome == "harmful"
    verdict = with_rule(Rule("tight", "error_rate", 0.1), *arms)
    assert verdict.outcome == "harmful"
    assert verdict.evidence["rules_broken"] == ["tight"]


def test_an_alert_is_reported_and_takes_nothing_away() -> None:
    """A rule that does not roll back has no weight in the verdict."""
    slow = [a + b for a, b in zip(answers(50), answers(50, 140), strict=True)]
    arms = [(Arm(900, 0, answers(900)), Arm(100, 0, slow))]
    verdict = with_rule(Rule("slow", "p95_latency_ms", 500, rolls_back=False), *arms)
    assert verdict.evidence["rules_broken"] == ["slow"]
    assert verdict.outcome == "healthy"


def test_a_rule_on_codes_compares_with_stable() -> None:
    """One 503 rolls nothing back; many more than on stable do."""
    rule = Rule("codes", "error_code", codes=(503,))
    one = with_rule(rule, (Arm(900, 0, (), {}), Arm(100, 1, (), {503: 1})))
    assert one.outcome == "inconclusive"
    many = [(Arm(900, 9, (), {500: 9}), Arm(100, 4, (), {503: 4}))] * 9
    state, _ = judged(*many[:2], settings=Settings(rules=(rule,)))
    assert state.gates[-1].process.value > state.gates[0].process.value
    verdict = with_rule(rule, *many)
    assert verdict.outcome == "harmful"
    assert "candidate requests answered 503" in verdict.sentence


def test_codes_of_rejected_requests_are_no_contradiction() -> None:
    """Callers' own mistakes have codes, too, but are neither requests nor errors here."""
    verdict = with_rule(
        Rule("codes", "error_code", codes=(503,)), (Arm(900, 0, (), {400: 7}), Arm(100, 0, (), {}))
    )
    assert verdict.outcome == "healthy"


@pytest.mark.parametrize(
    "rule", [Rule("r", "tokens_per_second", 5.0), Rule("r", "error_code", codes=(500,))]
)
def test_a_rule_that_nothing_reports_on_is_never_a_pass(rule: Rule) -> None:
    """A guard rail that nobody measures holds the release and says so."""
    verdict = with_rule(rule, CLEAN)
    assert (verdict.outcome, verdict.cause) == ("inconclusive", "not_enough_data")
    assert "nothing reports what rule r watches" in verdict.sentence


@pytest.mark.parametrize(
    ("intervals", "shown"), [(1, "after 10 s at"), (7, "after 1 m 10 s"), (361, "after 1 h 0 m")]
)
def test_durations_are_told_as_people_do(intervals: int, shown: str) -> None:
    """Seconds, minutes and hours, no more than two of them."""
    state = start()
    for number in range(1, intervals):
        state, _ = advance(state, an_interval(number, Arm(9), Arm(1)))
    _, verdict = advance(state, an_interval(intervals, Arm(900), Arm(100, 90)))
    assert shown in verdict.sentence
    assert "once in a million releases" in verdict.sentence
