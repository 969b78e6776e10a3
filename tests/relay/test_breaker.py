"""The breaker: what trips it, and all that must not."""

from __future__ import annotations

import pytest

from grayscale.relay.breaker import Trip
from grayscale.traffic.outcomes import Outcome
from tests.relay.breaking import CANDIDATE, ERROR, OK, STABLE, Bench


@pytest.fixture
def bench() -> Bench:
    """A breaker that has seen nothing."""
    return Bench()


def test_six_straight_failures_trip(bench: Bench) -> None:
    """The sixth failure in a row, not the fifth, beside a stable that is well; and only once."""
    bench.side_by_side([OK] * 20 + [ERROR] * 5)
    assert bench.trips == []
    bench.side_by_side([ERROR] * 20)
    (trip,) = bench.trips
    assert trip == Trip(CANDIDATE, failures=6, requests=6, stable_failures=0, stable_requests=10)
    assert trip.reason == (
        "breaker: 6 of the last 6 candidate requests failed, stable 0 of 10 meanwhile"
    )


@pytest.mark.parametrize("good_at", range(8))
def test_seven_of_eight_trip(bench: Bench, good_at: int) -> None:
    """One good answer among eight, wherever it falls, does not save the candidate."""
    outcomes = [ERROR] * 8
    outcomes[good_at] = OK
    bench.side_by_side(outcomes)
    assert len(bench.trips) == 1


def test_every_second_failure_does_not_trip(bench: Bench) -> None:
    """Half of all requests failing is the judge's business."""
    bench.side_by_side([ERROR, OK] * 500)
    assert bench.trips == []


def test_configuration_errors_are_failures(bench: Bench) -> None:
    """A wrong key at the candidate's upstream is as bad as an upstream that is down."""
    bench.side_by_side([Outcome.CONFIG_ERROR] * 6)
    assert len(bench.trips) == 1


@pytest.mark.parametrize("neither", [Outcome.REJECTED, Outcome.CLIENT_GONE])
def test_what_is_nobodys_failure_is_passed_over(bench: Bench, neither: Outcome) -> None:
    """Callers' own faults and leaving callers neither trip nor save."""
    bench.side_by_side([neither] * 100)
    assert bench.trips == []
    bench.side_by_side([ERROR, neither] * 6)
    (trip,) = bench.trips
    assert (trip.failures, trip.requests) == (6, 6)


def test_fast_errors_among_slow_good_answers_do_not_trip(bench: Bench) -> None:
    """A request in flight has started and not failed: six errors are not "all" of forty."""
    running = [bench.begin(STABLE) for _ in range(10)]
    for _ in range(40):
        running += [bench.begin() for _ in range(6)]
        bench.ask(ERROR)
    assert bench.trips == []
    for request in running:
        request.settle(OK)
    assert bench.trips == []


def test_slow_errors_trip_though_more_requests_run(bench: Bench) -> None:
    """Time-outs come in the order of the starts; those that started later do not count yet."""
    running = []
    for _ in range(300):
        bench.ask(OK, version=STABLE)
        running.append(bench.begin())
    for request in running[:6]:
        request.settle(ERROR)
    assert len(bench.trips) == 1


def test_answers_from_before_an_outage_do_not_hide_it(bench: Bench) -> None:
    """Long streams that began when the candidate was well end well in the midst of its outage."""
    streams = [bench.begin() for _ in range(50)]
    for stream in streams[:6]:
        bench.ask(OK, OK, version=STABLE)
        stream.settle(OK)
        bench.ask(ERROR)
    assert len(bench.trips) == 1


def test_a_burst_that_both_may_suffer_takes_a_longer_run(bench: Bench) -> None:
    """With as many of stable's requests as of the candidate's, six failures are no proof yet."""
    for number in range(7):
        bench.ask(OK, version=STABLE)
        bench.ask(ERROR)
        assert len(bench.trips) == (number == 6)


def test_nobody_is_blamed_without_a_comparison(bench: Bench) -> None:
    """Without five stable requests beside the failures nothing trips; with them it does."""
    bench.ask(*[OK] * 30, version=STABLE)
    bench.ask(*[ERROR] * 50)
    assert bench.trips == []
    bench.ask(*[OK] * 5, version=STABLE)
    bench.ask(ERROR)
    assert len(bench.trips) == 1


def test_stable_requests_that_run_vouch_when_they_have_had_the_time(bench: Bench) -> None:
    """Stable answers slowly: what has run for as long as the failures took has not failed."""
    for _ in range(6):
        for _ in range(2):
            bench.begin(STABLE)
        failing = bench.begin()
        bench.clock.advance(0.5)
        failing.settle(ERROR)
    assert len(bench.trips) == 1


def test_an_outage_that_is_over_is_soon_made_good(bench: Bench) -> None:
    """A held breaker does not trip on one late failure when the candidate is well again."""
    bench.ask(*[ERROR] * 50)
    bench.ask(*[OK] * 30, version=STABLE)
    bench.ask(*[OK] * 4, ERROR, ERROR, ERROR)
    assert bench.trips == []


def test_a_failure_that_stable_cannot_make_good_is_excused(bench: Bench) -> None:
    """Where the retry on stable fails too, the failure was not the candidate's."""
    bench.ask(*[OK] * 40, version=STABLE)
    for _ in range(4):
        failure = bench.begin()
        failure.settle(ERROR)
        failure.excuse()
    bench.side_by_side([ERROR] * 5)
    assert bench.trips == []
    bench.side_by_side([ERROR])
    assert len(bench.trips) == 1


def test_an_outage_of_both_is_vetoed(bench: Bench) -> None:
    """Stable fails in more than a fifth of its requests: the provider is sick, whatever trips."""
    bench.side_by_side([OK] * 20)
    bench.side_by_side([ERROR] * 100, stable=ERROR)
    assert bench.trips == []


def test_the_veto_holds_for_thirty_seconds(bench: Bench) -> None:
    """Nothing that starts within 30 s after stable was last seen sick is evidence; then it is."""
    bench.side_by_side([OK] * 20)
    bench.ask(*[ERROR] * 5, version=STABLE)
    late = bench.begin()
    bench.side_by_side([ERROR] * 14)  # 28 s
    assert bench.trips == []
    bench.clock.advance(2)
    late.settle(ERROR)
    bench.side_by_side([ERROR] * 5)
    assert bench.trips == []
    bench.side_by_side([ERROR])
    assert len(bench.trips) == 1


def test_a_stable_with_a_few_errors_does_not_veto(bench: Bench) -> None:
    """Four errors within twenty stable requests are a fifth, not more."""
    bench.ask(*[OK] * 16, *[ERROR] * 4, *[OK] * 16, version=STABLE)
    bench.side_by_side([ERROR] * 6)
    assert len(bench.trips) == 1


def test_instant_errors_of_a_slow_stable_are_no_sickness(bench: Bench) -> None:
    """Stable's share is by start as well: its good answers are still on their way."""
    for _ in range(8):
        for _ in range(24):
            bench.begin(STABLE)
        bench.ask(ERROR, version=STABLE)
    bench.side_by_side([ERROR] * 6)
    assert len(bench.trips) == 1


def test_one_poison_caller_never_trips(bench: Bench) -> None:
    """A caller who always fails counts twice, then no more until he has had an answer."""
    bench.ask(*[OK] * 20, version=STABLE)
    bench.ask(*[ERROR] * 500, caller=7)
    for other in range(8, 1000):
        bench.ask(ERROR, caller=7)
        bench.ask(ERROR if other % 40 < 4 else OK, caller=other)
        bench.ask(OK, version=STABLE)
    assert bench.trips == []


def test_one_flapping_caller_never_trips(bench: Bench) -> None:
    """Two failures and an answer, again and again, are one caller's trouble."""
    for _ in range(300):
        bench.ask(ERROR, ERROR, OK, caller=7)
        bench.ask(OK, version=STABLE)
    assert bench.trips == []


@pytest.mark.parametrize(("callers", "trips"), [(2, 0), (3, 1), (6, 1)])
def test_three_callers_must_fail(bench: Bench, callers: int, trips: int) -> None:
    """Where requests have callers, six failures of two are not enough, of three they are."""
    for number in range(30):
        bench.ask(OK, version=STABLE)
        bench.ask(ERROR, caller=number % callers)
    assert len(bench.trips) == trips


def test_a_poison_caller_does_not_disarm_it(bench: Bench) -> None:
    """A caller who fails on stable too is no sickness of stable."""
    bench.ask(*[ERROR] * 100, version=STABLE, caller=7)
    bench.side_by_side([ERROR] * 6)
    assert len(bench.trips) == 1


def test_only_candidates_of_the_split_trip(bench: Bench) -> None:
    """A version that left the split, or stable, is none of the breaker's business any more."""
    late = [bench.begin() for _ in range(10)]
    bench.ask(*[OK] * 10, version=STABLE)
    bench.breaker.guard(STABLE, [], salt="rel_1")
    for request in late:
        request.settle(ERROR)
    bench.ask(*[ERROR] * 50, version=STABLE)
    assert bench.trips == []


def test_a_rising_weight_keeps_what_is_known(bench: Bench) -> None:
    """A new step of the same release counts on; another release begins anew."""
    bench.side_by_side([ERROR] * 5)
    bench.breaker.guard(STABLE, [CANDIDATE], salt="rel_1")
    bench.side_by_side([ERROR])
    assert len(bench.trips) == 1
    bench.breaker.guard(STABLE, [CANDIDATE], salt="rel_2")
    bench.side_by_side([ERROR] * 5)
    assert len(bench.trips) == 1
    bench.side_by_side([ERROR])
    assert len(bench.trips) == 2


def test_each_candidate_is_its_own(bench: Bench) -> None:
    """In a split of several versions only the failing one trips."""
    bench.breaker.guard(STABLE, [CANDIDATE, "v3"], salt="rel_1")
    for _ in range(6):
        bench.side_by_side([OK])
        bench.ask(ERROR, version="v3")
    assert [trip.version for trip in bench.trips] == ["v3"]
