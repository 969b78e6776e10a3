"""Taking traffic away on a person's word: the brake first, from memory; then the store.

A takeaway is in force when the brake page says so, and on record when the store does. Where the
store is lost, locked or full the caller is told which of the two is done (`recorded: false`), and
the record follows by itself. A worker that dies before leaves its bans to the leader.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from grayscale.clock import Clock
from grayscale.errors import Refused, StoreError, StoreUnavailable
from grayscale.plane import document, snapshots, versions
from grayscale.plane.plane import Brake, Plane
from grayscale.plane.rollbacks import Wanted
from grayscale.relay.runtime import Health
from grayscale.release.phases import GUARDED, State
from grayscale.release.record import ReleaseRecord
from grayscale.traffic.snapshot import Snapshot

T = TypeVar("T")
_log = logging.getLogger(__name__)

_ANSWER_WITHIN_SECONDS = 1.0
_LOOK_WITHIN_SECONDS = 0.5
_RETRY_SECONDS = 0.2
_UNRECORDED = "record"


class Ledger:
    """One worker's takeaways that are in force and not on record yet."""

    def __init__(self, health: Health, clock: Clock) -> None:
        self._health = health
        self._clock = clock
        self._open: set[asyncio.Task[Any]] = set()

    async def record(self, what: str, write: Callable[[], Awaitable[T]]) -> T | None:
        """What `write` returned; None if the store cannot be written now: tried until it can be.

        Raises Refused where the first attempt does.
        """
        failed = asyncio.Event()
        task = asyncio.create_task(self._until_written(what, write, failed))
        failing = asyncio.create_task(failed.wait())
        await asyncio.wait(
            {task, failing}, timeout=_ANSWER_WITHIN_SECONDS, return_when=asyncio.FIRST_COMPLETED
        )
        failing.cancel()
        if task.done():
            return task.result()
        self._open.add(task)
        task.add_done_callback(self._close)
        self._health.report(_UNRECORDED, f"{what} is in force, but not on record yet")
        return None

    async def _until_written(
        self, what: str, write: Callable[[], Awaitable[T]], failed: asyncio.Event
    ) -> T:
        while True:
            try:
                return await write()
            except StoreError as error:
                if not failed.is_set():
                    _log.warning("%s is in force, but not on record: %s", what, error)
                failed.set()
            await self._clock.sleep(_RETRY_SECONDS)

    def _close(self, task: asyncio.Task[Any]) -> None:
        self._open.discard(task)
        if not self._open:
            self._health.report(_UNRECORDED, None)
        if not task.cancelled() and task.exception() is not None:
            _log.error("a takeaway that is in force was not recorded: %s", task.exception())


@dataclass
class Pulled:
    """What one call has put on the brake page, to be taken back if the call is refused."""

    brake: Brake
    version: str | None = None
    release_id: str | None = None
    fresh: dict[int, int] = field(default_factory=dict)

    def ban(self, slots: Iterable[int], *, cut: bool) -> None:
        """Take versions out of traffic; a ban that is there already is only made stricter."""
        for slot in slots:
            banned = self.brake.banned(slot)
            if not banned or (cut and not self.brake.wants_cut(slot)):
                value = self.brake.ban(slot, cut=cut)
                if not banned:
                    self.fresh[slot] = value

    def end(self, release_id: str) -> None:
        """Let this release have no weight again."""
        self.brake.end(release_id)
        self.release_id = release_id

    def take(self, snapshot: Snapshot, *, cut: bool) -> None:
        """Brake the release that owns the split."""
        self.version = snapshot.release_version
        self.end(str(snapshot.release_id))
        self.ban(_slots(snapshot, snapshot.release_version), cut=cut)

    def take_back(self) -> None:
        """It was no takeaway after all; a ban that somebody else put on meanwhile stays."""
        for slot, value in self.fresh.items():
            self.brake.lift(slot, value)
        if self.release_id is not None:
            self.brake.reopen(self.release_id)


async def pull_for_release(
    plane: Plane, snapshot: Snapshot | None, asked: str, *, cut: bool
) -> Pulled:
    """Brake a release's version, from memory where that knows it, from the store otherwise."""
    pulled = Pulled(plane.brake)
    if snapshot is not None and _is_known(snapshot, asked):
        pulled.take(snapshot, cut=cut)
        return pulled
    try:
        async with _soon(), plane.read() as tx:
            release = await document.load(tx, asked)
            version = await versions.find(tx, release.version)
    except StoreError:
        if snapshot is None or asked not in (snapshot.release_id, snapshot.release_version):
            raise
        pulled.take(snapshot, cut=cut)
        return pulled
    pulled.version = release.version
    if release.state is State.PROMOTED and _is_stable(snapshot, release.version):
        pulled.ban(_slots(snapshot, release.version), cut=cut)
    elif not release.state.final:
        pulled.end(release.id)
        if version is not None and release.state in GUARDED:
            pulled.ban([version.brake_slot], cut=cut)
    return pulled


async def pull_for_rollback(plane: Plane, snapshot: Snapshot | None, wanted: Wanted) -> Pulled:
    """Brake the versions that lose their traffic; a gradual rollback brakes none.

    Of stable this worker's memory knows enough to begin with; what another one has just changed,
    and who `previous` is, the store knows better, where it can be read.
    """
    pulled = Pulled(plane.brake)
    if wanted.gradual is not None:
        return pulled
    if snapshot is not None and wanted.target == "stable" and wanted.config_id is None:
        _pull_leaving(pulled, snapshot, wanted)
    try:
        async with _soon():
            snapshot = await snapshots.load(plane)
    except StoreError:
        _log.warning("rolling back by what this worker knows: the store cannot be read")
    if snapshot is not None:
        _pull_leaving(pulled, snapshot, wanted)
    return pulled


def _pull_leaving(pulled: Pulled, snapshot: Snapshot, wanted: Wanted) -> None:
    target = snapshot.aliases.get(wanted.target, wanted.target)
    keep = {snapshot.stable.name, snapshot.aliases.get("previous")}
    if wanted.config_id is None:
        keep.add(target)
        if target == snapshot.aliases.get("previous"):
            keep.discard(snapshot.stable.name)
    names = [*snapshot.weights, snapshot.aliases.get("beta")]
    slots = [slot for name in names if name not in keep for slot in _slots(snapshot, name)]
    pulled.ban(slots, cut=not wanted.drain_seconds)


def unrecorded(
    snapshot: Snapshot | None, brake: Brake, weights: Mapping[str, float] | None = None
) -> list[str]:
    """The versions that the brake has taken out of a split that still names them.

    That is the one on record, or the one that this worker knows.
    """
    if snapshot is None:
        return []
    split = snapshot.weights if weights is None else weights
    names = [name for name, weight in split.items() if weight > 0]
    return [name for name in names if any(map(brake.banned, _slots(snapshot, name)))]


def is_braked(snapshot: Snapshot | None, brake: Brake, record: ReleaseRecord) -> bool:
    """Whether a release's version was taken out of traffic, which its record does not say yet."""
    if record.weight_percent > 0:
        return any(map(brake.banned, _slots(snapshot, record.version)))
    going_on = not record.state.final and record.state is not State.ROLLING_BACK
    return going_on and brake.ended(record.id)


def refuse_the_ended(plane: Plane, release_id: str) -> None:
    """Between an abort and its record no conductor gives the release weight again."""
    if plane.brake.ended(release_id):
        raise Refused(
            409, "release_changed", f"Release {release_id} was aborted; nothing raises it again"
        )


def not_recorded(pulled: Pulled) -> dict[str, Any]:
    """The answer while a takeaway is in force and its record has to wait."""
    return {
        "recorded": False,
        "version": pulled.version,
        "message": (
            f"Done: no new request is served by {pulled.version or 'the candidate'}. Not on record "
            "yet: the control store cannot be written; the record follows as soon as it can be."
        ),
    }


def _slots(snapshot: Snapshot | None, name: str | None) -> list[int]:
    """The slot to ban for a version; none for a stable one that nothing could stand in for."""
    version = None if snapshot is None else snapshot.versions.get(name or "")
    if (
        snapshot is None
        or version is None
        or (version is snapshot.stable and snapshot.previous is None)
    ):
        return []
    return [version.brake_slot]


@asynccontextmanager
async def _soon() -> AsyncIterator[None]:
    """A look at the store that a takeaway waits for; one that hangs is as good as none."""
    try:
        async with asyncio.timeout(_LOOK_WITHIN_SECONDS):
            yield
    except TimeoutError as error:
        raise StoreUnavailable(
            f"the control store did not answer within {_LOOK_WITHIN_SECONDS:g} s"
        ) from error


def _is_known(snapshot: Snapshot, asked: str) -> bool:
    """Whether memory alone says which release is meant: the one whose version has the traffic.

    A version's name means its newest release, and that is this one: a version has one release at
    a time, and as stable none.
    """
    version = snapshot.release_version
    has_traffic = snapshot.weights.get(version or "", 0) > 0
    return has_traffic and asked in (snapshot.release_id, version)


def _is_stable(snapshot: Snapshot | None, name: str) -> bool:
    return snapshot is not None and snapshot.stable.name == name
