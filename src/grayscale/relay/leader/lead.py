"""Who leads: the one worker that holds the store's lease runs judge, guard, reconciler, outbox.

A worker that sees the leader's beat stand still for 5 s of its own monotonic clock takes over
with a higher fence; every transaction of a leader checks its fence first, so that one which was
stopped and goes on does nothing.
"""

from __future__ import annotations

from sqlalchemy import bindparam, select, update

from grayscale.errors import GrayscaleError, StoreUnavailable
from grayscale.plane.plane import Plane
from grayscale.store import schema
from grayscale.store.database import Tx

TAKE_OVER_AFTER_SECONDS = 5.0

_leader = schema.leader.c
_LEADER = select(schema.leader)
_WHO = select(_leader.holder, _leader.fence)
_PROOF = (
    update(schema.leader)
    .where(_leader.holder == bindparam("mine"), _leader.fence == bindparam("since"))
    .values(beat=_leader.beat + 1)
)


class LeadLost(GrayscaleError):
    """Another worker leads by now; nothing was done."""


class Lease:
    """This worker's view of who leads."""

    def __init__(self, plane: Plane, worker_id: str) -> None:
        self._plane = plane
        self._worker_id = worker_id
        self._fence: int | None = None
        self._seen: tuple[int, int] | None = None
        self._seen_at = 0.0

    def __repr__(self) -> str:
        return f"<Lease {self._worker_id} {'leads' if self.held else 'follows'}>"

    @property
    def held(self) -> bool:
        """Whether this worker believes that it leads; `beat` makes sure."""
        return self._fence is not None

    async def try_take(self) -> bool:
        """Take the lease if nobody holds it, or its holder stands still."""
        table = schema.leader
        async with self._plane.database.read() as tx:
            row = await tx.one(_LEADER)
        if row is None:
            return False
        seen = (int(row["fence"]), int(row["beat"]))
        now = self._plane.clock.monotonic()
        if seen != self._seen:
            self._seen, self._seen_at = seen, now
        stands_still = now - self._seen_at >= TAKE_OVER_AFTER_SECONDS
        if row["holder"] is not None and not stands_still:
            return False
        fence = seen[0] + 1
        async with self._plane.database.write() as tx:
            taken = await tx.run(
                update(table)
                .where(table.c.fence == seen[0], table.c.beat == seen[1])
                .values(holder=self._worker_id, fence=fence, beat=table.c.beat + 1)
            )
        self._fence = fence if taken else None
        return self.held

    async def beat(self, tx: Tx) -> bool:
        """Prove the lease inside a transaction; False if another worker leads by now."""
        if not await tx.run(_PROOF, mine=self._worker_id, since=self._fence):
            self._fence = None
        return self.held

    async def prove(self, tx: Tx) -> None:
        """Raises LeadLost inside a transaction of a leader that is none any more."""
        row = await tx.one(_WHO)
        if row is None or (row["holder"], row["fence"]) != (self._worker_id, self._fence):
            raise LeadLost("another worker leads by now")

    async def give_up(self) -> None:
        """Leave the lease to the others at once (a clean stop)."""
        if self._fence is None:
            return
        table = schema.leader
        async with self._plane.database.write() as tx:
            await tx.run(
                update(table)
                .where(table.c.holder == self._worker_id, table.c.fence == self._fence)
                .values(holder=None)
            )
        self._fence = None


def check_in_time(plane: Plane, *, since: float) -> None:
    """Raises StoreUnavailable in a leader that has stood still since then: another may lead."""
    if plane.clock.monotonic() - since >= TAKE_OVER_AFTER_SECONDS:
        raise StoreUnavailable("it took so long that what it saw is no longer true")


def ban_in_time(plane: Plane, slot: int, *, since: float, cut: bool = False) -> None:
    """Ban a version on the page by what was seen `since` then, and not later than another leads.

    No transaction takes the page back: so a leader that was stopped on its way here looks at its
    clock right before the write, and right after it. Raises as `check_in_time`.
    """
    banned = plane.brake.banned(slot)
    check_in_time(plane, since=since)
    value = plane.brake.ban(slot, cut=cut)
    try:
        check_in_time(plane, since=since)
    except StoreUnavailable:
        if not banned:
            plane.brake.lift(slot, value)
        raise
