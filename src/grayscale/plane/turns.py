"""Whose turn it is: the oldest queued release that nothing bars, once none is under way."""

from __future__ import annotations

from datetime import timedelta

from grayscale.clock import from_rfc3339, rfc3339
from grayscale.errors import Refused
from grayscale.plane import configs, conflicts, document, events, versions
from grayscale.plane.document import Document
from grayscale.plane.plane import Plane
from grayscale.release.phases import State
from grayscale.store.database import Tx

_HOUR = timedelta(hours=1)


async def begin(plane: Plane, tx: Tx, release: Document) -> None:
    """From `queued` to `preparing`, on top of what the plan's base is now.

    Raises Refused (409 `release_in_progress`) while it is another one's turn, or none's.
    """
    running = await document.active(tx)
    first = running or await next_up(plane, tx)
    if first is not None and first.id != release.id:
        by = first.created_by.get("name", "somebody")
        raise Refused(
            409,
            "release_in_progress",
            f"Release {first.id} of {first.version}, begun by {by} at {first.created_at}, is "
            f"{first.state.value}; release {release.id} waits for it",
            extra={"release_id": first.id},
        )
    barred = await barred_until(plane, tx, release)
    if barred is not None:
        raise Refused(
            409, "release_in_progress", f"Release {release.id} waits, as nobody began it: {barred}"
        )
    base = await versions.resolve(tx, await configs.current(tx), release.plan.base_version)
    release.base_version = base.name
    release.move(State.PREPARING, reason=f"on top of {base.name}")
    await document.save(tx, release, now=plane.clock.now())


async def next_up(plane: Plane, tx: Tx) -> Document | None:
    """The queued release whose turn it is; one that is barred lets others pass."""
    for release in await document.in_states(tx, frozenset({State.QUEUED})):
        if await barred_until(plane, tx, release) is None:
            return release
    return None


async def barred_until(plane: Plane, tx: Tx, release: Document) -> str | None:
    """Why, and until when, cooldown or hourly limit bar a release; never a person's."""
    if release.trigger == "person":
        return None
    now = plane.clock.now()
    cooldown = timedelta(seconds=release.plan.rollback_cooldown_seconds)
    limit = release.plan.max_rollbacks_per_hour
    since = rfc3339(now - max(cooldown, _HOUR))
    told = await events.of_type(tx, "release.rolling_back", since=since)
    harm = [one for one in told if conflicts.is_harm(one["data"]["cause"])]
    times = [from_rfc3339(one["timestamp"]) for one in harm]
    if times and times[0] + cooldown > now:
        newest = harm[0]["data"]
        return (
            f"{newest['version']} was rolled back at {harm[0]['timestamp']} ({newest['reason']}), "
            f"the cooldown lasts until {rfc3339(times[0] + cooldown)}"
        )
    in_hour = [at for at in times if at + _HOUR > now]
    if len(in_hour) >= limit:
        over = rfc3339(in_hour[limit - 1] + _HOUR)
        return f"{len(in_hour)} rollbacks in an hour, the plan allows {limit}; until {over}"
    return None
