"""Two workers are one relay: changes reach both, callers stay where they are, one may die."""

import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.conftest import settings
from tests.e2e.faults import stopped
from tests.e2e.processes import PLAIN, Provider, Relay, await_ready, begin, chat, end, eventually
from tests.e2e.shapes import make_candidate, served


def version_for(caller: httpx.Client, **body: Any) -> str:
    """Which version serves a request."""
    answer = served(caller.post("/chat/completions", json=chat(**body)))
    return answer.headers["x-relay-version"]


def test_a_split_is_in_force_on_every_worker_when_the_call_returns(relay: Relay) -> None:
    """All to the candidate, half, none: each worker serves by the split that was answered."""
    callers = relay.client_of_each_worker()
    name = make_candidate(relay)
    admin = relay.client()
    for percent, expected in ((100, {name}), (50, {"v1", name}), (0, {"v1"})):
        split = {"stable": 100 - percent, "beta": percent}
        done = admin.post("/admin/traffic/config", json={"traffic_split": split})
        assert done.status_code == 200
        for caller in callers:
            assert {version_for(caller) for _ in range(25)} == expected


def test_sticky_callers_stay(relay: Relay) -> None:
    """On whichever worker, a user has one version; a rising weight only moves users forward."""
    callers = relay.client_of_each_worker()
    name = make_candidate(relay, percent=30)
    admin = relay.client()

    def candidates() -> set[str]:
        users = {}
        for number in range(40):
            user = f"user-{number}"
            versions = {version_for(caller, user=user) for caller in callers}
            assert len(versions) == 1
            users[user] = versions.pop()
        return {user for user, version in users.items() if version == name}

    at_30 = candidates()
    admin.post("/admin/traffic/config", json={"traffic_split": {"stable": 40, "beta": 60}})
    at_60 = candidates()
    assert 3 <= len(at_30) < len(at_60) <= 36
    assert at_30 <= at_60


def test_the_sticky_header_comes_before_the_body(relay: Relay) -> None:
    """`X-Relay-Sticky-Key` decides, whatever the body's user is."""
    make_candidate(relay, percent=50)
    caller = relay.client(headers={"X-Relay-Sticky-Key": "customer-7"})
    assert len({version_for(caller, user=f"user-{number}") for number in range(20)}) == 1


def test_a_rollback_is_in_force_on_every_worker_when_the_call_returns(relay: Relay) -> None:
    """No request that begins afterwards is served by the candidate."""
    callers = relay.client_of_each_worker()
    name = make_candidate(relay, percent=100)
    assert {version_for(caller) for caller in callers} == {name}
    with relay.client() as admin:
        done = admin.post("/admin/rollback")
    assert done.json()["workers"]["applied"] == relay.workers
    assert {version_for(caller) for caller in callers for _ in range(25)} == {"v1"}


def test_running_requests_are_finished_by_the_version_they_began_with(relay: Relay) -> None:
    """With draining, a stream of the candidate ends whole while new requests are on stable."""
    name = make_candidate(relay, {"parameters": {"temperature": 0}}, percent=100)
    caller, admin = relay.client(), relay.client()
    body = chat("slow", stream=True)
    with caller.stream("POST", "/chat/completions", json=body) as stream:
        lines = stream.iter_lines()
        next(lines)
        admin.post("/admin/rollback", json={"drain_connections": True})
        assert version_for(admin) == "v1"
        rest = list(lines)
    assert stream.headers["x-relay-version"] == name
    assert rest[-2:] == ["data: [DONE]", ""]


def test_running_requests_are_cut_where_that_is_asked(relay: Relay, the_provider: Provider) -> None:
    """Without draining a stream ends with an error frame; what has sent nothing moves to stable."""
    name = make_candidate(relay, {"parameters": {"temperature": 0}}, percent=100)
    caller, admin, other = relay.client(), relay.client(), relay.client()
    label = {"X-Request-Id": f"moves-from-{name}"}
    lines: list[str] = []
    with (
        ThreadPoolExecutor(1) as pool,
        caller.stream("POST", "/chat/completions", json=chat("slow", stream=True)) as stream,
    ):
        arriving = stream.iter_lines()
        lines.append(next(arriving))
        silent = pool.submit(other.post, "/chat/completions", json=chat("slow"), headers=label)
        assert eventually(lambda: bool(the_provider.requests(label["X-Request-Id"])))
        admin.post("/admin/rollback", json={"drain_connections": False})
        with pytest.raises(httpx.RemoteProtocolError):
            lines.extend(arriving)
        moved = silent.result()
    frames = [line.removeprefix("data: ") for line in lines if line]
    assert json.loads(frames[0])["object"] == "chat.completion.chunk"
    assert set(json.loads(frames[-1])["error"]) == {"code", "message", "type", "param"}
    assert served(moved).headers["x-relay-version"] == "v1"
    assert len(the_provider.requests(label["X-Request-Id"])) == 2


def applied(caller: httpx.Client) -> int:
    """How many workers run the split in force."""
    return int(caller.get("/admin/traffic/config").json()["workers"]["applied"])


def test_a_worker_that_lags_is_named(relays: dict[int, Relay]) -> None:
    """202 and the worker's id when not everybody runs the split within two seconds."""
    relay = relays[2]
    name = make_candidate(relay)
    first, second = relay.client_of_each_worker()
    asleep = sorted(relay.worker_pids())[1]

    def change(percent: int) -> httpx.Response:
        assert eventually(lambda: applied(first) == 2)
        split = {"traffic_split": {"stable": 100 - percent, "beta": percent}}
        with stopped(relay, asleep):
            return first.post("/admin/traffic/config", json=split)

    # Who sleeps for long counts as dead, which a busy machine may bring about: tried again then.
    answers = (change(percent) for percent in (10, 20, 30))
    answer = next(each for each in answers if each.status_code != 200)
    workers = answer.json()["workers"]
    assert answer.status_code == 202
    assert (workers["total"], workers["applied"]) == (2, 1)
    assert workers["lagging"][0].startswith("worker")
    assert eventually(lambda: applied(second) == 2)
    assert name in {version_for(second) for _ in range(80)}
    relay.hang_up()


@pytest.fixture
def mortal(
    the_provider: Provider,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Relay]:
    """A relay of two workers that may come to harm."""
    folder = tmp_path_factory.mktemp("mortal")
    given = settings(the_provider.base_url)
    relay = begin(folder, given, workers=2)
    try:
        await_ready(relay)
        yield relay
    finally:
        relay.hang_up()
        end(relay.process)


def test_a_killed_worker_is_replaced_and_traffic_goes_on(mortal: Relay) -> None:
    """Nobody is refused meanwhile, the new worker serves the same split, and SIGTERM ends all."""
    name = make_candidate(mortal, percent=50)
    before = mortal.worker_pids()
    victim = min(before)
    os.kill(victim, signal.SIGKILL)
    answers = [
        httpx.post(
            f"{mortal.url}/chat/completions",
            json=chat(),
            headers={"x-api-key": mortal.admin_key},
            **PLAIN,
        )
        for _ in range(20)
    ]
    assert {answer.status_code for answer in answers} == {200}

    def replaced() -> bool:
        return mortal.log.read_text().count(" listens\n") == 3 and mortal.is_ready()

    assert eventually(replaced), mortal.log.read_text()
    after = mortal.worker_pids()
    assert len(after) == 2
    assert victim not in after
    for caller in mortal.client_of_each_worker():
        assert {version_for(caller) for _ in range(25)} == {"v1", name}
    assert "ended with -9" in mortal.log.read_text()
    assert end(mortal.process) == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in after)
