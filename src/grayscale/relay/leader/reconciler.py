"""The reconciler: a release that has something to do, and nobody who does it, gets a new run.

One awakening is one new flow run, created with an idempotency key; no run is ever rescheduled.
"""

from __future__ import annotations

from dataclasses import dataclass

from grayscale.plane import document
from grayscale.plane.conduct import SILENT_AFTER_SECONDS
from grayscale.plane.document import Document
from grayscale.plane.plane import Plane
from grayscale.prefect_api import PrefectApi, PrefectError, PrefectRefused
from grayscale.release.phases import ACTIVE, FINAL, State
from grayscale.store.database import Tx

DEPLOYMENT = "release/on-demand"
_UNREACHABLE = "prefect_unreachable"


@dataclass(frozen=True, slots=True)
class Wake:
    """A release that needs a run, and the key under which it is created."""

    release_id: str
    version: str
    key: str
    run_id: str | None
    silent_seconds: int


def needs_conductor(release: Document, *, silent_seconds: int, run_id: str | None) -> bool:
    """Whether a release has something to do that nobody is doing."""
    silent = silent_seconds >= SILENT_AFTER_SECONDS
    if release.state is State.ROLLING_BACK:
        return False  # the relay carries it to its end alone
    if run_id is not None:
        return silent
    match release.state:
        case State.AWAITING_APPROVAL:
            decided = release.gate is not None and release.gate.state == "approved"
            return decided or (release.waiting_run_id is None and silent)
        case State.PAUSED:
            return release.waiting_run_id is None and silent
        case State.QUEUED:
            return release.origin_run_id is None or silent
        case _:
            return True


class Reconciler:
    """Creates runs of `release/on-demand` for releases that need one."""

    def __init__(self, plane: Plane, prefect: PrefectApi) -> None:
        self._plane = plane
        self._prefect = prefect

    async def run_once(self) -> None:
        """One look at every release that is not over, and at ends nobody has reported."""
        async with self._plane.read() as tx:
            wakes = await self._due(tx)
            reports = await self._unreported(tx)
        for wake in wakes:
            await self._wake(wake)
        for wake in reports:
            await self._report(wake)

    async def _due(self, tx: Tx) -> list[Wake]:
        active = await document.in_states(tx, ACTIVE)
        queued = await document.in_states(tx, frozenset({State.QUEUED}))
        due = []
        for release in active or queued[:1]:
            row = await document.conductor_of(tx, release.id)
            silent = int(row["silent_seconds"])
            if needs_conductor(release, silent_seconds=silent, run_id=row["flow_run_id"]):
                key = f"{release.id}:{row['wake_seq']}"
                due.append(Wake(release.id, release.version, key, row["wake_run_id"], silent))
        return due

    async def _unreported(self, tx: Tx) -> list[Wake]:
        unreported = []
        for release_id in await document.report_due(tx):
            release = await document.load(tx, release_id)
            if release.state in FINAL:
                key = f"{release_id}:report"
                unreported.append(Wake(release_id, release.version, key, None, 0))
        return unreported

    async def _wake(self, wake: Wake) -> None:
        try:
            if wake.run_id is not None and not await self._died(wake.run_id):
                return
            run_id = await self._create(wake)
        except PrefectError as error:
            await self._note(wake, f"{_UNREACHABLE}: {error}")
            return
        async with self._plane.write() as tx:
            row = await document.conductor_of(tx, wake.release_id)
            if f"{wake.release_id}:{row['wake_seq']}" != wake.key:
                return  # somebody claimed it meanwhile
            seq = int(row["wake_seq"]) + (1 if wake.run_id is not None else 0)
            await document.put_conductor(tx, wake.release_id, wake_run_id=run_id, wake_seq=seq)
        await self._note(wake, "a conductor was called")

    async def _died(self, run_id: str) -> bool:
        try:
            return (await self._prefect.read_run(run_id)).over
        except PrefectRefused as refused:
            if refused.status == 404:
                return True
            raise

    async def _report(self, wake: Wake) -> None:
        try:
            await self._create(wake)
        except PrefectError:
            return
        async with self._plane.write() as tx:
            await document.put_conductor(tx, wake.release_id, report_due=False)

    async def _create(self, wake: Wake) -> str:
        suffix = ":again" if wake.run_id is not None else ""
        run = await self._prefect.create_run(
            DEPLOYMENT,
            parameters={"release_id": wake.release_id},
            idempotency_key=f"{wake.key}{suffix}",
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
