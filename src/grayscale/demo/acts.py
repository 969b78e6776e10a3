"""Playing one act: begin a release, watch it to its end, and say whether it ended as it must."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from grayscale.control import Control
from grayscale.demo.scenario import Act
from grayscale.demo.screen import Screen, VersionRow, View, happening
from grayscale.demo.traffic import Tally
from grayscale.errors import ControlUnreachable
from grayscale.release.phases import State
from grayscale.release.record import ReleaseRecord

_LOOK_SECONDS = 0.7
_WINDOW_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Ending:
    """How a release of the demo ended."""

    version: str
    outcome: State
    seconds: float
    steps: tuple[float, ...]
    reason: str
    as_it_must: bool

    def to_json(self) -> dict[str, Any]:
        """As in the last line of `demo --json`."""
        return {
            "version": self.version,
            "outcome": self.outcome.value,
            "seconds": round(self.seconds, 1),
            "steps": list(self.steps),
            "reason": self.reason,
        }


class Stage:
    """What every act needs: the relay, the callers' tally and the screen."""

    def __init__(
        self,
        control: Control,
        tally: Tally,
        screen: Screen,
        *,
        relay_url: str,
        prefect_url: str,
        elapsed: Callable[[], float],
        look_seconds: float = _LOOK_SECONDS,
    ) -> None:
        self._control = control
        self._tally = tally
        self._screen = screen
        self._elapsed = elapsed
        self._look_seconds = look_seconds
        self._view = View(0.0, relay_url, prefect_url)
        self.first_split_seconds: float | None = None

    def say(self, text: str) -> None:
        """Tell what has just happened."""
        self._screen.say(self._now(), text)

    async def play(self, act: Act) -> Ending:
        """Begin the act's release and watch it to its end."""
        self._view = replace(self._view, title=act.title, record=None)
        opened = await self._control.open_release(act.plan)
        started = self._elapsed()
        record: ReleaseRecord | None = None
        while record is None or not record.state.final:
            before, record = record, await self._look(opened["id"]) or record
            if record is None:
                continue
            if record.state is State.QUEUED:
                started = self._elapsed()
            if record.weight_percent and self.first_split_seconds is None:
                self.first_split_seconds = self._elapsed()
            told = happening(before, record)
            if told:
                self.say(told)
            await asyncio.sleep(self._look_seconds)
        return ending(act, record, seconds=self._elapsed() - started)

    async def split_after(self) -> dict[str, float]:
        """The weights at the end, by version."""
        seen = await self._control.distribution(window_seconds=_WINDOW_SECONDS)
        weights = {row["version"]: row["intended_percent"] for row in seen["versions"]}
        return {name: weight for name, weight in weights.items() if weight}

    async def _look(self, release_id: str) -> ReleaseRecord | None:
        """Look at everything and redraw; None while the relay does not answer."""
        try:
            record = await self._control.release(release_id)
            seen = await self._control.distribution(window_seconds=_WINDOW_SECONDS)
            errors = await self._control.errors(window_seconds=_WINDOW_SECONDS)
        except ControlUnreachable as error:
            self.say(f"the relay does not answer: {error}")
            await asyncio.sleep(self._look_seconds)
            return None
        rows = _rows(seen, errors, self._tally.recent())
        self._view = replace(self._view, record=record, versions=rows)
        self._screen.show(self._now())
        return record

    def _now(self) -> View:
        self._view = replace(
            self._view,
            elapsed_seconds=self._elapsed(),
            requests_total=self._tally.total,
            requests_failed=self._tally.failed,
        )
        return self._view


def ending(act: Act, record: ReleaseRecord, *, seconds: float) -> Ending:
    """What the record says at its end, held against how the act must end."""
    return Ending(
        version=record.version,
        outcome=record.state,
        seconds=seconds,
        steps=tuple(step.step_percent for step in record.steps if step.state != "pending"),
        reason=record.reason or (record.verdict.sentence if record.verdict else ""),
        as_it_must=record.state is act.must_end,
    )


def _rows(
    seen: dict[str, Any], errors: dict[str, Any], recent: dict[str, float]
) -> tuple[VersionRow, ...]:
    failing = {row["version"]: row["error_rate_percent"] for row in errors["versions"]}
    return tuple(
        VersionRow(
            name=row["version"],
            aliases=tuple(row["aliases"]),
            set_percent=row["intended_percent"],
            seen_percent=recent.get(row["version"], 0.0),
            error_percent=failing.get(row["version"], 0.0),
        )
        for row in seen["versions"]
    )
