"""The seam between the outbox and the channels that people read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from grayscale.errors import GrayscaleError


class NoticeError(GrayscaleError):
    """A notice could not be delivered.

    `permanent` means that trying again cannot help; `retry_after_seconds` is what the receiver
    asked for, if it did.
    """

    def __init__(
        self,
        message: str,
        *,
        retry_after_seconds: float | None = None,
        permanent: bool = False,
    ) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds
        self.permanent = permanent


@dataclass(frozen=True, slots=True)
class Notice:
    """An event in words; `envelope` is the event itself, in the shape that API.md gives.

    `channel_hint` is where within the channel to put it, such as a plan's Slack channel.
    """

    event_id: str
    type: str
    timestamp: datetime
    subject: str
    text: str
    envelope: dict[str, Any]
    channel_hint: str | None = None


class Notifier(Protocol):
    """One channel."""

    async def send(self, *, notice: Notice) -> None:
        """Hand the notice over, or raise NoticeError.

        May be called again with the same notice: the receiver can tell by `event_id`.
        """
        ...
