"""The outbox's loop: sends what is due, in order, again and again until it has arrived."""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any, Protocol

from grayscale.clock import Clock
from grayscale.errors import StoreError
from grayscale.notices.seam import NoticeError, Notifier
from grayscale.notices.wording import notice_of

_LOG = logging.getLogger(__name__)
_FIRST_DELAY_SECONDS = 1.0
_LONGEST_DELAY_SECONDS = 300.0
LONGEST_WAIT_SECONDS = 3600.0
"""However long a receiver asks us to stay away."""

_JITTER = 0.2
_GIVE_UP_SECONDS = 24 * 3600.0
# A relay that was off for a day must not give up on what it found when it came back.
_TRIES_AT_LEAST = 10


@dataclass(frozen=True, slots=True)
class OutboxItem:
    """One event for one channel; `attempts` counts the failed ones.

    `channel_hint` is a place within the channel, such as a plan's Slack channel.
    """

    id: str
    channel: str
    envelope: dict[str, Any]
    attempts: int
    first_due_at: datetime
    channel_hint: str | None = None

    @property
    def line(self) -> tuple[str, str]:
        """The queue that the item stands in: a release's events reach a channel in order."""
        data = self.envelope.get("data")
        release_id = data.get("release_id") if isinstance(data, dict) else None
        return str(release_id or self.envelope.get("id")), self.channel


class Outbox(Protocol):
    """Where undelivered notices are kept."""

    async def due(self, *, limit: int) -> list[OutboxItem]:
        """What is to be sent now, oldest first.

        An item is not due while an earlier one of the same release and channel waits for its next
        try: otherwise people would read the end of a story before its beginning.
        """
        ...

    async def delivered(self, *, item_id: str) -> None:
        """The item has arrived."""
        ...

    async def failed(self, *, item_id: str, error: str, retry_in_seconds: float | None) -> None:
        """One more failed attempt; due again after that time, or never (None: given up)."""
        ...


class Delivery:
    """Sends due items: lines side by side, each line in order, at most so many per channel."""

    def __init__(
        self,
        outbox: Outbox,
        notifiers: dict[str, Notifier],
        clock: Clock,
        *,
        send_timeout_seconds: float = 20.0,
        run_seconds: float = 20.0,
        batch: int = 100,
        at_once_per_channel: int = 4,
        jitter: random.Random | None = None,
    ) -> None:
        self._outbox = outbox
        self._notifiers = notifiers
        self._clock = clock
        self._send_timeout_seconds = send_timeout_seconds
        self._run_seconds = run_seconds
        self._batch = batch
        self._at_once_per_channel = at_once_per_channel
        self._jitter = jitter or random.Random()  # noqa: S311 (spreads retries, guards nothing)

    async def run_once(self) -> int:
        """Send what is due now; returns how many arrived.

        Ends after `run_seconds` plus one time-out, however slow the receivers are: what was not
        begun by then stays due.
        """
        items = await self._outbox.due(limit=self._batch)
        ends_at = self._clock.monotonic() + self._run_seconds
        doors = {item.channel: asyncio.Semaphore(self._at_once_per_channel) for item in items}
        in_line = sorted(items, key=lambda item: item.line)  # stable: order within a line is kept
        async with asyncio.TaskGroup() as group:
            lines = [
                group.create_task(self._send_line(list(line), doors[channel], ends_at))
                for (_, channel), line in groupby(in_line, key=lambda item: item.line)
            ]
        return sum(line.result() for line in lines)

    async def _send_line(
        self, line: list[OutboxItem], door: asyncio.Semaphore, ends_at: float
    ) -> int:
        arrived = 0
        for item in line:
            async with door:
                if self._clock.monotonic() >= ends_at:
                    break
                try:
                    succeeded, goes_on = await self._settle(item)
                except StoreError as error:
                    # It may have arrived and will be sent again, under the same id. The other
                    # lines are let finish; the store's own trouble shows in the next `due`.
                    _LOG.warning("notice %s: the outbox was not updated: %s", item.id, error)
                    break
            arrived += succeeded
            if not goes_on:
                break
        return arrived

    async def _settle(self, item: OutboxItem) -> tuple[bool, bool]:
        """Send one item and write down how it went; (arrived, the next in line may follow)."""
        error = await self._send(item)
        if error is None:
            await self._outbox.delivered(item_id=item.id)
            return True, True
        retry_in_seconds = self._retry_in_seconds(item, error)
        await self._outbox.failed(
            item_id=item.id, error=str(error), retry_in_seconds=retry_in_seconds
        )
        # One that is given up holds nobody back any more.
        return False, retry_in_seconds is None

    async def _send(self, item: OutboxItem) -> NoticeError | None:
        notifier = self._notifiers.get(item.channel)
        if notifier is None:
            known = ", ".join(sorted(self._notifiers)) or "none"
            return NoticeError(
                f"channel '{item.channel}' is not set up (there: {known}); "
                f"add notifications.{item.channel} to grayscale.yaml",
                permanent=True,
            )
        try:
            notice = notice_of(item.envelope, channel_hint=item.channel_hint)
            async with asyncio.timeout(self._send_timeout_seconds):
                await notifier.send(notice=notice)
        except NoticeError as error:
            return error
        except TimeoutError:
            return NoticeError(f"no answer within {self._send_timeout_seconds:g} s")
        except Exception as error:  # noqa: BLE001 (an outermost loop: a broken channel must not end the others)
            _LOG.exception("channel %s failed in an unforeseen way", item.channel)
            return NoticeError(f"{type(error).__name__}: {error}")
        return None

    def _retry_in_seconds(self, item: OutboxItem, error: NoticeError) -> float | None:
        if error.permanent:
            return None
        delay = min(_FIRST_DELAY_SECONDS * 2.0 ** min(item.attempts, 16), _LONGEST_DELAY_SECONDS)
        delay *= self._jitter.uniform(1 - _JITTER, 1 + _JITTER)
        asked = min(error.retry_after_seconds or 0.0, LONGEST_WAIT_SECONDS)
        waited = (self._clock.now() - item.first_due_at).total_seconds()
        if waited >= _GIVE_UP_SECONDS and item.attempts + 1 >= _TRIES_AT_LEAST:
            return None
        return max(delay, asked)
