"""Rules of the simulated release: it goes as the product's would."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest

from grayscale.judge import Interval, Outcome, Verdict
from grayscale.judge.values import Cause
from grayscale.plan import Plan, plan_from_mapping
from grayscale.simulation import (
    Callers,
    End,
    Means,
    Moment,
    Version,
    World,
    always,
    run,
)
from grayscale.simulation.breaker import BreakerWatch
from grayscale.simulation.traffic import IndependentTraffic

HEALTHY = Verdict(Outcome.HEALTHY, None, "fine", {})
HARMFUL = Verdict(Outcome.HARMFUL, Cause.CANDIDATE, "bad", {})
UNSURE = Verdict(Outcome.INCONCLUSIVE, Cause.NOT_ENOUGH_DATA, "who knows", {})
UPSTREAM = Verdict(Outcome.INCONCLUSIVE, Cause.UPSTREAM, "both", {})
MISMATCH = Verdict(Outcome.INCONCLUSIVE, Cause.SPLIT_MISMATCH, "skewed", {})
QUIET = World(rps=0.5, stable=Version(always(0.0)), candidate=Version(always(0.0)))


@dataclass
class Scripted:
    """A judge that answers by a rule, and remembers what it was shown."""

    rule: Callable[[Interval], Verdict]
    seen: list[Interval] = field(default_factory=list)

    def look(self, interval: Interval) -> Verdict:
        self.seen.append(interval)
        return self.rule(interval)

    def means(self) -> Means:
        return Means(new_judge=lambda _: self, breaker=False)


def plan(**fields: Any) -> Plan:
    return plan_from_mapping({"version_name": "v", **fields})


def constantly(verdict: Verdict) -> Scripted:
    return Scripted(lambda _: verdict)


def test_a_healthy_release_takes_every_step_and_the_bake() -> None:
    """Weights rise to what is not held back; each soak is watched to its end."""
    judge = constantly(HEALTHY)
    ended = run(plan(), QUIET, 1, means=judge.means())
    assert (ended.end, ended.seconds) == (End.PROMOTED, 5 * 900)
    weights = {interval.step: interval.weight_percent for interval in judge.seen}
    assert weights == {0: 10, 1: 25, 2: 50, 3: 95, 4: 95}
    assert [interval.id for interval in judge.seen] == list(range(1, 451))
    assert ended.evidence_seconds == (10.0,) * 5
    done = [i.step_seconds for i in judge.seen if i.soak_done]
    assert done == [900.0] * 5


def test_a_plan_without_bake_promotes_after_the_last_step() -> None:
    """No bake is no soak."""
    ended = run(plan(bake={"duration_minutes": 0}), QUIET, 1, means=constantly(HEALTHY).means())
    assert ended.end is End.PROMOTED
    assert ended.seconds in {3600, 3610}


def test_without_evidence_a_soak_is_extended_three_times_then_a_person_is_asked() -> None:
    """Four soaks at the same weight, and no fifth."""
    judge = constantly(UNSURE)
    ended = run(plan(), QUIET, 1, means=judge.means())
    assert (ended.end, ended.seconds, ended.cause) == (End.ASKED, 3600, "not_enough_data")
    assert {interval.weight_percent for interval in judge.seen} == {10}
    once = run(plan(judge={"max_extensions": 0}), QUIET, 1, means=constantly(UNSURE).means())
    assert once.seconds == 900


def test_evidence_during_an_extension_is_used_at_its_end() -> None:
    """An extension is a whole soak."""
    judge = Scripted(lambda i: HEALTHY if i.step or i.step_seconds > 1000 else UNSURE)
    ended = run(plan(), QUIET, 1, means=judge.means())
    assert ended.seconds == 6 * 900
    assert ended.evidence_seconds[0] == 1010


def test_harm_is_rolled_back_within_two_seconds() -> None:
    """The verdict comes at the end of an interval; until every worker knows, requests go on."""
    judge = Scripted(lambda i: HARMFUL if i.id == 4 else UNSURE)
    ended = run(plan(), World(candidate=Version(always(0.5))), 1, means=judge.means())
    assert (ended.end, ended.seconds, ended.detected_after) == (End.ROLLED_BACK, 42.0, 42.0)
    assert 10 <= ended.failed_requests <= 40


def test_a_rollback_before_there_is_harm_is_no_detection() -> None:
    """What was rolled back too early was not found."""
    late = World(candidate=Version(lambda moment: 0.5 if moment.seconds > 600 else 0.01))
    judge = Scripted(lambda i: HARMFUL if i.id == 3 else UNSURE)
    ended = run(plan(), late, 1, means=judge.means())
    assert (ended.worse_since, ended.detected_after) == (None, None)
    found = Scripted(lambda i: HARMFUL if i.id == 70 else UNSURE)
    assert run(plan(), late, 1, means=found.means()).detected_after == 102.0


def test_time_with_a_sick_upstream_is_no_soak() -> None:
    """The step takes as much longer, and the look at which it is over does not count either."""
    judge = Scripted(lambda i: UPSTREAM if 10 < i.id <= 40 else HEALTHY)
    ended = run(plan(), QUIET, 1, means=judge.means())
    assert (ended.end, ended.seconds) == (End.PROMOTED, 5 * 900 + 310)


def test_a_skewed_split_stops_the_clock_and_ends_no_step() -> None:
    """A mismatch at the end of the soak is waited out, neither extended nor asked about."""
    judge = Scripted(lambda i: MISMATCH if 85 < i.id <= 88 else HEALTHY)
    assert run(plan(), QUIET, 1, means=judge.means()).seconds == 5 * 900 + 30


def test_trouble_without_end_becomes_a_question() -> None:
    """Held is not for ever."""
    ended = run(plan(), QUIET, 1, means=constantly(UPSTREAM).means())
    assert (ended.end, ended.seconds, ended.cause) == (End.ASKED, 7200, "upstream")


def test_without_health_check_nothing_is_judged() -> None:
    """A harmful verdict is ignored where the plan says so."""
    unjudged = plan(health_check={"enabled": False})
    ended = run(unjudged, QUIET, 1, means=constantly(HARMFUL).means())
    assert (ended.end, ended.seconds) == (End.PROMOTED, 5 * 900)


def test_people_who_are_asked_beforehand_agree() -> None:
    """An approval that the plan asks for holds nothing up."""
    asking = plan(approval={"before_steps": [10, 50]}, auto_promote={"enabled": False})
    assert run(asking, QUIET, 1, means=constantly(HEALTHY).means()).end is End.PROMOTED


def test_a_seed_repeats_its_release() -> None:
    """Same seed, same end, to the sentence; another seed, another story."""
    world = World(candidate=Version(always(0.07)))
    assert run(plan(), world, 3) == run(plan(), world, 3)
    assert run(plan(), world, 3) != run(plan(), world, 4)


def test_an_outage_trips_the_breaker_after_six_failures() -> None:
    """Before the judge has looked; callers get stable's answers meanwhile."""
    outage = World(candidate=Version(always(1.0)))
    ends = [run(plan(), outage, seed) for seed in range(6)]
    assert {ended.end for ended in ends} == {End.ROLLED_BACK}
    tripped = [ended for ended in ends if ended.cause == "breaker"]
    assert len(tripped) >= 4
    assert all(ended.failed_requests == 6 and ended.callers_failed <= 1 for ended in tripped)
    assert all(ended.seconds <= 12 and ended.sentence.startswith("breaker:") for ended in tripped)


def test_one_poison_caller_trips_no_breaker() -> None:
    """However often he fails, others do not."""
    healthy = Version(always(0.0))
    poisoned = World(
        rps=50.0, stable=healthy, candidate=healthy, callers=Callers(300, poison_share=0.1)
    )
    ended = run(plan(), poisoned, 1, means=Means(constantly(UNSURE).means().new_judge))
    assert ended.end is End.ASKED
    assert ended.failed_requests > 1000


def _passing(world: World, seed: int) -> Iterator[tuple[float, Any]]:
    traffic = IndependentTraffic(world, Random(seed), interval_seconds=10.0, failover_percent=0.0)
    for look in range(60):
        began = look * 10.0
        yield began, traffic.interval(Moment(began, 30.0), seconds=10.0)


@pytest.mark.parametrize("rate", [0.25, 0.4, 0.55])
def test_a_breaker_that_is_fed_only_at_need_misses_no_trip(rate: float) -> None:
    """It trips in the same interval as one that sees everything."""
    world = World(rps=4.0, stable=Version(always(0.01)), candidate=Version(always(rate)))
    trips = []
    for seed in range(8):
        at_need, always_fed = BreakerWatch(), BreakerWatch(near=1)
        for began, passed in _passing(world, seed):
            found = [one.look(passed, began=began, seconds=10.0) for one in (at_need, always_fed)]
            assert found[0] == found[1]
            if found[0] is not None:
                trips.append(seed)
                break
    assert trips


@pytest.mark.parametrize(
    ("world", "ends"),
    [
        (World(), {End.PROMOTED}),
        (World(candidate=Version(always(0.15))), {End.ROLLED_BACK}),
        (World(rps=0.05), {End.ASKED}),
    ],
    ids=["good", "bad", "no-traffic"],
)
def test_the_products_judge_is_right_about_the_obvious(world: World, ends: set[End]) -> None:
    """Good goes out, bad comes back, and without data a person is asked."""
    short = plan(auto_promote={"step_duration_minutes": 5}, bake={"duration_minutes": 1})
    assert {run(short, world, seed).end for seed in range(2)} == ends
