"""Rollbacks asked for by people: to stable, previous, a version, or a config of the past."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from grayscale.clock import rfc3339
from grayscale.errors import Refused
from grayscale.plane import configs, document, people, takeaway, versions
from grayscale.plane.actor import Actor
from grayscale.plane.configs import Config
from grayscale.plane.plane import Plane
from grayscale.store.database import Tx


@dataclass(frozen=True, slots=True)
class Gradual:
    """Lower the weight by `step_size` percent every `step_delay_seconds`."""

    step_size: float
    step_delay_seconds: float


@dataclass(frozen=True, slots=True)
class Wanted:
    """A rollback as it was asked for."""

    target: str = "stable"
    config_id: str | None = None
    reason: str = "not given"
    drain_seconds: float = takeaway.DRAIN_SECONDS
    gradual: Gradual | None = None


async def roll_back(plane: Plane, tx: Tx, wanted: Wanted, *, actor: Actor) -> Config:
    """Carry out a rollback; raises Refused where the target may not have traffic."""
    config = await configs.current(tx)
    if wanted.config_id is not None:
        return await _to_config(plane, tx, config, wanted, actor)
    target = await versions.resolve(tx, config, wanted.target, what="Target version")
    if target.name != config.stable:
        await _check_promoted(target)
    release = await document.active(tx)
    leaving = [name for name, weight in config.weights.items() if name != target.name and weight]
    if release is None and not leaving and config.stable == target.name:
        raise _nothing(config, target.name)
    if wanted.gradual is not None and leaving:
        return await _gradually(plane, tx, config, wanted, gradual=wanted.gradual, actor=actor)
    if release is not None:
        reason = f"rolled back by {actor.name}: {wanted.reason}"
        return await takeaway.roll_back(
            plane, tx, release, actor=actor, reason=reason, cause="aborted",
            drain_seconds=wanted.drain_seconds, target=target.name,
        )  # fmt: skip
    aliases = {alias: name for alias, name in config.aliases.items() if alias != "beta"}
    return await takeaway.to_stable(
        plane, tx, replace(config, aliases=aliases), actor=actor, reason=wanted.reason,
        drain_seconds=wanted.drain_seconds, target=target.name,
    )  # fmt: skip


def parse_gradual(data: Mapping[str, Any]) -> Gradual:
    """The body's `gradual` object; raises Refused (422) naming the field."""
    values: dict[str, float] = {}
    for name, top in (("step_size", 100.0), ("step_delay_seconds", 86_400.0)):
        value = data.get(name)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not 0 < float(value or 0) <= top:
            raise Refused(
                422,
                "invalid_rollback",
                f"gradual.{name}: must be a number above 0 and at most {top:g} (got {value!r})",
                param=f"gradual.{name}",
            )
        values[name] = float(value or 0)
    return Gradual(**values)


async def abort_gradual(plane: Plane, tx: Tx, *, actor: Actor) -> None:
    """Stop a gradual rollback where it is: the weight is frozen, never raised."""
    latest = await takeaway.latest_rollback(tx)
    if latest is None or latest["state"] != "gradual":
        raise Refused(409, "nothing_to_roll_back", "No gradual rollback is under way")
    data = {**latest, "finished_at": rfc3339(plane.clock.now())}
    await takeaway.put_rollback(tx, latest["rollback_id"], state="aborted", data=data)
    release = await document.active(tx)
    if release is not None:
        await people.pause(
            plane, tx, release, actor=actor, at_stable=False, note="gradual rollback aborted"
        )


async def _to_config(plane: Plane, tx: Tx, config: Config, wanted: Wanted, actor: Actor) -> Config:
    past = await configs.find(tx, str(wanted.config_id))
    if past is None:
        raise Refused(
            404,
            "config_not_found",
            f"Config '{wanted.config_id}' does not exist; see GET /v1/admin/config/history",
            param="config_id",
        )
    for name in past.weights:
        version = await versions.resolve(tx, config, name)
        await _check_promoted(version)
    release = await document.active(tx)
    if release is not None:
        await takeaway.roll_back(
            plane, tx, release, actor=actor, reason=wanted.reason, cause="aborted"
        )
    for name in past.weights:
        await takeaway.let_in(plane, tx, name)
    after = replace(past, release_id=None, step=None, affected=None)
    after = await configs.put(tx, after, now=plane.clock.now(), actor=actor, reason=wanted.reason)
    await takeaway.open_switch(tx, config, after, drain_seconds=wanted.drain_seconds)
    return after


async def _gradually(
    plane: Plane, tx: Tx, config: Config, wanted: Wanted, *, gradual: Gradual, actor: Actor
) -> Config:
    release = await document.active(tx)
    if release is not None:
        await people.pause(
            plane, tx, release, actor=actor, at_stable=False, note="gradual rollback"
        )
    await takeaway.open_rollback(
        tx,
        {
            "from_config_id": config.config_id,
            "to_config_id": None,
            "leaving": [name for name in config.weights if name != config.stable],
            "drain_seconds": wanted.drain_seconds,
            "step_size": gradual.step_size,
            "step_delay_seconds": gradual.step_delay_seconds,
            "waited_seconds": gradual.step_delay_seconds,
            "release_id": release.id if release else None,
            "started_at": rfc3339(plane.clock.now()),
            "finished_at": None,
            "actor": actor.to_json(),
            "reason": wanted.reason,
            "recorded": True,
        },
        state="gradual",
    )
    return config


async def _check_promoted(version: versions.StoredVersion) -> None:
    if version.promoted_at is None or version.withdrawn or version.quarantined:
        why = (
            "was withdrawn" if version.withdrawn
            else "is quarantined" if version.quarantined
            else "was never promoted"
        )  # fmt: skip
        raise Refused(
            409,
            "config_not_allowed",
            f"That would give all traffic to version '{version.name}', which {why}",
            param="config_id",
        )


def _nothing(config: Config, target: str) -> Refused:
    previous = config.aliases.get("previous")
    hint = (
        f"to leave the promoted version, roll back to 'previous' ({previous})"
        if previous
        else "no version was stable before this one"
    )
    return Refused(
        409,
        "nothing_to_roll_back",
        f"Version '{target}' has all traffic already; {hint}",
        extra={"previous": previous, "config_id": config.previous_config_id},
    )
