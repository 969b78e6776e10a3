"""A worker's counters."""

from __future__ import annotations

import pytest

from grayscale.relay.failover import FailoverBudget
from grayscale.relay.meter import Meter, Timing
from grayscale.relay.metering import Usage
from grayscale.traffic.counters import (
    CALLER_ASKED,
    CALLER_FAILED,
    CellKey,
    bucket_of,
)
from grayscale.traffic.outcomes import Outcome
from grayscale.traffic.versions import Price

_KEY = CellKey("config-1", "v1", "gpt-4.1", "main", "weighted", stream=False)


def test_start_and_outcome_meet_under_one_key() -> None:
    """A request counts when it starts; its outcome comes under the same key, perhaps later."""
    meter = Meter()
    tally = meter.start(_KEY, None)
    first = meter.take()
    assert (first[_KEY].started, first[_KEY].ok) == (1, 0)
    tally.ok(Timing(received=10.0, first_content=None, ended=10.5))
    second = meter.take()
    assert (second[_KEY].started, second[_KEY].ok) == (0, 1)
    assert second[_KEY].latency == {bucket_of(500): 1} == second[_KEY].duration
    assert meter.take() == {}


def test_first_outcome_counts() -> None:
    """A request has exactly one outcome, whatever is reported after it."""
    meter = Meter()
    tally = meter.start(_KEY, None)
    tally.failed(Outcome.UPSTREAM_ERROR, 502, failed_over=True)
    tally.gone(None)
    tally.ok(Timing(0.0, None, 1.0))
    cell = meter.take()[_KEY]
    assert (cell.upstream_error, cell.client_gone, cell.ok, cell.failed_over) == (1, 0, 0, 1)
    assert cell.by_code == {"502": 1}


def test_streams_are_timed_by_their_first_content() -> None:
    """A stream's latency is its first content; time to first token and duration are apart."""
    meter = Meter()
    meter.start(_KEY, None).ok(Timing(received=0.0, first_content=0.2, ended=3.0))
    cell = meter.take()[_KEY]
    assert cell.latency == {bucket_of(200): 1} == cell.ttft
    assert cell.duration == {bucket_of(3000): 1}


def test_a_caller_who_left_early_says_how_long_he_waited() -> None:
    """Waiting in vain is kept; leaving in the middle of an answer says nothing about latency."""
    meter = Meter()
    meter.start(_KEY, None).gone(4.0)
    meter.start(_KEY, None).gone(None)
    cell = meter.take()[_KEY]
    assert cell.client_gone == 2
    assert cell.gone_after == {bucket_of(4000): 1}


def test_tokens_and_cost() -> None:
    """Cached tokens are part of those that went in, and cost their own price."""
    meter = Meter()
    price = Price(input_usd_per_mtok=2.0, output_usd_per_mtok=8.0, cached_input_usd_per_mtok=0.5)
    tally = meter.start(_KEY, price)
    tally.spent(Usage(tokens_in=1_000_000, tokens_out=500_000, tokens_cached=400_000))
    tally.spent(None)
    cell = meter.take()[_KEY]
    assert (cell.tokens_in, cell.tokens_out, cell.tokens_cached) == (1_000_000, 500_000, 400_000)
    assert round(cell.cost_usd, 6) == 0.6 * 2 + 0.4 * 0.5 + 0.5 * 8
    without_discount = price.model_copy(update={"cached_input_usd_per_mtok": None})
    assert Usage(1_000_000, 0, 400_000).cost_usd(without_discount) == 2.0


_FIRST = _KEY._replace(assignment="first")


def test_each_bucket_of_callers_is_reported_once_per_release() -> None:
    """Asked and failed are told once each, in whichever arm they were first seen."""
    meter = Meter()
    meter.count_callers("rel_1")
    for _ in range(3):
        meter.start(_KEY, None, caller=7).failed(Outcome.UPSTREAM_ERROR, 500)
    cells = meter.take()
    assert cells[_FIRST].callers == {7: CALLER_ASKED | CALLER_FAILED}
    assert cells[_KEY].callers == {}
    meter.count_callers("rel_1")
    meter.start(_KEY._replace(version="v2"), None, caller=7).failed(Outcome.UPSTREAM_ERROR, 500)
    assert [cell.callers for cell in meter.take().values()] == [{}]
    meter.count_callers("rel_2")
    meter.start(_KEY, None, caller=7)
    assert meter.take()[_FIRST].callers == {7: CALLER_ASKED}


def test_a_callers_first_request_is_counted_apart() -> None:
    """What compares the versions must see every caller once, however often he asks."""
    meter = Meter()
    for caller in (7, 7, 7, 8):
        meter.start(_KEY, None, caller=caller).ok(Timing(0.0, None, 0.2))
    cells = meter.take()
    assert (cells[_FIRST].ok, cells[_KEY].ok) == (2, 2)


@pytest.mark.parametrize("outcome", [Outcome.REJECTED, Outcome.CLIENT_GONE])
def test_a_caller_has_not_failed_by_his_own_fault(outcome: Outcome) -> None:
    """What counts against no version is told of no caller."""
    meter = Meter()
    meter.start(_KEY, None, caller=7).failed(outcome, 400)
    meter.start(_KEY, None).failed(Outcome.UPSTREAM_ERROR, 500)
    cells = meter.take()
    assert cells[_FIRST].callers == {7: CALLER_ASKED}
    assert cells[_KEY].callers == {}


def test_a_failed_rescue_is_told_of_the_failure_it_was_for() -> None:
    """The candidate's cell learns that stable failed as well; a rescue that works tells nothing."""
    meter = Meter()
    candidate, rescue = _KEY._replace(version="v2"), _KEY._replace(assignment="failover")
    for rescued in (True, False):
        failure = meter.start(candidate, None)
        failure.failed(Outcome.UPSTREAM_ERROR, 500, failed_over=True)
        second = meter.start(rescue, None, rescues=failure)
        if rescued:
            second.ok(Timing(0.0, None, 1.0))
        else:
            second.failed(Outcome.UPSTREAM_ERROR, 500)
    cells = meter.take()
    assert (cells[candidate].failed_over, cells[candidate].rescue_failed) == (2, 1)
    assert cells[rescue].rescue_failed == 0


def test_a_request_that_was_cut_has_no_failure_to_make_good() -> None:
    """A cut is no failure of the candidate's, so that stable's at the same request is its own."""
    meter = Meter()
    cut = meter.start(_KEY, None)
    cut.gone(None)
    second = meter.start(_KEY, None, rescues=cut)
    second.failed(Outcome.UPSTREAM_ERROR, 500)
    assert meter.take()[_KEY].rescue_failed == 0


def test_cells_that_could_not_be_written_are_kept() -> None:
    """A failed flush loses nothing: its cells join those counted since."""
    meter = Meter()
    meter.start(_KEY, None)
    taken = meter.take()
    meter.start(_KEY, None)
    meter.put_back(taken)
    assert meter.take()[_KEY].started == 2


def test_failover_budget() -> None:
    """A share of the candidate's requests may be retried on stable, with ten to begin with."""
    budget = FailoverBudget()
    assert [budget.spend(20) for _ in range(11)] == [True] * 10 + [False]
    for _ in range(5):
        budget.earn(20)
    assert budget.spend(20)
    assert not budget.spend(20)
    for _ in range(1000):
        budget.earn(20)
    assert sum(budget.spend(20) for _ in range(100)) == 10
    assert not FailoverBudget().spend(0)
