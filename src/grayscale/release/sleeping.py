"""A conductor that waits needs no process: it sleeps, and a new run goes on when it is time.

Whether somebody sleeps, and whether it is time, is asked of the record again and again, and of no
event: so what happens while a conductor falls asleep, or a moment before, cannot be missed.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from grayscale.clock import rfc3339
from grayscale.release.decide import Sleep, Watch, decide
from grayscale.release.phases import State
from grayscale.release.record import ReleaseRecord

_SLEEPS_IN = frozenset({State.SOAKING, State.BAKING, State.HELD})


def is_asleep(record: ReleaseRecord) -> bool:
    """Whether the conductor sleeps; behind a gate's or a pause's form it waits for a person.

    A sleeper leaves its run behind, suspended: the handle by which people stop the release.
    """
    left = record.conductor.flow_run_id is None and record.waiting_run_id is not None
    return left and record.state in _SLEEPS_IN


def is_due(record: ReleaseRecord) -> bool:
    """Whether a release whose conductor sleeps needs one now: in time, or for what happened."""
    if record.state in _SLEEPS_IN and _seconds_left(record) <= 0:
        return True
    return not isinstance(decide(record), Sleep | Watch)


def asleep_until(record: ReleaseRecord, now: datetime) -> str | None:
    """When the next conductor is called if nothing happens; None if nobody sleeps."""
    if not is_asleep(record):
        return None
    return rfc3339(now + timedelta(seconds=max(_seconds_left(record), 0.0)))


def _seconds_left(record: ReleaseRecord) -> float:
    """Until the deadline: the leader counts the lease down, and the grace is its rest."""
    lease = record.conductor.lease_left_seconds or 0.0
    return lease - record.plan.lease.asleep_grace_seconds
