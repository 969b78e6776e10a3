"""Trips of the breaker whose worker could not write them down: its store was away, or it died."""

from __future__ import annotations

from grayscale.plane import takeaway, versions
from grayscale.plane.plane import Plane
from grayscale.relay.brake import is_trip
from grayscale.store.database import Tx

REASON = (
    "breaker: the candidate's requests failed one after the other, and the worker that saw it "
    "could not say how many"
)


class LeftOverTrips:
    """The breaker's bans on the brake page, read back by the leader."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self.seen: dict[str, int] = {}

    async def look(self, tx: Tx, name: str) -> bool:
        """Whether the breaker has banned this version; at the second look it is written down.

        Between the two its worker may do so itself, and say more.
        """
        slot = await versions.slot_of(tx, name)
        ban = 0 if slot is None else self._plane.brake.value(slot)
        if not is_trip(ban):
            return False
        if self.seen.get(name) == ban:
            await takeaway.trip(self._plane, tx, name, reason=REASON)
        self.seen[name] = ban
        return True
