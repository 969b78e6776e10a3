"""Rules of whole releases, simulated with named seeds: right, early, and no false alarms."""

from __future__ import annotations

from collections import Counter
from statistics import median
from typing import Any

import pytest

from grayscale.plan import plan_from_mapping
from grayscale.plan.models import Plan
from grayscale.simulation import Ended, Latency, Means, Version, World, always, answers, run

JUDGE_ALONE = Means(breaker=False)
ROLLOUTS = 200


def a_plan(*steps: float, seconds: float = 10.0, interval: float = 1.0, **health: float) -> Plan:
    """These weights for so long each; the last one is 100, as every plan's."""
    ramp = [*(steps or (10.0, 25.0, 50.0)), 100.0]
    fields: dict[str, Any] = {
        "version_name": "candidate",
        "auto_promote": {"promotion_steps": ramp, "step_duration_seconds": seconds},
        "bake": {"duration_seconds": seconds},
        "judge": {"interval_seconds": interval},
        "health_check": health,
    }
    return plan_from_mapping(fields)


def releases(plan: Plan, world: World, count: int) -> list[Ended]:
    return [run(plan, world, seed, means=JUDGE_ALONE) for seed in range(count)]


def ends(plan: Plan, world: World, count: int) -> Counter[str]:
    return Counter(release.end.value for release in releases(plan, world, count))


def twins(rate: float, *, rps: float) -> World:
    version = Version(errors=always(rate))
    return World(rps=rps, stable=version, candidate=version)


def test_a_version_as_good_as_stable_is_rarely_rolled_back() -> None:
    """At most 2 % of A/A releases (0.1, 1 and 4 % errors) end in a rollback."""
    plan, ended = a_plan(interval=2), Counter[str]()
    for rate in (0.001, 0.01, 0.04):
        ended += ends(plan, twins(rate, rps=40), ROLLOUTS // 3)
    assert ended["promoted"] >= ROLLOUTS // 3
    assert ended["rolled_back"] <= 0.02 * ROLLOUTS


def test_a_long_release_is_rarely_rolled_back() -> None:
    """Hundreds of looks do not add up to false alarms."""
    plan = a_plan(10, 50, seconds=600, interval=10)
    assert ends(plan, twins(0.01, rps=4), 20)["rolled_back"] <= 1


def test_a_healthy_release_is_promoted() -> None:
    """With 0.2 % errors and a limit of 5 %, short steps are enough."""
    ended = ends(a_plan(), twins(0.002, rps=40), 60)
    assert ended["promoted"] >= 55
    assert ended["rolled_back"] == 0


@pytest.mark.parametrize("weight", [10.0, 25.0, 50.0])
@pytest.mark.parametrize("answer_seconds", [0, 2])
def test_a_fifth_of_errors_is_found_within_sixty_requests(
    weight: float, answer_seconds: int
) -> None:
    """20 % against 0.5 % is harmful after 60 candidate requests in most releases."""
    world = World(
        stable=Version(errors=always(0.005), answer_seconds=answer_seconds),
        candidate=Version(errors=always(0.2), answer_seconds=answer_seconds),
    )
    found = releases(a_plan(weight, seconds=60), world, 30)
    assert {release.end.value for release in found} == {"rolled_back"}
    under_way = world.rps * weight / 100 * (answer_seconds + 2)
    assert median(release.candidate_requests for release in found) <= 60 + under_way


@pytest.mark.parametrize("weight", [10.0, 25.0, 50.0])
def test_a_total_failure_is_found_within_ten_requests(weight: float) -> None:
    """A candidate that answers nothing is harmful after ten requests at any weight."""
    world = World(
        rps=5,
        stable=Version(errors=always(0.005)),
        candidate=Version(errors=lambda moment: 1.0 if moment.seconds > 60 else 0.005),
    )
    found = releases(a_plan(weight, seconds=300), world, 20)
    assert {release.end.value for release in found} == {"rolled_back"}
    under_way = world.rps * weight / 100 * 3  # an interval, and the time a rollback takes
    assert median(release.failed_requests for release in found) <= 10 + under_way


def test_an_outage_of_the_upstream_rolls_nothing_back() -> None:
    """Both arms fail half of their requests: the release is held, and says why."""
    sick = Version(errors=lambda moment: 0.5 if moment.seconds > 15 else 0.01)
    found = releases(a_plan(interval=10), World(rps=40, stable=sick, candidate=sick), 5)
    held = [release for release in found if release.end.value == "asked"]
    assert len(held) == 5
    assert {release.cause for release in held} == {"upstream"}


def test_a_release_goes_on_when_the_upstream_is_well_again() -> None:
    """What happened while both were sick is not held against the candidate."""
    version = Version(errors=lambda moment: 0.5 if 300 < moment.seconds < 500 else 0.01)
    plan = a_plan(10, 50, seconds=900, interval=10)
    assert ends(plan, World(stable=version, candidate=version), 8)["promoted"] >= 7


def test_half_slower_answers_are_found() -> None:
    """Latencies 50 % above stable's are harmful, though far below the limit."""
    slow = Version(latency=answers(Latency().times(1.5)))
    found = releases(a_plan(seconds=900, interval=10), World(candidate=slow), 10)
    assert {release.end.value for release in found} == {"rolled_back"}
    assert all("slower than stable's past p" in release.sentence for release in found)


def test_good_answers_that_take_long_are_no_bad_ones() -> None:
    """Errors are told at once and answers after 30 s: counted by start, nothing is amiss."""
    version = Version(errors=always(0.04), answer_seconds=30)
    plan = a_plan(10, 25, seconds=300, interval=10)
    assert ends(plan, World(rps=20, stable=version, candidate=version), 10)["rolled_back"] == 0


def test_a_seed_names_a_release() -> None:
    """The same seed gives the same release, to the last digit."""
    plan, world = a_plan(10), twins(0.01, rps=10)
    assert run(plan, world, 7) == run(plan, world, 7)
