"""Watching a release while nothing is to be decided, with the lease kept alive."""

from __future__ import annotations

import asyncio
from typing import Any

from grayscale.release.decide import Watch, decide
from grayscale.release.phases import State
from grayscale.release.record import ReleaseRecord
from tasks.house import relay, relay_task

# Long soaks are several task runs, so that each has its own retries.
LONGEST_LOOK_SECONDS = 600.0


def soak_title(record: ReleaseRecord) -> str:
    """What the wait is called in Prefect's list."""
    weight = f"{record.weight_percent:g} %"
    match record.state:
        case State.SOAKING:
            return f"soak at {weight}"
        case State.BAKING:
            return f"bake at {weight}"
        case State.HELD:
            return f"hold at {weight}"
        case State.ROLLING_BACK:
            return "roll back"
        case _:
            return f"wait while {record.state.value.replace('_', ' ')}"


def _title(parameters: dict[str, Any]) -> str:
    return soak_title(parameters["record"])


@relay_task("soak", run_name=_title)
async def soak(record: ReleaseRecord, *, fence: int) -> ReleaseRecord:
    """Keep the lease until something is to be decided; returns the record to decide on."""
    pause_seconds = look_seconds(record)
    clock = asyncio.get_running_loop().time
    until = clock() + LONGEST_LOOK_SECONDS
    began_in = record.state
    async with relay() as control:
        while True:
            record = await control.renew(record.id, fence=fence)
            over = record.state is not began_in or clock() > until
            if over or not isinstance(decide(record), Watch):
                return record
            await asyncio.sleep(pause_seconds)


def look_seconds(record: ReleaseRecord) -> float:
    """How often to look: half a judge's interval, but every 0.5 to 5 s."""
    return min(max(record.plan.judge.interval_seconds / 2, 0.5), 5.0)
