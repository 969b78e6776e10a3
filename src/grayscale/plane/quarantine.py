"""A configuration barred by a person's word, and given back by one."""

from __future__ import annotations

from dataclasses import replace

from grayscale.errors import Refused
from grayscale.plane import configs, document, takeaway, versions
from grayscale.plane.actor import Actor
from grayscale.plane.configs import Config
from grayscale.plane.plane import Plane
from grayscale.plane.versions import StoredVersion
from grayscale.store.database import Tx


async def bar(plane: Plane, tx: Tx, name: str, *, actor: Actor, reason: str) -> StoredVersion:
    """Take a configuration out of traffic and bar it; again is the same as once.

    Raises Refused (409 `config_not_allowed`) for stable's and previous's.
    """
    config = await configs.current(tx)
    version = await versions.resolve(tx, config, name)
    if version.quarantined:
        return version
    await _take_away(plane, tx, config, version, actor=actor, reason=reason)
    barred = await versions.quarantine(
        tx, config, version.name, now=plane.clock.now(), actor=actor, reason=reason
    )
    if not barred:
        raise Refused(
            409,
            "config_not_allowed",
            f"Version '{version.name}' has the configuration of stable or previous, which is never "
            "quarantined; roll back first, or change the configuration",
        )
    return replace(version, quarantined=True)


async def lift(plane: Plane, tx: Tx, name: str, *, actor: Actor, reason: str) -> StoredVersion:
    """Let a configuration have traffic again; without a quarantine this changes nothing."""
    version = await versions.resolve(tx, await configs.current(tx), name)
    if version.quarantined:
        now = plane.clock.now()
        await versions.lift_quarantine(tx, version, now=now, actor=actor, reason=reason)
    return replace(version, quarantined=False)


async def _take_away(
    plane: Plane, tx: Tx, config: Config, version: StoredVersion, *, actor: Actor, reason: str
) -> None:
    why = f"'{version.name}' quarantined by {actor.name}: {reason}"
    release = await document.active(tx)
    if release is not None:
        candidate = await versions.find(tx, release.version)
        if candidate is not None and candidate.config_hash == version.config_hash:
            await takeaway.roll_back(
                plane, tx, release, actor=actor, reason=why, cause="quarantined"
            )
        return
    alike = {one.name for one in await versions.every(tx) if one.config_hash == version.config_hash}
    if alike & {config.stable, config.beta, *config.weights} - {config.stable}:
        aliases = {alias: named for alias, named in config.aliases.items() if alias != "beta"}
        after = replace(config, aliases=aliases)
        await takeaway.to_stable(plane, tx, after, actor=actor, reason=why)
