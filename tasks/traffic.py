"""Giving the candidate its weight, and seeing that every worker does so."""

from __future__ import annotations

import asyncio
from typing import Any

from grayscale.release.record import ReleaseRecord
from tasks.house import relay, relay_task
from tasks.releases import act

VERIFY_SECONDS = 30.0
_LOOK_SECONDS = 0.25


def _set_title(parameters: dict[str, Any]) -> str:
    return f"set split {parameters['record'].steps[parameters['step']].weight_percent:g} %"


def _verify_title(parameters: dict[str, Any]) -> str:
    return f"verify split {parameters['record'].weight_percent:g} %"


@relay_task("set split", run_name=_set_title)
async def set_split(record: ReleaseRecord, *, step: int, fence: int, reason: str) -> ReleaseRecord:
    """Give the candidate the weight of a step."""
    return await act(record, "set_split", fence=fence, reason=reason, step=step)


@relay_task("verify split", run_name=_verify_title)
async def verify_split(record: ReleaseRecord, *, fence: int) -> ReleaseRecord:
    """Wait until every live worker runs the split; a laggard only stops the soak clock."""
    clock = asyncio.get_running_loop().time
    until = clock() + VERIFY_SECONDS
    async with relay() as control:
        while not _verified(record) and clock() < until:
            await asyncio.sleep(_LOOK_SECONDS)
            record = await control.renew(record.id, fence=fence)
    return record


def _verified(record: ReleaseRecord) -> bool:
    return record.state.final or record.workers.applied >= record.workers.total
