"""The event log, held against what the operator did and what the webhook's far end received."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from grayscale.release.phases import State
from tools.chaos.releases import Released

Event = Mapping[str, Any]

_RESTORES = frozenset({"release.held", "release.paused"})
_ONCE = (
    "release.created",
    "release.baking",
    "release.rolling_back",
    "release.rolled_back",
    "release.promoted",
    "release.failed",
)


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that is known at the end."""

    releases: Sequence[Released]
    recorded: Sequence[tuple[str, str]]
    """Ids and versions of the releases on record."""
    events: Sequence[Event]
    configs: Sequence[tuple[str, Mapping[str, float], Mapping[str, str]]]
    """Ids, weights and aliases, oldest first."""
    to_be_told: frozenset[str]
    """The events that the webhook had to hear of."""
    told: Sequence[Event]
    """The events that it heard of."""


@dataclass(slots=True)
class Findings:
    """What is wrong, a sentence each."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    wrong_ends: list[str] = field(default_factory=list)


def examine(evidence: Evidence) -> Findings:
    """Look for what was lost, what happened twice, and what ended wrongly."""
    found = Findings()
    _look_at_releases(evidence, found)
    for released in evidence.releases:
        events = [
            event for event in evidence.events if event["data"]["release_id"] == released.release_id
        ]
        _look_at_events(released, events, found)
    _look_at_configs(evidence, found)
    _look_at_notices(evidence, found)
    _look_at_the_end(evidence, found)
    return found


def _look_at_releases(evidence: Evidence, found: Findings) -> None:
    opened = {released.release_id for released in evidence.releases}
    recorded = {release_id for release_id, _ in evidence.recorded}
    found.lost += [f"release {release_id} is not on record" for release_id in opened - recorded]
    found.doubled += [f"nobody began release {release_id}" for release_id in recorded - opened]
    for released in evidence.releases:
        if len(released.opened_as) > 1:
            found.doubled.append(f"{released.version} was begun as {sorted(released.opened_as)}")
        if not released.right:
            ended = released.ended.value if released.ended else "nowhere"
            found.wrong_ends.append(f"{released.version} ended {ended}: {released.reason}")


def _look_at_events(released: Released, events: Sequence[Event], found: Findings) -> None:
    name = released.version
    counted = Counter(str(event["type"]) for event in events)
    found.doubled += [f"{name}: {counted[kind]} of {kind}" for kind in _ONCE if counted[kind] > 1]
    if not counted["release.created"]:
        found.lost.append(f"{name}: no release.created")
    if released.ended is not None and not counted[f"release.{released.ended.value}"]:
        found.lost.append(f"{name}: no release.{released.ended.value}")
    if counted["release.approved"] < released.approvals:
        found.lost.append(f"{name}: an approval is not on record")
    if counted["release.approved"] > counted["release.approval_requested"]:
        found.doubled.append(f"{name}: more approvals than questions")
    begun: set[int] = set()
    for event in events:
        if event["type"] in _RESTORES:
            begun.clear()  # the step that was left is begun again
        if event["type"] == "release.step_started":
            step = int(event["data"]["step_index"])
            if step in begun:
                found.doubled.append(f"{name}: step {step} began twice")
            begun.add(step)


def _look_at_configs(evidence: Evidence, found: Findings) -> None:
    changes = Counter(
        str(event["data"]["config_id"])
        for event in evidence.events
        if event["type"] == "split.changed"
    )
    for config_id, _, _ in evidence.configs:
        if changes[config_id] != 1:
            kind = found.doubled if changes[config_id] else found.lost
            kind.append(f"{changes[config_id]} of split.changed to {config_id}")
    pairs = zip(evidence.configs, evidence.configs[1:], strict=False)
    found.doubled += [
        f"{after[0]} sets what {before[0]} had set"
        for before, after in pairs
        if before[1:] == after[1:]
    ]


def _look_at_notices(evidence: Evidence, found: Findings) -> None:
    told: dict[str, set[str]] = {}
    for event in evidence.told:
        told.setdefault(str(event["id"]), set()).add(json.dumps(event, sort_keys=True))
    missing = evidence.to_be_told - set(told)
    found.lost += [f"the webhook never heard of event {event_id}" for event_id in sorted(missing)]
    found.lost += [
        f"event {event_id} was told in {len(texts)} wordings"
        for event_id, texts in told.items()
        if len(texts) > 1
    ]
    known = {str(event["id"]) for event in evidence.events}
    found.doubled += [f"event {one} was told and is not on record" for one in set(told) - known]
    found.doubled += [f"{text} under two ids" for text in _under_two_ids(evidence.events)]


def _under_two_ids(events: Iterable[Event]) -> list[str]:
    """Events of one release that say the same of the same moment."""
    counted = Counter(
        (event["type"], event["timestamp"], json.dumps(event["data"], sort_keys=True))
        for event in events
    )
    return [f"{kind} at {moment}" for (kind, moment, _), count in counted.items() if count > 1]


def _look_at_the_end(evidence: Evidence, found: Findings) -> None:
    """Stable is the version that was promoted last, and has all the traffic."""
    promoted = [one.version for one in evidence.releases if one.ended is State.PROMOTED]
    _, weights, aliases = evidence.configs[-1]
    stable = aliases.get("stable")
    if promoted and stable != promoted[-1]:
        found.wrong_ends.append(f"stable is {stable}, not {promoted[-1]}")
    if dict(weights) != {stable: 100}:
        found.wrong_ends.append(f"the traffic is at {dict(weights)} at the end")
