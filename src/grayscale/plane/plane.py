"""The control plane's door: every change goes through `Plane.write`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from grayscale.clock import Clock
from grayscale.settings import Settings
from grayscale.store.database import Database, Tx


class Brake(Protocol):
    """The page on which a version is banned without asking the store (grayscale.relay.brake)."""

    def ban(self, slot: int, *, cut: bool = False) -> int:
        """Ban a version's slot in every worker at once (`cut`: its running requests too)."""
        ...

    def value(self, slot: int) -> int:
        """The ban on a slot; 0 without one."""
        ...

    def banned(self, slot: int) -> bool:
        """Whether the slot is banned."""
        ...

    def lift(self, slot: int, value: int) -> bool:
        """Lift this very ban; only ever by a store transaction that says so."""
        ...

    def wants_cut(self, slot: int) -> bool:
        """Whether the ban also ends the version's running requests."""
        ...

    def end(self, release_id: str) -> None:
        """Let this release have no weight again, before the store knows that it was aborted."""
        ...

    def ended(self, release_id: str) -> bool:
        """Whether the release was aborted, whatever the store says of it."""
        ...

    def reopen(self, release_id: str) -> None:
        """Take back an `end` that was refused."""
        ...

    def announce(self, seq: int) -> None:
        """Tell every worker of this machine that there is a newer state."""
        ...


@dataclass(frozen=True, slots=True)
class Plane:
    """What the control plane works with.

    `permit` is asked first in every transaction, and ends it by raising: the leader's fence.
    """

    database: Database
    brake: Brake
    clock: Clock
    settings: Settings
    permit: Callable[[Tx], Awaitable[None]] | None = None

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Tx]:
        """A consistent look at the store."""
        async with self.database.read() as tx:
            await self._ask(tx)
            yield tx

    @asynccontextmanager
    async def write(self) -> AsyncIterator[Tx]:
        """One transaction; after it every worker hears that there is something new."""
        async with self.database.write() as tx:
            await self._ask(tx)
            yield tx
        if tx.bumped is not None:
            self.brake.announce(tx.bumped)

    async def _ask(self, tx: Tx) -> None:
        if self.permit is not None:
            await self.permit(tx)

    @property
    def upstreams(self) -> frozenset[str]:
        """The names that a version may use."""
        return frozenset(self.settings.upstreams)
