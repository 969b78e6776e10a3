"""Playing a release of the demo."""

import itertools
from collections.abc import Iterator
from typing import Any, Self

import pytest

from grayscale.control import Control
from grayscale.demo.acts import Stage
from grayscale.demo.scenario import Act
from grayscale.demo.screen import View
from grayscale.demo.traffic import Tally
from grayscale.release.phases import State
from grayscale.testing.loopback import Request
from tests.cli.fake_relay import FakeRelay

SEEN = {"version": "v1", "aliases": ["stable"], "intended_percent": 90.0, "requests": 9}
NEW = {"version": "v2", "aliases": ["beta"], "intended_percent": 10.0, "requests": 1}


class Script:
    """A screen that keeps what it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.views: list[View] = []

    def show(self, view: View) -> None:
        self.views.append(view)

    def say(self, view: View, text: str) -> None:
        self.said.append(text)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None


def record(state: str, *, weight: float = 0, reached: int = 0, **more: Any) -> dict[str, Any]:
    """A release in `state` that has reached so many steps."""
    steps = [
        {"index": index, "step_percent": percent, "weight_percent": percent,
         "state": "done" if index < reached else "pending"}
        for index, percent in enumerate((10, 100))
    ]  # fmt: skip
    return {
        "id": "rel_1", "version": "v2", "state": state, "revision": 1, "seq": 1, "steps": steps,
        "plan": {"version_name": "v2"}, "weight_percent": weight, "created_at": "t", **more,
    }  # fmt: skip


def follow(relay: FakeRelay, *records: dict[str, Any]) -> None:
    """Let the release go through these records, one at each look."""
    looks: Iterator[dict[str, Any]] = itertools.chain(records, itertools.repeat(records[-1]))
    relay.says("POST", "/v1/admin/releases", {"id": "rel_1", "state": "queued"}, status=201)
    relay.says("GET", "/v1/admin/traffic/distribution", {"versions": [SEEN, NEW]})
    relay.says("GET", "/v1/admin/metrics/errors", {"versions": [
        {"version": "v2", "error_rate_percent": 20.0}]})  # fmt: skip

    def look(_request: Request) -> tuple[int, Any]:
        return 200, next(looks)

    relay.answers["GET", "/v1/admin/releases/rel_1"] = look


@pytest.fixture
def relay() -> Iterator[FakeRelay]:
    """A relay that answers what the test writes down."""
    with FakeRelay() as server:
        yield server


async def play(relay: FakeRelay, must_end: State) -> tuple[Any, Script, Stage]:
    """Play one act, with a clock that ticks once per look."""
    screen, ticks = Script(), itertools.count(1)
    async with Control(relay.url, "gs_x") as control:
        stage = Stage(
            control, Tally(total=5), screen, relay_url=relay.url, prefect_url="",
            elapsed=lambda: float(next(ticks)), look_seconds=0.001,
        )  # fmt: skip
        act = Act("An act", {"version_name": "v2"}, must_end)
        return await stage.play(act), screen, stage


async def test_an_act_ends_with_its_release(relay: FakeRelay) -> None:
    """The ending has the record's outcome, the steps that were reached, and the reason."""
    follow(
        relay,
        record("queued"),
        record("soaking", weight=10, reached=1),
        record("rolled_back", reached=1, reason="8 of 40 failed"),
    )
    ending, screen, stage = await play(relay, State.ROLLED_BACK)
    assert ending.as_it_must
    shown = ending.to_json()
    assert (shown["outcome"], shown["steps"], shown["reason"]) == (
        "rolled_back", [10.0], "8 of 40 failed",
    )  # fmt: skip
    assert stage.first_split_seconds is not None
    assert screen.said == [
        "v2 is created as rel_1",
        "v2 has 10 % of the traffic now",
        "v2 is rolled back: 8 of 40 failed",
    ]
    assert last_rows(screen) == [("v1", 90.0, 0.0), ("v2", 10.0, 20.0)]


def last_rows(screen: Script) -> list[tuple[str, float, float]]:
    """The last picture's versions: set weight and errors."""
    return [(row.name, row.set_percent, row.error_percent) for row in screen.views[-1].versions]


async def test_another_end_is_told(relay: FakeRelay) -> None:
    """A good release that is rolled back did not end as it must."""
    follow(relay, record("rolled_back", reason="slow"))
    ending, _, stage = await play(relay, State.PROMOTED)
    assert not ending.as_it_must
    assert stage.first_split_seconds is None


async def test_a_relay_that_is_away_for_a_moment_is_waited_for(relay: FakeRelay) -> None:
    """An answer that says "later" is told on the screen and does not end the act."""
    follow(relay, record("promoted", reached=2))
    looks = itertools.chain([(503, {})], itertools.repeat((200, record("promoted"))))
    relay.answers["GET", "/v1/admin/releases/rel_1"] = lambda _request: next(looks)
    ending, screen, _ = await play(relay, State.PROMOTED)
    assert ending.as_it_must
    assert "does not answer" in screen.said[0]
