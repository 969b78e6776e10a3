"""Splits made by hand: any, without a release; only downward, with one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from grayscale.errors import Refused
from grayscale.plane import configs, document, people, takeaway, versions
from grayscale.plane.actor import Actor
from grayscale.plane.configs import Config
from grayscale.plane.plane import Plane
from grayscale.store.database import Tx
from grayscale.traffic.versions import affected_models


async def set_by_hand(
    plane: Plane, tx: Tx, split: Mapping[str, float], *, actor: Actor, reason: str
) -> Config:
    """Put a split into force; keys are aliases or names, weights add up to 100."""
    config = await configs.current(tx)
    weights = await _by_name(tx, config, split)
    release = await document.active(tx)
    if release is not None:
        return await _during_release(plane, tx, config, weights, actor=actor, reason=reason)
    for name, weight in weights.items():
        await _check_allowed(plane, tx, name, weight)
    return await configs.put(
        tx,
        replace(
            config,
            weights=weights,
            release_id=None,
            step=None,
            salt=config.salt or config.config_id,
            affected=await _affected(tx, config, weights),
        ),
        now=plane.clock.now(),
        actor=actor,
        reason=reason,
    )


async def _by_name(tx: Tx, config: Config, split: Mapping[str, float]) -> dict[str, float]:
    weights: dict[str, float] = {}
    for key, weight in split.items():
        version = await versions.resolve(tx, config, key)
        weights[version.name] = weights.get(version.name, 0.0) + weight
    return weights


async def _check_allowed(plane: Plane, tx: Tx, name: str, weight: float) -> None:
    version = await versions.find(tx, name)
    if version is None or weight <= 0:
        return
    if version.withdrawn:
        raise Refused(409, "version_withdrawn", f"Version '{name}' was withdrawn")
    if version.quarantined:
        raise await versions.barred(tx, name, version.config_hash, param="traffic_split")
    plane.brake.lift(version.brake_slot, plane.brake.value(version.brake_slot))


async def _affected(tx: Tx, config: Config, weights: Mapping[str, float]) -> tuple[str, ...] | None:
    others = [name for name, weight in weights.items() if weight > 0 and name != config.stable]
    stable = await versions.find(tx, config.stable)
    if len(others) != 1 or stable is None:
        return None
    other = await versions.find(tx, others[0])
    return None if other is None else tuple(sorted(affected_models(stable.config, other.config)))


async def _during_release(
    plane: Plane,
    tx: Tx,
    config: Config,
    weights: Mapping[str, float],
    *,
    actor: Actor,
    reason: str,
) -> Config:
    release = await document.active(tx)
    if release is None:
        raise Refused(409, "release_changed", "The release has just ended; try again")
    now_percent = config.weights.get(release.version, 0.0)
    asked = weights.get(release.version, 0.0)
    others = set(weights) - {release.version, config.stable}
    if asked > now_percent or any(weights[name] > 0 for name in others):
        raise Refused(
            409,
            "release_in_progress",
            f"Release {release.id} of {release.version} is {release.state.value} at "
            f"{now_percent:g} %; by hand its weight can only be lowered (abort it first)",
            param="traffic_split",
            extra={"release_id": release.id},
        )
    if asked == 0:
        return await takeaway.roll_back(
            plane, tx, release, actor=actor, reason=reason, cause="aborted"
        )
    if asked < now_percent:
        await people.pause(plane, tx, release, actor=actor, at_stable=False, note=reason)
        config = await configs.put(
            tx, replace(config, weights=dict(weights)), now=plane.clock.now(), actor=actor,
            reason=reason,
        )  # fmt: skip
        release.config_id, release.state_seq = config.config_id, config.state_seq
        await document.save(tx, release, now=plane.clock.now())
    return config
