"""What `make chaos` holds against each other at its end: each kind of damage is found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from grayscale.release.phases import State
from tools.chaos.faults import Fault, planned
from tools.chaos.record import Event, Evidence, Findings, examine
from tools.chaos.recovery import Kill, Kills
from tools.chaos.releases import Released


def event(number: int, kind: str, **data: Any) -> Event:
    """An event of the release."""
    timestamp = f"2030-01-01T00:00:{number:02d}Z"
    return {
        "id": f"evt_{number}",
        "type": kind,
        "timestamp": timestamp,
        "data": {"release_id": "rel_1", **data},
    }


EVENTS = (
    event(1, "split.changed", release_id=None, config_id="config_1"),
    event(2, "release.created"),
    event(3, "split.changed", config_id="config_2"),
    event(4, "release.step_started", step_index=0),
    event(5, "release.approval_requested"),
    event(6, "release.approved"),
    event(7, "split.changed", config_id="config_3"),
    event(8, "release.promoted"),
)
SOUND = Evidence(
    releases=(Released("v2", "rel_1", State.PROMOTED, State.PROMOTED, "", 1, {"rel_1"}),),
    recorded=(("rel_1", "v2"),),
    events=EVENTS,
    configs=(
        ("config_1", {"v1": 100}, {"stable": "v1"}),
        ("config_2", {"v1": 80, "v2": 20}, {"stable": "v1", "beta": "v2"}),
        ("config_3", {"v2": 100}, {"stable": "v2", "previous": "v1"}),
    ),
    to_be_told=frozenset({"evt_8"}),
    told=(EVENTS[-1], EVENTS[-1]),
)


def without(kind: str) -> Sequence[Event]:
    """The events but for those of a type."""
    return [one for one in EVENTS if one["type"] != kind]


def test_a_sound_record_has_no_findings() -> None:
    """A record in which everything happened once, and a notice that came twice, is sound."""
    assert examine(SOUND) == Findings()


@pytest.mark.parametrize(
    "damaged",
    [
        replace(SOUND, recorded=()),
        replace(SOUND, events=without("release.created")),
        replace(SOUND, events=without("release.promoted"), told=(), to_be_told=frozenset()),
        replace(SOUND, events=without("release.approved")),
        replace(SOUND, events=without("split.changed")),
        replace(SOUND, told=()),
        replace(SOUND, told=(*SOUND.told, event(8, "release.promoted", weight_percent=1))),
    ],
    ids=["release", "creation", "end", "approval", "change", "notice", "wording"],
)
def test_what_is_lost_is_found(damaged: Evidence) -> None:
    """A release, an event, an approval or a notice that is missing is found."""
    found = examine(damaged)
    assert found.lost
    assert not found.doubled
    assert not found.wrong_ends


@pytest.mark.parametrize(
    "damaged",
    [
        replace(SOUND, recorded=(*SOUND.recorded, ("rel_2", "v2"))),
        replace(SOUND, events=(*EVENTS, event(9, "release.promoted"))),
        replace(SOUND, events=(*EVENTS, event(9, "release.step_started", step_index=0))),
        replace(SOUND, events=(*EVENTS, event(9, "release.approved"))),
        replace(SOUND, events=(*EVENTS, event(9, "split.changed", config_id="config_3"))),
        replace(SOUND, events=(*EVENTS, {**EVENTS[4], "id": "evt_9"})),
        replace(SOUND, told=(*SOUND.told, event(9, "release.held"))),
    ],
    ids=["release", "promotion", "step", "approval", "change", "second id", "notice"],
)
def test_what_happened_twice_is_found(damaged: Evidence) -> None:
    """An effect that was applied twice, and an event under two ids, are found."""
    found = examine(damaged)
    assert found.doubled
    assert not found.lost
    assert not found.wrong_ends


def test_a_split_that_was_set_twice_is_found() -> None:
    """Two configs in a row that set the same are one decision carried out twice."""
    again = ("config_4", *SOUND.configs[-1][1:])
    events = (*EVENTS, event(9, "split.changed", config_id="config_4"))
    found = examine(replace(SOUND, configs=(*SOUND.configs, again), events=events))
    assert found.doubled == ["config_4 sets what config_3 had set"]


def test_a_step_may_begin_again_after_a_hold() -> None:
    """A step whose traffic was taken back when the lease ran out is begun again, rightly."""
    held = (event(9, "release.held"), event(10, "release.step_started", step_index=0))
    assert examine(replace(SOUND, events=(*EVENTS, *held))) == Findings()


@pytest.mark.parametrize("ended", [None, State.ROLLED_BACK])
def test_a_wrong_end_is_found(ended: State | None) -> None:
    """A good release that comes back, or ends nowhere, is a wrong end."""
    wrong = replace(SOUND.releases[0], ended=ended)
    events = [*without("release.promoted"), event(8, "release.rolled_back")]
    found = examine(replace(SOUND, releases=(wrong,), events=events))
    assert len(found.wrong_ends) == 1


def test_traffic_beside_stable_is_a_wrong_end() -> None:
    """At the end all traffic is with the version that was promoted last."""
    beside = ("config_3", {"v1": 100}, {"stable": "v1"})
    found = examine(replace(SOUND, configs=(*SOUND.configs[:2], beside)))
    assert found.wrong_ends == ["stable is v1, not v2"]


def test_the_same_seed_kills_the_same() -> None:
    """A seed replays, and every fault comes as often as the others."""
    plan = planned(21, seed=5)
    assert plan == planned(21, seed=5) != planned(21, seed=6)
    assert {fault: sum(one.fault is fault for one in plan) for fault in Fault} == dict.fromkeys(
        Fault, 3
    )


def test_only_a_kill_excuses_a_lost_connection() -> None:
    """A connection may be lost while a relay worker is killed; at no other time."""
    kills = Kills(
        [
            Kill(Fault.RELAY_WORKER, at=100.0, victims=[1], overlapped=False),
            Kill(Fault.PREFECT_SERVER, at=200.0, victims=[2], overlapped=False),
        ],
        outages=[(300.0, 310.0)],
    )
    assert kills.cut(99.0, 100.1)
    assert not kills.cut(98.0, 99.9)
    assert not kills.cut(199.0, 200.1)
    assert kills.nobody_there(305.0, 305.1)
    assert not kills.nobody_there(311.0, 311.1)
