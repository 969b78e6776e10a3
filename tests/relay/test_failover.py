"""A candidate's failure before its first byte is retried on stable, once, within a budget."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from grayscale.testing.upstreams import Behaviour, Fault, Upstream
from grayscale.traffic.counters import CALLER_ASKED, CALLER_FAILED
from grayscale.traffic.snapshot import Snapshot
from tests.relay.harness import CANDIDATE, STABLE, chat, config, relay, snapshot

_CHAT = "/v1/chat/completions"


def _state(**fields: Any) -> Snapshot:
    candidate = config(upstream="bad", model="gpt-4.1-2026", timeouts={"first_byte_seconds": 2})
    return snapshot(candidate=candidate, weight=100, **fields)


@pytest.mark.parametrize(
    "behaviour",
    [
        Behaviour(error_rate=1, error_status=500),
        Behaviour(error_rate=1, error_status=401),
        Behaviour(missing_models=("gpt-4.1-2026",)),
        Behaviour(fault=Fault.REFUSE),
        Behaviour(fault=Fault.GARBAGE_HTML),
        Behaviour(fault=Fault.HANG),
        Behaviour(fault=Fault.ERROR_FRAME, cut_after_chunks=0),
    ],
    ids=["500", "401", "404", "refuse", "html", "hang", "error frame"],
)
@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
async def test_stable_stands_in(tmp_path: Path, behaviour: Behaviour, stream: bool) -> None:  # noqa: FBT001
    """The caller gets stable's answer; the failure is the candidate's, the rescue nobody's."""
    async with (
        Upstream(behaviour) as bad,
        Upstream() as good,
        relay(tmp_path, {"main": good.base_url, "bad": bad.base_url}, _state()) as running,
        running.client() as client,
    ):
        answer = await client.post(_CHAT, json=chat(stream=stream))
        assert answer.status_code == 200
        assert answer.headers["x-relay-version"] == STABLE
        assert (bad.total, good.total) == (1, 1)
        assert good.requests[-1].model == "gpt-4.1-2025"
        candidate, rescue = running.cell(CANDIDATE, "weighted"), running.cell(STABLE, "failover")
        assert (candidate.started, candidate.errors, candidate.failed_over) == (1, 1, 1)
        assert (rescue.started, rescue.errors) == (1, 0)
        assert running.cell(STABLE, "weighted").started == 0


async def test_unreachable_candidate_stands_aside(tmp_path: Path) -> None:
    """A candidate whose upstream refuses connections costs its callers nothing."""
    async with Upstream() as gone:
        pass
    async with (
        Upstream() as good,
        relay(tmp_path, {"main": good.base_url, "bad": gone.base_url}, _state()) as running,
        running.client() as client,
    ):
        assert (await client.post(_CHAT, json=chat())).status_code == 200
        assert running.cell(CANDIDATE).by_code == {"502": 1}


async def test_callers_own_fault_stays_his(tmp_path: Path) -> None:
    """A 400 from the candidate is the caller's answer: stable would say the same."""
    async with (
        Upstream(Behaviour(error_rate=1, error_status=400)) as bad,
        Upstream() as good,
        relay(tmp_path, {"main": good.base_url, "bad": bad.base_url}, _state()) as running,
        running.client() as client,
    ):
        answer = await client.post(_CHAT, json=chat())
        assert (answer.status_code, answer.headers["x-relay-version"]) == (400, CANDIDATE)
        assert (good.total, running.cell(CANDIDATE).rejected) == (0, 1)


async def test_failure_after_the_first_event_is_the_callers(tmp_path: Path) -> None:
    """Once content went out nobody stands in: two answers in one are worse than none."""
    async with (
        Upstream(Behaviour(fault=Fault.CUT_STREAM, cut_after_chunks=3)) as bad,
        Upstream() as good,
        relay(tmp_path, {"main": good.base_url, "bad": bad.base_url}, _state()) as running,
        running.client() as client,
        client.stream("POST", _CHAT, json=chat(stream=True)) as answer,
    ):
        assert answer.headers["x-relay-version"] == CANDIDATE
        text = ""
        with pytest.raises(Exception, match="incomplete chunked read"):  # noqa: PT012
            async for piece in answer.aiter_text():
                text += piece
        assert '"error"' in text
        assert good.total == 0


async def test_pinned_requests_see_the_failure(tmp_path: Path) -> None:
    """A smoke test that pins the candidate gets the candidate's answer, good or bad."""
    async with (
        Upstream(Behaviour(error_rate=1)) as bad,
        Upstream() as good,
        relay(tmp_path, {"main": good.base_url, "bad": bad.base_url}, _state()) as running,
        running.client() as client,
    ):
        answer = await client.post(_CHAT, json=chat(), headers={"x-relay-version": "beta"})
        assert (answer.status_code, good.total) == (500, 0)


async def test_budget_bounds_the_load_on_stable(tmp_path: Path) -> None:
    """Beyond the budget a caller whom the candidate always fails sees it: stable is not drowned by him."""
    async with (
        Upstream(Behaviour(error_rate=1)) as bad,
        Upstream() as good,
        relay(tmp_path, {"main": good.base_url, "bad": bad.base_url}, _state()) as running,
        running.client() as client,
    ):
        poison = chat(user="one")  # the breaker does not hear of one caller alone
        statuses = [(await client.post(_CHAT, json=poison)).status_code for _ in range(30)]
        assert 14 <= statuses.count(200) <= 16  # ten to begin with, and a fifth of thirty
        assert running.cell(CANDIDATE).failed_over == statuses.count(200) == good.total
        assert running.cell(CANDIDATE).errors == 30


async def test_budget_of_zero_is_none(tmp_path: Path) -> None:
    """A plan without failover lets every failure through."""
    async with (
        Upstream(Behaviour(error_rate=1)) as bad,
        Upstream() as good,
        relay(
            tmp_path,
            {"main": good.base_url, "bad": bad.base_url},
            replace(_state(), failover_percent=0.0),
        ) as running,
        running.client() as client,
    ):
        assert (await client.post(_CHAT, json=chat())).status_code == 500
        assert good.total == 0


async def test_stable_has_no_stand_in(tmp_path: Path) -> None:
    """A failure of stable is answered, never sent again."""
    async with (
        Upstream(Behaviour(error_rate=1)) as upstream,
        relay(tmp_path, {"main": upstream.base_url}, snapshot()) as running,
        running.client() as client,
    ):
        assert (await client.post(_CHAT, json=chat())).status_code == 500
        assert upstream.total == 1


async def test_a_rescue_that_fails_too_is_told(tmp_path: Path) -> None:
    """Where stable fails at the same request, the candidate's cell says so, and nothing trips."""
    broken = Behaviour(error_rate=1)
    async with (
        Upstream(broken) as bad,
        Upstream(broken) as main,
        relay(tmp_path, {"main": main.base_url, "bad": bad.base_url}, _state()) as running,
        running.client() as client,
    ):
        statuses = [(await client.post(_CHAT, json=chat())).status_code for _ in range(20)]
        cell = running.cell(CANDIDATE)
        assert set(statuses) == {500}
        assert cell.errors == 20
        assert cell.failed_over == cell.rescue_failed > 10
        assert not running.runtime.is_banned(9)


async def test_an_outage_of_the_candidate_is_over_after_six_requests(tmp_path: Path) -> None:
    """The breaker takes it out of traffic; every caller is served, and stable's share is clean."""
    state = replace(_state(), weights={STABLE: 50.0, CANDIDATE: 50.0}, salt="rel_1")
    async with (
        Upstream(Behaviour(error_rate=1)) as bad,
        Upstream() as good,
        relay(tmp_path, {"main": good.base_url, "bad": bad.base_url}, state) as running,
        running.client() as client,
    ):
        answers = [await client.post(_CHAT, json=chat()) for _ in range(60)]
        assert {answer.status_code for answer in answers} == {200}
        assert running.cell(CANDIDATE).errors == running.cell(CANDIDATE).failed_over == 6
        assert running.cell(STABLE).errors == 0
        assert running.runtime.is_banned(9)
        (trip,) = running.runtime.trips
        assert (trip.version, trip.failures, trip.requests) == (CANDIDATE, 6, 6)


async def test_requests_under_way_at_a_trip_are_served_too(tmp_path: Path) -> None:
    """What the candidate was serving when it tripped moves to stable, budget or not."""
    async with (
        Upstream(Behaviour(error_rate=1)) as bad,
        Upstream() as good,
        relay(tmp_path, {"main": good.base_url, "bad": bad.base_url}, _state()) as running,
        running.client() as client,
    ):
        for _ in range(5):
            assert (await client.post(_CHAT, json=chat())).status_code == 200
        bad.behaviour = Behaviour(error_rate=1, error_latency_ms=1500)  # time for all to begin
        together = [client.post(_CHAT, json=chat()) for _ in range(25)]
        answers = await asyncio.gather(*together)
        assert {answer.status_code for answer in answers} == {200}
        assert running.cell(CANDIDATE).failed_over == 30


async def test_pinned_failures_do_not_trip(tmp_path: Path) -> None:
    """A smoke test of a broken candidate is no reason to take it from those who were drawn."""
    async with (
        Upstream(Behaviour(error_rate=1)) as bad,
        Upstream() as good,
        relay(tmp_path, {"main": good.base_url, "bad": bad.base_url}, _state()) as running,
        running.client() as client,
    ):
        for _ in range(20):
            await client.post(_CHAT, json=chat(), headers={"x-relay-version": "beta"})
            await client.post(_CHAT, json=chat(), headers={"x-relay-version": "stable"})
        assert not running.runtime.is_banned(9)


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
async def test_sticky_callers_are_counted(tmp_path: Path, stream: bool) -> None:  # noqa: FBT001
    """Each is told of once, his first request apart; a rescue counts for no caller."""
    state = replace(_state(), salt="rel_1")
    async with (
        Upstream(Behaviour(error_rate=1)) as bad,
        Upstream() as good,
        relay(tmp_path, {"main": good.base_url, "bad": bad.base_url}, state) as running,
        running.client() as client,
    ):
        for _ in range(2):
            await client.post(_CHAT, json=chat(stream=stream, user="ann"))
        bad.behaviour = Behaviour()
        for user in ("ann", "ann", "ben"):
            await client.post(_CHAT, json=chat(stream=stream, user=user))
        await client.post(_CHAT, json=chat(stream=stream))
        cell = running.cell(CANDIDATE)
        assert sorted(cell.callers.values()) == [CALLER_ASKED, CALLER_ASKED | CALLER_FAILED]
        assert running.cell(CANDIDATE, "first").started == 2
        assert running.cell(STABLE).callers == {}
