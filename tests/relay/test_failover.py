"""A candidate's failure before its first byte is retried on stable, once, within a budget."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from grayscale.testing.upstreams import Behaviour, Fault, Upstream
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
