"""The time limits of one upstream call: the version's own, else the relay's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from grayscale.settings import Limits
from grayscale.traffic.versions import Timeouts


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds until each of them; `transport` is what httpx transports read."""

    first_byte_seconds: float
    idle_seconds: float
    total_seconds: float
    transport: Mapping[str, float]


def deadlines_of(timeouts: Timeouts, limits: Limits) -> Deadlines:
    """The limits that hold for a version with `timeouts`."""
    connect_seconds = timeouts.connect_seconds or limits.connect_seconds
    first_byte_seconds = timeouts.first_byte_seconds or limits.first_byte_seconds
    idle_seconds = timeouts.idle_seconds or limits.idle_seconds
    longest = max(first_byte_seconds, idle_seconds)
    return Deadlines(
        first_byte_seconds=first_byte_seconds,
        idle_seconds=idle_seconds,
        total_seconds=timeouts.total_seconds or limits.total_seconds,
        transport={
            "connect": connect_seconds,
            "pool": limits.pool_wait_seconds + connect_seconds,
            "read": longest,  # the relay's own watch ends it earlier; this one holds without it
            "write": longest,
        },
    )
