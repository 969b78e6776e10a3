"""Rules of the forecast: honest about how sure it is, the same on one core and on several."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any, get_args

import pytest

from grayscale.cli.simulate import ScenarioName
from grayscale.plan import Plan, plan_from_mapping
from grayscale.simulation import (
    End,
    Ended,
    Moment,
    Recipe,
    Scenario,
    Share,
    Spread,
    affordable_rollouts,
    forecast,
    simulate,
)

SHORT = {
    "version_name": "v",
    "auto_promote": {"promotion_steps": [50, 100], "step_duration_seconds": 120},
    "bake": {"duration_seconds": 60},
}


def plan(**fields: Any) -> Plan:
    return plan_from_mapping({**SHORT, **fields})


def moment(seconds: float) -> Moment:
    return Moment(seconds, 50.0)


GOOD = Ended(
    end=End.PROMOTED,
    seconds=300.0,
    worse_since=None,
    candidate_requests=100,
    failed_requests=2,
    callers_failed=1,
    evidence_seconds=(30.0, 10.0, 10.0),
    cause="",
    sentence="",
)
FOUND = replace(GOOD, end=End.ROLLED_BACK, seconds=42.0, worse_since=0.0, evidence_seconds=(None,))


def test_no_case_among_few_is_no_certainty() -> None:
    """The interval of a probability knows how many were tried."""
    assert Share(0, 20).interval == pytest.approx((0.0, 0.161), abs=0.001)
    assert Share(20, 20).interval == pytest.approx((0.839, 1.0), abs=0.001)
    assert Share(50, 100).interval == pytest.approx((0.404, 0.596), abs=0.001)


def test_what_never_happened_is_later_than_everything() -> None:
    """A median exists while half of the releases have one."""
    assert Spread.of([1.0, 2.0, 3.0, None]) == Spread(2.0, None)
    assert Spread.of([None, None, 1.0]) == Spread(None, None)
    assert Spread.of([float(n) for n in range(1, 101)]) == Spread(50.0, 95.0)


def test_harm_is_counted_as_found_missed_or_asked_about() -> None:
    """Every release falls into one class; one that came too early is not found."""
    early = replace(FOUND, worse_since=100.0)
    missed = replace(GOOD, worse_since=0.0)
    asked = replace(FOUND, end=End.ASKED)
    seen = forecast(plan(), Recipe(), [FOUND, FOUND, early, missed, asked])
    assert seen.missed is not None
    counts = [one.count for one in (seen.found, seen.false_rollback, seen.missed, seen.asked)]
    assert counts == [2, 1, 1, 1]
    assert seen.detection_seconds == Spread(None, None)


def test_where_there_is_no_harm_nothing_is_missed() -> None:
    """Promotions of good candidates are no mistakes."""
    seen = forecast(plan(), Recipe(), [GOOD, GOOD])
    assert (seen.missed, seen.detection_seconds) == (None, None)
    assert seen.promoted.count == 2
    assert [step.name for step in seen.steps] == ["50 %", "100 %", "bake"]
    assert [step.weight_percent for step in seen.steps] == [50, 95, 95]
    assert [step.candidate_requests for step in seen.steps] == [600, 1140, 570]
    assert seen.steps[0].evidence_seconds == Spread(30.0, 30.0)


def test_steps_that_nobody_reached_say_so() -> None:
    """A release that came back early tells nothing about later steps."""
    steps = forecast(plan(), Recipe(), [FOUND]).steps
    assert [step.reached for step in steps] == [1, 0, 0]


def test_several_cores_give_the_same_releases() -> None:
    """Each release has its own seed, wherever it runs."""
    recipe = Recipe(Scenario.ERRORS)
    one = list(simulate(plan(), recipe, rollouts=200, seed=5))
    two = list(simulate(plan(), recipe, rollouts=200, seed=5, processes=2))
    assert one == two
    assert one != list(simulate(plan(), recipe, rollouts=200, seed=6))


def test_long_plans_are_tried_less_often() -> None:
    """What takes some seconds is fewer releases the longer each is."""
    day = {"auto_promote": {"step_duration_minutes": 1440}}
    counts = [affordable_rollouts(plan_from_mapping(one)) for one in (SHORT, {}, day)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] == 100
    assert counts[-1] == 10


def test_the_commands_scenarios_are_the_simulations() -> None:
    """Each scenario can be asked for by its name."""
    assert get_args(ScenarioName) == tuple(Scenario)


@pytest.mark.parametrize("scenario", list(Scenario))
def test_every_recipe_can_be_sent_to_another_process(scenario: Scenario) -> None:
    """Recipes are values; the world is made where it is needed."""
    recipe = pickle.loads(pickle.dumps(Recipe(scenario)))
    assert recipe.world(plan()).rps == recipe.requests_per_second


@pytest.mark.parametrize(
    ("scenario", "seconds", "stable", "candidate"),
    [
        (Scenario.HEALTHY, 0, 0.01, 0.01),
        (Scenario.ERRORS, 0, 0.01, 0.07),
        (Scenario.OUTAGE, 0, 0.01, 1.0),
        (Scenario.UPSTREAM_OUTAGE, 119, 0.01, 0.01),
        (Scenario.UPSTREAM_OUTAGE, 121, 0.5, 0.5),
        (Scenario.UPSTREAM_OUTAGE, 421, 0.01, 0.01),
        (Scenario.FLAPPING, 30, 0.01, 0.12),
        (Scenario.FLAPPING, 90, 0.01, 0.01),
        (Scenario.LATE_BUG, 119, 0.01, 0.01),
        (Scenario.LATE_BUG, 121, 0.01, 0.07),
    ],
)
def test_a_scenario_is_what_its_name_says(
    scenario: Scenario, seconds: float, stable: float, candidate: float
) -> None:
    """The rates of both versions, at moments before, within and after it."""
    world = Recipe(scenario).world(plan())
    rates = [one.errors(moment(seconds)) for one in (world.stable, world.candidate)]
    assert rates == pytest.approx([stable, candidate])


def test_numbers_that_were_given_win_over_the_scenario() -> None:
    """Rates, shift and traffic are what was asked for."""
    recipe = Recipe(
        Scenario.LATENCY,
        rps=3.0,
        stable_error_percent=2.0,
        candidate_error_percent=4.0,
        latency_shift=3.0,
    )
    world = recipe.world(plan())
    assert world.rps == 3.0
    assert world.candidate.errors(moment(0)) == pytest.approx(0.04)
    slow, normal = (one.latency(moment(0)).median_ms for one in (world.candidate, world.stable))
    assert slow == pytest.approx(3 * normal)
    assert Recipe(Scenario.LOW_TRAFFIC).requests_per_second < 1
    assert Recipe(Scenario.LATENCY).slowdown == 1.5


def test_stable_keeps_the_plans_latency_limit() -> None:
    """In every plan's world stable is well: its p95 is at three quarters of the limit."""
    quick = plan(health_check={"latency_threshold_ms": 400.0})
    latency = Recipe().world(quick).stable.latency(moment(0))
    assert latency.median_ms == pytest.approx(112, rel=0.01)
