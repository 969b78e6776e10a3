"""Rules of whole releases, simulated with named seeds: right, early, and no false alarms."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from statistics import median

import pytest

from grayscale.judge import Settings
from tests.judge.simulation import World, always, run

SHORT = World(rps=40, step_seconds=10, interval_seconds=1)
ROLLOUTS = 200


def outcomes(world: World, rollouts: int) -> Counter[str]:
    return Counter(run(world, seed).outcome for seed in range(rollouts))


def test_a_version_as_good_as_stable_is_rarely_rolled_back() -> None:
    """At most 2 % of A/A releases (0.1, 1 and 4 % errors) end in a rollback."""
    ended: Counter[str] = Counter()
    for rate in (0.001, 0.01, 0.04):
        alike = always(rate)
        world = replace(SHORT, interval_seconds=2, stable_errors=alike, candidate_errors=alike)
        ended += outcomes(world, ROLLOUTS // 3)
    assert ended["promoted"] >= ROLLOUTS // 3
    assert ended["rolled_back"] <= 0.02 * ROLLOUTS


def test_a_long_release_is_rarely_rolled_back() -> None:
    """Hundreds of looks do not add up to false alarms."""
    world = World(rps=4, step_seconds=600, steps=(10.0, 50.0))
    assert outcomes(world, 20)["rolled_back"] <= 1


def test_a_healthy_release_is_promoted() -> None:
    """With 0.2 % errors and a limit of 5 %, short steps are enough."""
    world = replace(SHORT, stable_errors=always(0.002), candidate_errors=always(0.002))
    ended = outcomes(world, 60)
    assert ended["promoted"] >= 55
    assert ended["rolled_back"] == 0


@pytest.mark.parametrize("weight", [10.0, 25.0, 50.0])
@pytest.mark.parametrize("answer_after", [0, 2])
def test_a_fifth_of_errors_is_found_within_sixty_requests(weight: float, answer_after: int) -> None:
    """20 % against 0.5 % is harmful after 60 candidate requests in most releases."""
    world = replace(
        SHORT,
        rps=10,
        steps=(weight,),
        step_seconds=60,
        stable_errors=always(0.005),
        candidate_errors=always(0.2),
        answer_after=answer_after,
    )
    under_way = world.rps * weight / 100 * answer_after
    ends = [run(world, seed) for seed in range(30)]
    assert {end.outcome for end in ends} == {"rolled_back"}
    assert median(end.candidate_requests for end in ends) <= 60 + under_way


@pytest.mark.parametrize("weight", [10.0, 25.0, 50.0, 95.0])
def test_a_total_failure_is_found_within_ten_requests(weight: float) -> None:
    """A candidate that answers nothing is harmful after ten requests at any weight."""
    world = replace(
        SHORT,
        rps=5,
        steps=(weight,),
        step_seconds=300,
        stable_errors=always(0.005),
        candidate_errors=lambda clock: 1.0 if clock > 60 else 0.005,
    )
    ends = [run(world, seed) for seed in range(20)]
    assert {end.outcome for end in ends} == {"rolled_back"}
    if weight < 95:  # with 5 % of control, it takes its next requests to know whom to blame
        assert median(end.candidate_errors for end in ends) <= 10


def test_an_outage_of_the_upstream_rolls_nothing_back() -> None:
    """Both arms fail half of their requests: the release is held, and says why."""
    outage = replace(
        SHORT,
        stable_errors=lambda clock: 0.5 if clock > 15 else 0.01,
        candidate_errors=lambda clock: 0.5 if clock > 15 else 0.01,
    )
    ends = [run(outage, seed) for seed in range(40)]
    assert sum(end.outcome == "rolled_back" for end in ends) <= 1
    held = [end for end in ends if end.outcome == "asked"]
    assert len(held) >= 38
    assert {end.verdict.cause for end in held} == {"upstream"}
    assert all("upstream is the likely cause" in end.verdict.sentence for end in held)


def test_a_release_goes_on_when_the_upstream_is_well_again() -> None:
    """What happened while both were sick is not held against the candidate."""

    def outage(clock: float) -> float:
        return 0.5 if 300 < clock < 500 else 0.01

    world = World(stable_errors=outage, candidate_errors=outage, steps=(10.0, 50.0))
    assert outcomes(world, 8)["promoted"] >= 7


def test_half_slower_answers_are_found() -> None:
    """Latencies 50 % above stable's are harmful, though far below the limit."""
    ends = [run(World(slowdown=1.5), seed) for seed in range(10)]
    assert {end.outcome for end in ends} == {"rolled_back"}
    assert all("slower than stable's past p" in end.verdict.sentence for end in ends)


def test_answers_beyond_the_limit_are_found() -> None:
    """A p95 above the plan's limit is harmful even where stable's past is too short to compare."""
    settings = Settings(latency_threshold_ms=1000, latency_warmup_seconds=0)
    world = replace(SHORT, rps=8, latency_ms=300, slowdown=4, step_seconds=60, settings=settings)
    ends = [run(world, seed) for seed in range(20)]
    assert {end.outcome for end in ends} == {"rolled_back"}


def test_a_seed_names_a_release() -> None:
    """The same seed gives the same release, to the last digit."""
    assert run(World(steps=(10.0,)), 7) == run(World(steps=(10.0,)), 7)
