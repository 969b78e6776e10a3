"""Rules of single gates: what each sees, when it speaks, and what it must not blame."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from grayscale.judge import (
    LATENCY_EDGES_MS,
    Arm,
    Interval,
    JudgeState,
    Rule,
    Settings,
    Verdict,
    advance,
    start,
)
from grayscale.judge.blame import history_rate
from grayscale.judge.evidence import (
    SHAPES_PRIOR,
    TAILS_PRIOR,
    shape_log_ratios,
    split_e_value,
    tail_log_ratios,
)
from grayscale.judge.gates import OPTIONAL_GATES, gates_of
from grayscale.judge.layout import gate_set
from grayscale.judge.state import Noise
from grayscale.plan.parts import AnswerGates

BUCKETS = len(LATENCY_EDGES_MS) + 1
Arms = tuple[Arm, Arm]


def interval(number: int, arms: Arms, *, weight: float = 10.0, seconds: float = 10.0) -> Interval:
    return Interval(
        id=number,
        seconds=seconds,
        step=0,
        weight_percent=weight,
        step_seconds=seconds * number,
        soak_done=False,
        stable=arms[0],
        candidate=arms[1],
    )


def after(
    looks: int, arms: Arms, *, settings: Settings | None = None, weight: float = 10.0
) -> tuple[JudgeState, Verdict]:
    state, verdict = advance(start(settings), interval(1, arms, weight=weight))
    for number in range(2, looks + 1):
        state, verdict = advance(state, interval(number, arms, weight=weight))
    return state, verdict


def histogram(bucket: int, count: int) -> list[int]:
    counts = [0] * BUCKETS
    counts[bucket] = count
    return counts


@pytest.mark.parametrize(
    "signal",
    ["refusal", "empty_answer", "truncation", "invalid_json", "invalid_tool_call", "stream_abort"],
)
def test_a_trait_that_stable_does_not_have_is_harmful(signal: str) -> None:
    """A candidate that answers, but badly, is rolled back though nothing failed."""
    stable, candidate = Arm(90, signals={signal: (0, 90)}), Arm(10, signals={signal: (5, 10)})
    _, verdict = after(5, (stable, candidate))
    assert verdict.outcome == "harmful"
    assert "5 of 10 candidate requests" in verdict.sentence


def test_a_trait_alike_in_both_is_no_harm() -> None:
    """Callers who ask for what is refused ask both versions."""
    stable, candidate = Arm(90, signals={"refusal": (9, 90)}), Arm(10, signals={"refusal": (1, 10)})
    _, verdict = after(60, (stable, candidate))
    assert verdict.outcome == "healthy"


def test_a_trait_that_a_plan_leaves_out_is_not_judged() -> None:
    """Shorter answers may be just what is wanted."""
    stable, candidate = Arm(90, signals={"truncation": (0, 90)}), Arm(10, signals={"truncation": (9, 10)})  # fmt: skip
    settings = Settings(switched_off=("truncations",))
    _, verdict = after(20, (stable, candidate), settings=settings)
    assert verdict.outcome == "healthy"


def test_a_signal_that_stable_does_not_show_has_no_weight() -> None:
    """There is nothing to compare with, and nobody pays for the question."""
    state, verdict = after(20, (Arm(90), Arm(10, signals={"refusal": (9, 10)})))
    assert verdict.outcome == "healthy"
    assert all(
        own.stake is None
        for gate, own in zip(gates_of(state.settings), state.gates, strict=True)
        if gate.name in OPTIONAL_GATES
    )


def test_plan_and_judge_know_the_same_optional_gates() -> None:
    """Every gate that may be left out has its switch, and every switch its gate."""
    assert set(AnswerGates.model_fields) == set(OPTIONAL_GATES)


@pytest.mark.parametrize("name", ["ttft", "token_ms", "cost"])
def test_a_histogram_that_moves_up_is_harmful(name: str) -> None:
    """First tokens, pace and price are compared with stable's past."""
    stable = Arm(90, histograms={name: histogram(60, 90)})
    candidate = Arm(10, histograms={name: histogram(80, 10)})
    _, verdict = after(30, (stable, candidate))
    assert verdict.outcome == "harmful"
    assert "than stable's past p50" in verdict.sentence


def test_what_only_shows_at_full_weight_is_found_against_history() -> None:
    """With 5 % left on stable there is hardly a comparison, but there is a past."""
    state, verdict = after(1, (Arm(50, 1), Arm(50, 1)), weight=50)
    for number in range(2, 31):
        state, _ = advance(state, interval(number, (Arm(50, 1), Arm(50, 1)), weight=50))
    for number in range(31, 36):
        full = (Arm(5), Arm(95, 10))
        state, verdict = advance(state, replace(interval(number, full, weight=95), step=1))
    assert verdict.outcome == "harmful"


def test_an_outage_at_full_weight_is_not_the_candidates_fault() -> None:
    """The 5 % on stable fail too: the past is no measure then."""
    state, verdict = after(1, (Arm(50, 1), Arm(50, 1)), weight=50)
    for number in range(2, 31):
        state, _ = advance(state, interval(number, (Arm(50, 1), Arm(50, 1)), weight=50))
    for number in range(31, 61):
        outage = (Arm(5, 2), Arm(95, 38))
        state, verdict = advance(state, replace(interval(number, outage, weight=95), step=1))
    assert (verdict.outcome, verdict.cause) == ("inconclusive", "upstream")


def test_one_poison_caller_is_no_evidence() -> None:
    """A caller whose requests always fail does so with either version."""
    everything = (Arm(90, callers=45), Arm(10, 5, callers=5, failed_callers=1))
    independent = (Arm(5), Arm(1, 1))
    state, verdict = advance(start(), replace(interval(1, everything), independent=independent))
    for number in range(2, 180):
        again = (Arm(90, callers=45), Arm(10, 5, callers=4))
        look = replace(interval(number, again), independent=(Arm(5), Arm(0)))
        state, verdict = advance(state, look)
    assert verdict.outcome == "inconclusive"
    assert "it may be chance" in verdict.sentence


@pytest.mark.parametrize("gate", ["callers", "errors"])
def test_the_first_caller_who_fails_is_let_off(gate: str) -> None:
    """It may be one who would fail anywhere; the second is evidence, and both are shown."""
    everything = (Arm(90, callers=45), Arm(10, 1, callers=5, failed_callers=1))
    seen = []
    state = start()
    for number in (1, 2):
        look = replace(interval(number, everything), independent=(Arm(45), Arm(5, 1)))
        state, verdict = advance(state, look)
        found = verdict.evidence["gates"][gate]
        seen.append((found["e_value"] > 1, found["step"]["candidate"]["bad"]))
    assert seen == [(False, 1), (True, 2)]


def test_health_is_told_of_all_requests() -> None:
    """Where every caller has asked before, none of the step's requests is the first of anybody."""
    everything = (Arm(90, callers=45), Arm(90, 1, callers=45))
    looks = [
        replace(interval(n, everything, weight=50), independent=(Arm(), Arm())) for n in (1, 2, 3)
    ]
    state, verdict = advance(start(), looks[0])
    for look in looks[1:]:
        state, verdict = advance(state, look)
    assert verdict.outcome == "healthy"
    assert "3 of 270 candidate requests failed (1.1 %) against 0 of 270" in verdict.sentence


def test_many_failing_callers_are_evidence() -> None:
    """More of the candidate's callers fail for the first time than of stable's."""
    state = start()
    verdict = None
    for number in range(1, 11):
        everything = (
            Arm(900, 9, callers=4500, failed_callers=5),
            Arm(100, 10, callers=500, failed_callers=6),
        )
        look = replace(interval(number, everything), independent=(Arm(), Arm()))
        state, verdict = advance(state, look)
    assert verdict is not None
    assert verdict.outcome == "harmful"


def test_shared_failures_are_no_absolute_evidence() -> None:
    """Where stable could not make a failure good either, only the comparison hears of it."""
    alone = after(6, (Arm(0), Arm(10, 10)), weight=100)[1]
    shared = after(6, (Arm(0), Arm(10, 10, shared_errors=10)), weight=100)[1]
    assert alone.outcome == "harmful"
    assert shared.outcome == "inconclusive"


def test_requests_that_do_not_follow_the_weights_hold() -> None:
    """A router that gives the candidate half of what it should have is no experiment."""
    _, verdict = after(6, (Arm(95), Arm(5)), weight=25)
    assert (verdict.outcome, verdict.cause) == ("inconclusive", "split_mismatch")
    assert "instead of 25 %" in verdict.sentence


@pytest.mark.parametrize("weight", [1.0, 10.0, 50.0, 95.0])
def test_the_intended_split_is_hardly_ever_doubted(weight: float) -> None:
    """Over 2,000 looks at two minutes of 50 rps, chance never looks like another split (seeded)."""
    rng = random.Random(11)
    for _ in range(100):
        candidate = sum(rng.random() < weight / 100 for _ in range(6000))
        assert split_e_value(6000 - candidate, candidate, weight) < 1e5


@pytest.mark.parametrize("levels", [(0.5, 0.45, 0.04, 0.01), (0.1, 0.2, 0.3, 0.4)])
@pytest.mark.parametrize("truth", [(0.5, 0.45, 0.04, 0.01), (0.1, 0.2, 0.3, 0.4), (0.97, 0.01, 0.01, 0.01)])  # fmt: skip
def test_a_shape_expects_one_at_most_whatever_both_arms_have_in_common(
    levels: tuple[float, ...], truth: Sequence[float]
) -> None:
    """The mean of the ratio over the exact law of small blocks is at most 1, for every guess."""
    expected = [0.0] * len(SHAPES_PRIOR.first)
    for stable, candidate, chance in _blocks(truth, stable=2, candidate=1):
        for index, ratio in enumerate(shape_log_ratios(stable, candidate, (2, 1), shares=levels)):
            expected[index] += chance * math.exp(ratio)
    assert max(expected) <= 1 + 1e-9


@pytest.mark.parametrize("share", [0.05, 0.5])
@pytest.mark.parametrize("truth", [0.02, 0.3, 0.9])
def test_a_tail_expects_one_at_most_whatever_both_arms_have_in_common(
    share: float, truth: float
) -> None:
    """The same of two classes, those beyond a quantile and the others."""
    expected = [0.0] * len(TAILS_PRIOR.first)
    for stable, candidate, chance in _blocks((1 - truth, truth), stable=3, candidate=2):
        ratios = tail_log_ratios((stable[1], candidate[1]), (3, 2), share=share)
        for index, ratio in enumerate(ratios):
            expected[index] += chance * math.exp(ratio)
    assert max(expected) <= 1 + 1e-9
    assert tail_log_ratios((0, 0), (0, 2), share=share) == [0.0] * len(TAILS_PRIOR.first)


def _blocks(
    truth: Sequence[float], *, stable: int, candidate: int
) -> Sequence[tuple[list[int], list[int], float]]:
    """Every outcome of a block of requests, with its chance."""
    blocks = [([0] * len(truth), [0] * len(truth), 1.0)]
    for arm, requests in ((0, stable), (1, candidate)):
        for _ in range(requests):
            blocks = [
                (*_added(block, arm, index), block[2] * share)
                for block in blocks
                for index, share in enumerate(truth)
            ]
    return blocks


def _added(
    block: tuple[list[int], list[int], float], arm: int, index: int
) -> tuple[list[int], list[int]]:
    arms = (list(block[0]), list(block[1]))
    arms[arm][index] += 1
    return arms


def test_dispersion_is_one_for_chance_and_more_for_clusters() -> None:
    """Binomial counts keep the full power of the test, clustered ones lower it (seeded)."""

    def power(failures: Callable[[random.Random], int]) -> float:
        rng, noise = random.Random(4), Noise()
        for _ in range(200):
            noise = noise.after(failures(rng), 100)
        return noise.power

    assert power(lambda rng: sum(rng.random() < 0.05 for _ in range(100))) > 0.85
    assert power(lambda rng: 10 * (rng.random() < 0.5)) < 0.35


def test_history_remembers_the_worst_two_minutes() -> None:
    """What stable has been through before is no news."""
    state, numbers = start(), iter(range(1000))

    def limit(errors: int, looks: int) -> float | None:
        nonlocal state
        for _ in range(looks):
            state, _ = advance(state, interval(next(numbers), (Arm(100, errors), Arm(10))))
        return history_rate(gate_set(state.settings), state)

    assert limit(0, looks=1) is None
    assert limit(0, looks=30) == pytest.approx(0.003)
    limit(8, looks=12)
    assert limit(0, looks=300) == pytest.approx(0.08)


@pytest.mark.parametrize(
    ("metric", "limit", "bad"),
    [
        ("refusal_rate", 5.0, {"signals": {"refusal": (6, 10)}}),
        ("ttft_p95_ms", 100.0, {"histograms": {"ttft": histogram(150, 10)}}),
        ("tokens_per_second", 20.0, {"histograms": {"token_ms": histogram(120, 10)}}),
        ("cost_per_request_usd", 0.01, {"histograms": {"cost": histogram(170, 10)}}),
    ],
)
def test_rules_over_traits_are_absolute(metric: str, limit: float, bad: dict[str, object]) -> None:
    """A plan's own limit acts where everything was beyond it at full weight."""
    settings = Settings(rules=(Rule("mine", metric, limit),), latency_warmup_seconds=0)
    candidate = Arm(10, **bad)  # type: ignore[arg-type]  # the field's name is the case
    _, verdict = after(20, (Arm(), candidate), settings=settings, weight=100)
    assert verdict.outcome == "harmful"
    assert verdict.evidence["rules_broken"] == ["mine"]


def test_a_rule_that_nothing_reports_is_never_passed() -> None:
    """Silence about what a rule watches is not health."""
    settings = Settings(rules=(Rule("mine", "ttft_p95_ms", 100.0),))
    _, verdict = after(20, (Arm(90), Arm(10)), settings=settings)
    assert (verdict.outcome, verdict.cause) == ("inconclusive", "not_enough_data")
    assert "nothing reports what rule mine watches" in verdict.sentence


def test_shares_of_the_capital_never_grow_by_sharing() -> None:
    """Gates that begin to speak late divide what there is; the sum stays what it was."""
    state, before = after(3, (Arm(90, 1), Arm(10)))
    arms = (Arm(90, signals={"refusal": (1, 90)}), Arm(10, signals={"refusal": (0, 10)}))
    state, verdict = advance(state, interval(4, arms))
    assert verdict.evidence["gates"]["refusals"]["share"] > 0
    assert verdict.evidence["e_value"] <= before.evidence["e_value"] * 1.001


def test_the_whole_state_survives_json() -> None:
    """Traits, callers, dispersion and history too."""
    arms = (
        Arm(90, 2, callers=40, failed_callers=1, signals={"refusal": (1, 88)}, histograms={"ttft": histogram(60, 88)}),
        Arm(10, 1, callers=4, failed_callers=1, signals={"refusal": (0, 9)}, histograms={"ttft": histogram(61, 9)}),
    )  # fmt: skip
    state, _ = after(12, arms, weight=60)
    assert JudgeState.from_json(json.loads(json.dumps(state.to_json()))) == state
