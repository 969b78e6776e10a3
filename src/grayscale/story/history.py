"""What is on record of a release: its record, its events, and each interval of its judge."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from grayscale.clock import from_rfc3339
from grayscale.judge import Interval
from grayscale.judge.recorded import interval_from
from grayscale.release.record import ReleaseRecord, VerdictView


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the event log; `actor` is marked where the name is only a claim."""

    kind: str
    at: str
    actor: str
    reason: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Looked:
    """One look of the judge: what it was told, what it answered, what stopped the clock."""

    at: str
    interval: Interval
    verdict: VerdictView
    stopped_by: str | None

    @property
    def number(self) -> int:
        """The interval's number, from 1."""
        return self.interval.id

    @property
    def harmful(self) -> bool:
        """Whether this look condemned the candidate."""
        return self.verdict.outcome == "harmful"


@dataclass(frozen=True, slots=True)
class History:
    """Everything about one release, oldest first."""

    record: ReleaseRecord
    events: tuple[Event, ...]
    looks: tuple[Looked, ...]

    def step_name(self, index: int) -> str:
        """`25 %`, or `the bake`."""
        steps = self.record.steps
        return f"{steps[index].step_percent:g} %" if index < len(steps) else "the bake"


def history_of(
    record: ReleaseRecord,
    events: Iterable[Mapping[str, Any]],
    intervals: Iterable[Mapping[str, Any]],
) -> History:
    """From the answers of the admin API."""
    return History(record, tuple(map(_event, events)), tuple(map(_looked, intervals)))


def leading_gate(verdict: VerdictView) -> str | None:
    """The gate that says most against the candidate; None if none says anything."""
    gates: Mapping[str, Mapping[str, Any]] = verdict.evidence.get("gates") or {}
    said = {
        name: gate.get("share", 1.0) * gate["e_value"]
        for name, gate in gates.items()
        if gate.get("blamed", True) and gate["e_value"] > 1
    }
    return max(said, key=lambda name: said[name]) if said else None


def clock_time(at: str) -> str:
    """`03:04:05`: the day stands above the lines."""
    return from_rfc3339(at).strftime("%H:%M:%S") if at else "?"


def day_and_time(at: str | None) -> str:
    """`2026-01-02 03:04:05 UTC`."""
    return from_rfc3339(at).strftime("%Y-%m-%d %H:%M:%S UTC") if at else "?"


def seconds_between(earlier: str, later: str) -> float:
    """By the labels that clocks gave."""
    return (from_rfc3339(later) - from_rfc3339(earlier)).total_seconds()


def _event(envelope: Mapping[str, Any]) -> Event:
    data = envelope["data"]
    actor = data.get("actor") or {}
    name = str(actor.get("name") or "somebody")
    return Event(
        kind=str(envelope["type"]),
        at=str(envelope["timestamp"]),
        actor=name if actor.get("verified", True) else f"{name} (name not verified)",
        reason=str(data.get("reason") or ""),
        data=data,
    )


def _looked(row: Mapping[str, Any]) -> Looked:
    return Looked(
        at=str(row.get("at") or ""),
        interval=interval_from(row["interval"]),
        verdict=VerdictView.model_validate(row["verdict"]),
        stopped_by=row.get("stopped_by"),
    )
