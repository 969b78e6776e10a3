"""Takeaways that are in force on the brake page and on nobody's list: their worker died.

The leader writes them down at its second look: between the two their worker may do so itself, and
say whose word it was.
"""

from __future__ import annotations

from dataclasses import replace

from grayscale.plane import configs, document, takeaway, versions
from grayscale.plane.actor import RELAY
from grayscale.plane.configs import Config
from grayscale.plane.document import Document
from grayscale.plane.plane import Plane
from grayscale.release.phases import GUARDED
from grayscale.store.database import Tx

REASON = "the brake was pulled, and whoever did so could not write it down"


class LeftOvers:
    """The page's takeaways, read back by the leader."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self.seen: dict[str, int] = {}

    async def of_release(self, tx: Tx, release: Document) -> bool:
        """Whether a release is braked; if it was at the last look too, it is rolled back."""
        ban = int(self._plane.brake.ended(release.id))
        if not ban and release.state in GUARDED:
            ban = await self._ban_on(tx, release.version)
        if self._again(release.id, ban):
            await takeaway.roll_back(
                self._plane, tx, release, actor=RELAY, reason=REASON, cause="aborted"
            )
        return ban != 0

    async def of_split(self, tx: Tx) -> None:
        """What was taken out of a split by hand, or after its promotion."""
        config = await configs.current(tx)
        release = await document.active(tx)
        previous = config.aliases.get("previous")
        if previous is not None and not await self._ban_on(tx, previous):
            ban = await self._ban_on(tx, config.stable)
            if self._again("stable", ban):
                await self._put(tx, config, release, target=previous)
                return
        if release is None:
            others = [name for name in config.weights if name != config.stable]
            bans = [await self._ban_on(tx, name) for name in others]
            if self._again("split", max(bans, default=0)):
                await self._put(tx, config, None, target=None)

    async def _put(
        self, tx: Tx, config: Config, release: Document | None, *, target: str | None
    ) -> None:
        if release is not None:
            await takeaway.roll_back(
                self._plane, tx, release, actor=RELAY, reason=REASON, cause="aborted",
                target=target,
            )  # fmt: skip
            return
        aliases = {alias: name for alias, name in config.aliases.items() if alias != "beta"}
        config = replace(config, aliases=aliases)
        await takeaway.to_stable(self._plane, tx, config, actor=RELAY, reason=REASON, target=target)

    async def _ban_on(self, tx: Tx, name: str) -> int:
        slot = await versions.slot_of(tx, name)
        return 0 if slot is None else self._plane.brake.value(slot)

    def _again(self, what: str, ban: int) -> bool:
        """Whether the last look saw this very ban."""
        before, self.seen[what] = self.seen.get(what, 0), ban
        return ban != 0 and before == ban
