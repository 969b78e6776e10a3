"""What became of a release's flow runs in Prefect, and what that means for the release.

Prefect tells nobody when a person cancels, deletes or suspends a run: no hook runs for one that
sleeps behind its form, none for one whose process is gone. So the leader looks, politely.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum
from math import inf
from typing import Any

from sqlalchemy import insert, select, update

from grayscale.plane.conduct import SILENT_AFTER_SECONDS
from grayscale.plane.document import Document
from grayscale.plane.plane import Plane
from grayscale.prefect_api import FlowRun, PrefectApi, PrefectRefused
from grayscale.release.phases import State
from grayscale.store import schema

DEPLOYMENT = "release/on-demand"
LOOK_EVERY_SECONDS = 5.0
# A start takes 6 to 25 s. A run whose worker died meanwhile stays PENDING or RUNNING for ever.
STARTS_WITHIN_SECONDS = 60.0
_HOME = "prefect_home"
_RUNS_REMEMBERED = 20
_REMEMBERED = select(schema.meta.c.text).where(schema.meta.c.key == _HOME)
_REMEMBER = update(schema.meta).where(schema.meta.c.key == _HOME)


class Part(StrEnum):
    """What a flow run is to its release."""

    CONDUCTS = "conducts"
    SLEEPS = "sleeps behind a form, a person's or the soak's"
    CALLED = "was called, and has not claimed the release yet"
    BEGAN = "put the release on record, and has not claimed it yet"


@dataclass(frozen=True, slots=True)
class Standing:
    """A flow run that stands for a release: what a person does to it is meant for the release."""

    release_id: str
    run_id: str
    part: Part
    fence: int


class Meaning(Enum):
    """What the leader has to do about a run."""

    NOTHING = "it does what it should"
    ABORT = "a person wants the release to end"
    PAUSE = "a person wants the release to wait"
    REPLACE = "it will do nothing any more, and nobody wanted that"


@dataclass(frozen=True, slots=True)
class Sight:
    """What a look at a run showed; `note` says it for the record."""

    meaning: Meaning
    note: str = ""


NOTHING = Sight(Meaning.NOTHING)
_REPLACE = Sight(Meaning.REPLACE)


def stand_for(release: Document, conductor: Mapping[str, Any]) -> list[Standing]:
    """The runs that stand for a release right now; one that was superseded never does."""
    if release.state is State.ROLLING_BACK or release.state.final:
        return []
    driving = conductor["flow_run_id"] is not None
    alive = driving and conductor["silent_seconds"] < SILENT_AFTER_SECONDS
    begins = release.state is State.QUEUED and not driving
    parts = {
        Part.CONDUCTS: conductor["flow_run_id"],
        Part.SLEEPS: release.waiting_run_id,
        Part.CALLED: None if alive else conductor["wake_run_id"],
        Part.BEGAN: release.origin_run_id if begins else None,
    }
    fence = int(conductor["fence"])
    return [Standing(release.id, run, part, fence) for part, run in parts.items() if run]


@dataclass(slots=True)
class _Known:
    """What earlier looks at a run showed, on the leader's own clock."""

    looked_at: float = -inf
    run: FlowRun | None = None
    starting_since: float | None = None


class RunWatch:
    """Looks at each run every few seconds."""

    def __init__(self, plane: Plane, prefect: PrefectApi) -> None:
        self._clock = plane.clock
        self._prefect = prefect
        self._home = _Home(plane, prefect)
        self._known: dict[str, _Known] = {}

    def forget_all_but(self, run_ids: Collection[str]) -> None:
        """Nobody will ask about the others any more."""
        self._known = {run: known for run, known in self._known.items() if run in run_ids}

    async def look(self, standing: Standing) -> Sight:
        """What a run's state says; NOTHING while no look is due.

        Raises PrefectError where Prefect cannot say: that never means anything for a release.
        """
        known = self._known.setdefault(standing.run_id, _Known())
        now = self._clock.monotonic()
        if now - known.looked_at < LOOK_EVERY_SECONDS:
            return NOTHING
        known.looked_at = now
        try:
            run = await self._prefect.read_run(standing.run_id)
        except PrefectRefused as refused:
            if refused.status != 404:
                raise
            return await self._missing(standing, known)
        if known.run is None:
            await self._home.remember(run.id)
        known.run = run
        return _read(run, late=self._late(standing, known, run, now))

    def _late(self, standing: Standing, known: _Known, run: FlowRun, now: float) -> bool:
        starting = standing.part is not Part.CONDUCTS and run.state_type in {"PENDING", "RUNNING"}
        if not starting:
            known.starting_since = None
            return False
        if known.starting_since is None:
            known.starting_since = now
        return now - known.starting_since >= STARTS_WITHIN_SECONDS

    async def _missing(self, standing: Standing, known: _Known) -> Sight:
        """What a run that is not there means; one that only opened a release may be tidied away."""
        fate = await self._home.fate_of(standing.run_id)
        if standing.part is Part.BEGAN or fate is Fate.UNKNOWN:
            return NOTHING
        if fate is Fate.LOST:
            return _REPLACE
        name = f" {known.run.name!r}" if known.run is not None else ""
        return Sight(Meaning.ABORT, f"its run{name} was deleted in Prefect")


def _read(run: FlowRun, *, late: bool) -> Sight:
    if run.cancelled:
        return Sight(Meaning.ABORT, f"its run {run.name!r} was cancelled in Prefect")
    if run.suspended_from_outside:
        return Sight(Meaning.PAUSE, f"its run {run.name!r} was suspended in Prefect")
    return _REPLACE if run.over or late else NOTHING


class Fate(Enum):
    """Why Prefect does not know a run."""

    DELETED = "it was there"
    LOST = "this Prefect has another database, which never had it"
    UNKNOWN = "it was never seen there, or what answers is not a Prefect with our flows"


class _Home:
    """The Prefect that our runs were seen in, and the last of them; in the store: leaders change.

    It is known by the id that it gave our deployment, which an empty database gives anew.
    """

    def __init__(self, plane: Plane, prefect: PrefectApi) -> None:
        self._plane = plane
        self._prefect = prefect

    async def remember(self, run_id: str) -> None:
        """The run was seen in the Prefect that answers now."""
        deployment = await self._prefect.find_deployment(DEPLOYMENT)
        home, runs = await self._remembered()
        before = runs if home == deployment else []
        if deployment is None or run_id in before:
            return
        text = json.dumps([deployment, [*before, run_id][-_RUNS_REMEMBERED:]])
        async with self._plane.write() as tx:
            if not await tx.run(_REMEMBER, text=text):
                await tx.run(insert(schema.meta).values(key=_HOME, text=text))

    async def fate_of(self, run_id: str) -> Fate:
        """What became of a run that is not there."""
        deployment = await self._prefect.find_deployment(DEPLOYMENT)
        home, runs = await self._remembered()
        if deployment is None or home is None:
            return Fate.UNKNOWN
        if deployment != home:
            return Fate.LOST
        return Fate.DELETED if run_id in runs else Fate.UNKNOWN

    async def _remembered(self) -> tuple[str | None, list[str]]:
        async with self._plane.read() as tx:
            row = await tx.one(_REMEMBERED)
        if row is None:
            return None, []
        home, runs = json.loads(row["text"])
        return home, runs
