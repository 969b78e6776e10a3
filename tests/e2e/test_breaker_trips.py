"""The breaker on two workers: an outage of the candidate is over before its callers notice."""

import re
from collections.abc import Iterator
from functools import partial
from itertools import cycle, islice
from typing import Any

import httpx
import pytest

from tests.e2e.conducting import Conductor
from tests.e2e.conftest import quieten, settings
from tests.e2e.faults import remove_store
from tests.e2e.processes import Provider, Relay, await_ready, begin, chat, end, eventually
from tests.e2e.shapes import make_candidate

FEWEST, MOST = 6, 8
"""Failures before the candidate is out: six, whoever saw them, a seventh where stable has had too few
requests to compare them with, and one that was on its way."""


@pytest.fixture
def two(relays: dict[int, Relay]) -> Iterator[Relay]:
    """The relay with two workers."""
    quieten(relays[2])
    yield relays[2]
    relays[2].hang_up()


def call(relay: Relay, label: str, requests: int = 100) -> list[httpx.Response]:
    """So many requests, at each worker in turn."""
    headers = {"X-Request-Id": label}
    callers = islice(cycle(relay.client_of_each_worker()), requests)
    return [caller.post("/chat/completions", json=chat(), headers=headers) for caller in callers]


def failed_at(provider: Provider, label: str, model: str) -> int:
    """How many of the labelled requests the candidate was given."""
    return sum(request["model"] == model for request in provider.requests(label))


def broken(model: str) -> dict[str, Any]:
    """Overrides by which the candidate sends one model to one that fails."""
    return {"models": {"gpt-4.1": {"model": model}}}


def test_an_outage_rolls_the_release_back(two: Relay, the_provider: Provider) -> None:
    """No caller fails; the record says why within a second, and the version is barred."""
    conductor = Conductor(
        two.client(),
        config_overrides=broken("breaks"),
        auto_promote={"promotion_steps": [50, 100], "step_duration_seconds": 60},
    )
    conductor.begin()
    name = conductor.plan["version_name"]
    answers = call(two, name)
    assert {answer.status_code for answer in answers} == {200}
    assert FEWEST <= failed_at(the_provider, name, "breaks") <= MOST
    assert eventually(lambda: conductor.look()["state"] == "rolled_back")
    record = conductor.record
    assert record["cause"] == "candidate"
    assert re.match(
        r"breaker: (6 of the last 6|7 of the last 7) candidate requests failed, stable 0 of ",
        record["reason"],
    )
    events = two.client().get(f"{conductor.path}/events").json()["data"]
    (tripped,) = [event["data"] for event in events if event["type"] == "breaker.tripped"]
    assert (tripped["reason"], tripped["weight_percent"]) == (record["reason"], 50)
    assert tripped["actor"] == {"name": "breaker", "via": "relay", "verified": True}
    versions = two.client().get("/admin/versions").json()["data"]
    assert [v["status"] for v in versions if v["name"] == name] == ["quarantined"]


def test_a_split_by_hand_goes_back(two: Relay, the_provider: Provider) -> None:
    """Without a release stable gets the traffic too, and the history says why."""
    name = make_candidate(two, broken("busy"), percent=50)
    assert {answer.status_code for answer in call(two, name)} == {200}
    assert FEWEST <= failed_at(the_provider, name, "busy") <= MOST

    def newest() -> dict[str, Any]:
        found: dict[str, Any] = two.client().get("/admin/config/history").json()["data"][0]
        return found

    assert eventually(lambda: newest()["traffic_split"] == {"stable": 100})
    assert re.match(r"breaker: [67] of the last [67] candidate requests failed", newest()["reason"])


def gives_traffic_to(relay: Relay, name: str) -> bool:
    """Whether each worker does, which it does only once it has heard the leader's beat."""
    answers = call(relay, "first", requests=8 * relay.workers)
    versions = [answer.headers["x-relay-version"] for answer in answers]
    return all(name in versions[worker :: relay.workers] for worker in range(relay.workers))


@pytest.fixture
def storeless(
    the_provider: Provider,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Relay]:
    """A relay of two workers whose candidate has half of the traffic, and whose store is gone."""
    folder = tmp_path_factory.mktemp("storeless")
    relay = begin(folder, settings(the_provider.base_url), workers=2)
    try:
        await_ready(relay)
        assert eventually(partial(gives_traffic_to, relay, make_candidate(relay, percent=50)))
        make_candidate(relay, broken("breaks"), percent=50)
        remove_store(relay)
        yield relay
    finally:
        relay.hang_up()
        end(relay.process)


def test_the_ban_needs_no_store(storeless: Relay, the_provider: Provider) -> None:
    """With the store gone the brake page alone takes the candidate away, in both workers."""
    answers = call(storeless, "no-store")
    assert {answer.status_code for answer in answers} == {200}
    assert FEWEST <= failed_at(the_provider, "no-store", "breaks") <= MOST
