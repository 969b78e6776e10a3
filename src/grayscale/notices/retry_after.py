"""The Retry-After header, which is a number of seconds or a date."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def retry_after_seconds(value: str | None, *, now: datetime) -> float | None:
    """How long the receiver asks to be left alone; None if it did not say, or unreadably."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        return _until_date(value, now=now)
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _until_date(value: str, *, now: datetime) -> float | None:
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())
