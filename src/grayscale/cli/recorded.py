"""Everything that is on record of a release, page by page."""

from __future__ import annotations

from typing import Any

from grayscale.cli.relay_client import find_release
from grayscale.control import Control
from grayscale.story import History, history_of

_PAGE = 500


async def read_history(control: Control, name: str) -> History:
    """The record, the events and the intervals of a release by id or version name."""
    record = await find_release(control, name)
    intervals = await _intervals(control, record.id)
    return history_of(record, await _events(control, record.id), intervals)


async def _events(control: Control, release_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while True:
        after = found[-1]["id"] if found else None
        page = await control.release_events(release_id, after=after, limit=_PAGE)
        found += page["data"]
        if not page["has_more"]:
            return found


async def _intervals(control: Control, release_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while True:
        after = found[-1]["id"] if found else None
        page = await control.release_intervals(release_id, after=after, limit=_PAGE)
        found += page["data"]
        if not page["has_more"]:
            return found
