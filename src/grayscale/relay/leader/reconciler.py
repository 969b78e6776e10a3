"""The reconciler: between a release's record and its flow runs in Prefect, in both directions.

A release that has something to do, and nobody who does it, gets a new run: one awakening is one
new flow run, created with an idempotency key; no run is ever rescheduled. And what a person does
to a release's run in Prefect (cancel, delete, suspend) is done to the release.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from grayscale.plane import conduct, document, people, releases, turns, versions
from grayscale.plane.actor import PREFECT
from grayscale.plane.conduct import SILENT_AFTER_SECONDS
from grayscale.plane.document import Document
from grayscale.plane.plane import Plane
from grayscale.prefect_api import PrefectApi, PrefectError
from grayscale.relay.leader.lead import ban_in_time
from grayscale.relay.leader.reporting import Reporter
from grayscale.relay.leader.runs import (
    DEPLOYMENT,
    Meaning,
    Part,
    RunWatch,
    Sight,
    Standing,
    stand_for,
)
from grayscale.release.phases import ACTIVE, GUARDED, State, may_follow
from grayscale.release.sleeping import is_asleep, is_due
from grayscale.store.database import Tx

_UNREACHABLE = "prefect_unreachable"


@dataclass(frozen=True, slots=True)
class Wake:
    """A release that needs a run, and the key under which it is created."""

    release_id: str
    version: str
    key: str


def needs_conductor(release: Document, conductor: Mapping[str, Any]) -> bool:
    """Whether a release has something to do that nobody is doing, or was called to do."""
    carried_out_alone = release.state is State.ROLLING_BACK
    if carried_out_alone or conductor["wake_run_id"] is not None:
        return False
    silent = bool(conductor["silent_seconds"] >= SILENT_AFTER_SECONDS)
    if conductor["flow_run_id"] is not None:
        return silent
    match release.state:
        case State.AWAITING_APPROVAL:
            decided = release.gate is not None and release.gate.state == "approved"
            return decided or release.waiting_run_id is None
        case State.PAUSED:
            return release.waiting_run_id is None
        case State.QUEUED:
            return release.origin_run_id is None or silent
        case _:
            return True


class Reconciler:
    """Heeds what people do to runs, and creates runs of `release/on-demand` where one is needed."""

    def __init__(self, plane: Plane, prefect: PrefectApi) -> None:
        self._plane = plane
        self._prefect = prefect
        self._watch = RunWatch(plane, prefect)
        self._reporter = Reporter(plane, prefect)
        self._looked_at = 0.0

    async def run_once(self) -> None:
        """One look at every release that is not over, and at ends nobody has reported."""
        async with self._plane.read() as tx:
            standings = await self._standings(tx)
        self._watch.forget_all_but({standing.run_id for standing in standings})
        for standing in standings:
            await self._look(standing)
        async with self._plane.read() as tx:
            wakes = await self._due(tx)
        for wake in wakes:
            await self._wake(wake)
        await self._reporter.run_once()

    # ---------------------------------------------------------------- from Prefect to the record

    async def _standings(self, tx: Tx) -> list[Standing]:
        standings = []
        for release in await _under_way(self._plane, tx):
            standings += stand_for(release, await document.conductor_of(tx, release.id))
        return standings

    async def _look(self, standing: Standing) -> None:
        try:
            sight = await self._watch.look(standing)
        except PrefectError:
            return  # not an answer: the next look may get one
        if sight.meaning is Meaning.NOTHING:
            return
        async with self._plane.write() as tx:
            self._looked_at = self._plane.clock.monotonic()
            release = await document.load(tx, standing.release_id)
            conductor = await document.conductor_of(tx, release.id)
            if standing in stand_for(release, conductor):  # else it was superseded meanwhile
                await self._heed(tx, release, standing, sight)

    async def _heed(self, tx: Tx, release: Document, standing: Standing, sight: Sight) -> None:
        match sight.meaning:
            case Meaning.ABORT:
                await conduct.dismiss(tx, release, run_id=standing.run_id)
                await self._abort(tx, release, note=sight.note)
            case Meaning.PAUSE if _pausable(release):
                await conduct.dismiss(tx, release, run_id=standing.run_id)
                await people.pause(
                    self._plane, tx, release, actor=PREFECT, at_stable=False, note=sight.note
                )
                await document.save(tx, release, now=self._plane.clock.now())
            case Meaning.REPLACE if standing.part is not Part.BEGAN:
                await conduct.dismiss(tx, release, run_id=standing.run_id)
                await document.save(tx, release, now=self._plane.clock.now())
            case _:
                pass

    async def _abort(self, tx: Tx, release: Document, *, note: str) -> None:
        version = await versions.find(tx, release.version)
        if version is not None and release.state in GUARDED:
            ban_in_time(self._plane, version.brake_slot, since=self._looked_at)
        await people.abort(self._plane, tx, release, actor=PREFECT, note=note)

    # ---------------------------------------------------------------- from the record to Prefect

    async def _due(self, tx: Tx) -> list[Wake]:
        due = []
        for release in await _under_way(self._plane, tx):
            conductor = await document.conductor_of(tx, release.id)
            needed = needs_conductor(release, conductor)
            if needed and await self._is_awake_or_due(tx, release):
                key = _wake_key(release.id, conductor)
                due.append(Wake(release.id, release.version, key))
        return due

    async def _is_awake_or_due(self, tx: Tx, release: Document) -> bool:
        record = await releases.record(self._plane, tx, release)
        return not is_asleep(record) or is_due(record)

    async def _wake(self, wake: Wake) -> None:
        try:
            run_id = await self._create(wake)
        except PrefectError as error:
            await self._note(wake, f"{_UNREACHABLE}: {error}")
            return
        async with self._plane.write() as tx:
            conductor = await document.conductor_of(tx, wake.release_id)
            if _wake_key(wake.release_id, conductor) != wake.key:
                return  # somebody claimed it meanwhile
            await document.put_conductor(tx, wake.release_id, wake_run_id=run_id)
        await self._note(wake, "a conductor was called")

    async def _create(self, wake: Wake) -> str:
        run = await self._prefect.create_run(
            DEPLOYMENT,
            parameters={"release_id": wake.release_id},
            idempotency_key=wake.key,
            tags=[f"release:{wake.release_id}"],
            name=f"release {wake.version}",
        )
        return run.id

    async def _note(self, wake: Wake, reason: str) -> None:
        async with self._plane.write() as tx:
            release = await document.load(tx, wake.release_id)
            if release.state is State.QUEUED and release.reason != reason:
                release.reason = reason
                await document.save(tx, release, now=self._plane.clock.now())


async def _under_way(plane: Plane, tx: Tx) -> list[Document]:
    """Every release that is, or else the one whose turn is next."""
    active = await document.in_states(tx, ACTIVE)
    first = None if active else await turns.next_up(plane, tx)
    return active if first is None else [first]


def _pausable(release: Document) -> bool:
    return release.state is State.PAUSED or may_follow(release.state, State.PAUSED)


def _wake_key(release_id: str, conductor: Mapping[str, Any]) -> str:
    return f"{release_id}:{conductor['wake_seq']}"
