"""Abort always wins: whatever a release is doing, and whether its store can be written or not."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import httpx
import pytest

from tests.e2e.conducting import Conductor, begun
from tests.e2e.conftest import quieten
from tests.e2e.faults import Callers, Page, callers, full, locked, ready_state, relay_of_two
from tests.e2e.processes import Provider, Relay, await_ready, eventually

TO_THE_BRAKE_SECONDS = 0.1
EVERYWHERE_SECONDS = 1.0


@pytest.fixture(scope="module")
def shared(
    the_provider: Provider,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Relay]:
    folder = tmp_path_factory.mktemp("abort")
    with relay_of_two(folder, the_provider) as relay:
        yield relay


@pytest.fixture
def relay(shared: Relay) -> Iterator[Relay]:
    """A relay of two workers with no release under way."""
    quieten(shared)
    yield shared
    shared.hang_up()


def take_away(relay: Relay, path: str, **headers: str) -> tuple[httpx.Response, float, float]:
    """Send the call; its answer, when it was sent, and how long until the brake was pulled."""
    answers: list[httpx.Response] = []
    client, page = relay.client(), Page(relay)
    client.get("/models").raise_for_status()  # a warm connection, as an operator's tool has
    sending = threading.Thread(target=lambda: answers.append(client.post(path, headers=headers)))
    sent_at = time.monotonic()
    sending.start()
    pulled = page.seconds_until_pulled(since=sent_at)
    sending.join()
    return answers[0], sent_at, pulled


def without_candidate(calling: Callers, name: str, sent_at: float) -> None:
    """A second after the call nobody is served by the candidate any more."""
    moment = sent_at + EVERYWHERE_SECONDS
    assert eventually(lambda: len(calling.versions_of(moment)) >= 40, seconds=20)
    assert name not in calling.versions_after(moment)
    assert calling.failed() == []


def raises_after(relay: Relay, name: str, abort_of: Conductor) -> list[dict[str, Any]]:
    """Configs that gave the version weight after the one that was in force when it was aborted."""
    with relay.client() as admin:
        history = admin.get("/admin/config/history?limit=20").json()["data"]
    newer: list[dict[str, Any]] = []
    for config in history:
        if config["config_id"] == abort_of.record["config_id"]:
            return newer
        if config["weights"].get(name, 0) > 0:
            newer.append(config)
    raise AssertionError("the config in force at the abort is not in the history")


def finished(conductor: Conductor) -> bool:
    """Whether the release has ended."""
    return conductor.look()["finished_at"] is not None


@pytest.mark.parametrize("doing", ["soaking", "waiting", "baking", "promoted"])
def test_abort_with_the_store_locked(relay: Relay, doing: str) -> None:
    """The brake within 100 ms, both workers within a second; the answer says what is on record.

    Then the record follows, in the person's name; twice is the same as once; nothing raises it.
    """
    conductor = begun(relay, doing)
    name = conductor.plan["version_name"]
    with callers(relay, per_second=100) as calling:
        assert eventually(lambda: name in calling.versions_after(0), seconds=10)
        with locked(relay):
            answer, sent_at, pulled = take_away(relay, f"{conductor.path}/abort")
            again = relay.client().post(f"{conductor.path}/abort")
            assert (answer.status_code, again.status_code) == (202, 202)
            assert answer.json()["recorded"] is False
            assert answer.json()["version"] == name
            assert pulled < TO_THE_BRAKE_SECONDS
            without_candidate(calling, name, sent_at)
            assert ready_state(relay)["status"] == "degraded"
            record = conductor.look()
            assert (record["braked"], record["weight_percent"] > 0) == (True, True)
            split = relay.client().get("/admin/traffic/config").json()
            assert split["braked"] == [name]
        refusals = [conductor.try_to("set_split", step=1).status_code for _ in range(5)]
        assert 200 not in refusals
        assert eventually(lambda: finished(conductor), seconds=15)
        assert eventually(lambda: not conductor.look()["braked"], seconds=5)
        aborted = f"{conductor.path}/abort"
        assert eventually(lambda: relay.client().post(aborted).status_code == 200, seconds=5)
    without_candidate(calling, name, sent_at)
    assert raises_after(relay, name, conductor) == []
    with relay.client() as admin:
        config = admin.get("/admin/config/history?limit=1").json()["data"][0]
        assert name not in config["weights"]
        assert config["actor"]["name"] == "admin"
        assert config["reason"].startswith("aborted by admin")
    assert eventually(lambda: ready_state(relay)["status"] == "ok", seconds=10)


@pytest.mark.parametrize("fault", [locked, full])
def test_rollback_without_a_writable_store(relay: Relay, fault: Any) -> None:
    """The rollback is in force at once and on record later; its status says which."""
    conductor = begun(relay, "soaking")
    name = conductor.plan["version_name"]
    harm: AbstractContextManager[None] = fault(relay)
    with callers(relay, per_second=100) as calling:
        with harm:
            answer, sent_at, pulled = take_away(
                relay, "/admin/rollback", **{"X-Rollback-Reason": "it smells"}
            )
            assert answer.status_code == 202
            assert answer.json()["recorded"] is False
            assert pulled < TO_THE_BRAKE_SECONDS
            status = relay.client().get("/admin/rollback/status").json()
            assert (status["recorded"], status["candidate_weight_percent"]) == (False, 0)
            without_candidate(calling, name, sent_at)
        assert eventually(lambda: finished(conductor), seconds=15)
    assert conductor.record["reason"] == "rolled back by admin: it smells"
    assert relay.client().get("/admin/rollback/status").json()["recorded"] is True


def test_the_worker_that_owed_the_record_dies(relay: Relay) -> None:
    """The ban outlives it, and the leader writes down what it can still know."""
    conductor = begun(relay, "soaking")
    name = conductor.plan["version_name"]
    with locked(relay):
        assert relay.client().post(f"{conductor.path}/abort").json()["recorded"] is False
        relay.hang_up()
        for pid in relay.worker_pids():
            os.kill(pid, signal.SIGKILL)
    await_ready(relay)
    conductor.client = relay.client()
    assert eventually(lambda: finished(conductor), seconds=30)
    assert conductor.record["cause"] == "aborted"
    assert "could not write it down" in conductor.record["reason"]
    assert raises_after(relay, name, conductor) == []
