"""An outbox in memory, and channels that do as they are told."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from grayscale.notices.delivery import OutboxItem
from grayscale.notices.seam import Notice
from grayscale.testing.clock import FakeClock
from tests.notices.samples import envelope


@dataclass
class Row:
    """An item and how it stands: `pending`, `sent` or `dead`."""

    item: OutboxItem
    next_at: datetime
    state: str = "pending"
    errors: list[str] = field(default_factory=list)
    delays: list[float | None] = field(default_factory=list)


class MemoryOutbox:
    """Keeps rows in order of writing, by the rules of the `Outbox` protocol."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.rows: dict[str, Row] = {}

    def put(self, channel: str = "slack", *, release: str | None = "rel_01", **changes: Any) -> Row:
        """Write one more event for a channel."""
        number = len(self.rows) + 1
        item = OutboxItem(
            id=str(number),
            channel=channel,
            envelope=envelope(event_id=f"evt_{number}", release_id=release),
            attempts=0,
            first_due_at=self._clock.now(),
        )
        row = Row(replace(item, **changes), next_at=self._clock.now())
        self.rows[row.item.id] = row
        return row

    async def due(self, *, limit: int) -> list[OutboxItem]:
        """Pending items whose time has come, none behind one that waits."""
        now, waiting, found = self._clock.now(), set(), []
        for row in self.rows.values():
            if row.state != "pending" or row.item.line in waiting:
                continue
            if row.next_at > now:
                waiting.add(row.item.line)
            else:
                found.append(row.item)
        return found[:limit]

    async def delivered(self, *, item_id: str) -> None:
        """The item has arrived."""
        self.rows[item_id].state = "sent"

    async def failed(self, *, item_id: str, error: str, retry_in_seconds: float | None) -> None:
        """Due again later, or dead."""
        row = self.rows[item_id]
        row.errors.append(error)
        row.delays.append(retry_in_seconds)
        row.item = replace(row.item, attempts=row.item.attempts + 1)
        if retry_in_seconds is None:
            row.state = "dead"
        else:
            row.next_at = self._clock.now() + timedelta(seconds=retry_in_seconds)

    @property
    def states(self) -> list[str]:
        """How the rows stand, in order."""
        return [row.state for row in self.rows.values()]

    def seconds_to_next(self) -> float | None:
        """Until the next head of a line is due, 0 if one is; None if nothing is pending."""
        heads: dict[tuple[str, str], datetime] = {}
        for row in self.rows.values():
            if row.state == "pending":
                heads.setdefault(row.item.line, row.next_at)
        if not heads:
            return None
        return max(0.0, (min(heads.values()) - self._clock.now()).total_seconds())


class Channel:
    """A notifier that asks a function what to do, and remembers what arrived."""

    def __init__(self, answer: Callable[[Notice], Awaitable[None]] | None = None) -> None:
        self.answer = answer
        self.arrived: list[str] = []
        self.tries: dict[str, int] = defaultdict(int)
        self.at_once = 0
        self.most_at_once = 0

    async def send(self, *, notice: Notice) -> None:
        """Do as told."""
        self.tries[notice.event_id] += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(0)
            if self.answer is not None:
                await self.answer(notice)
        finally:
            self.at_once -= 1
        self.arrived.append(notice.event_id)
