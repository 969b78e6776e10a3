"""Taking traffic away from a candidate: always allowed, always wins, never needs a fence.

The brake is written first and needs no store; the store then says the same, for good.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import insert, select, update

from grayscale.plane import configs, document, events, versions
from grayscale.plane.actor import Actor
from grayscale.plane.configs import Config
from grayscale.plane.document import Document
from grayscale.plane.ids import new_id
from grayscale.plane.plane import Plane
from grayscale.release.phases import GUARDED, State
from grayscale.store import schema
from grayscale.store.database import Tx

DRAIN_SECONDS = 600.0
"""How long a candidate's running requests may take to finish; 0 cuts them at once."""

BREAKER = Actor("breaker", via="relay")

_QUARANTINE = frozenset({"candidate"})
_LATEST = select(schema.rollbacks).order_by(schema.rollbacks.c.seq.desc()).limit(1)


async def roll_back(
    plane: Plane,
    tx: Tx,
    release: Document,
    *,
    actor: Actor,
    reason: str,
    cause: str,
    ending: State = State.ROLLED_BACK,
    drain_seconds: float = DRAIN_SECONDS,
    target: str | None = None,
) -> Config:
    """Stable gets all traffic and the release goes to its end; again is the same as once."""
    config = await configs.current(tx)
    if release.state is State.ROLLING_BACK or release.state.final:
        return config
    if release.state is State.QUEUED:
        release.move(ending, reason=reason, cause=cause)
        await document.save(tx, release, now=plane.clock.now())
        await document.tell(plane, tx, release, f"release.{ending.value}", actor=actor)
        return config
    release.ending = ending
    release.move(State.ROLLING_BACK, reason=reason, cause=cause)
    if cause in _QUARANTINE:
        await versions.quarantine(
            tx, config, release.version, now=plane.clock.now(), actor=actor, reason=reason
        )
    aliases = {key: name for key, name in config.aliases.items() if key != "beta"}
    config = await to_stable(
        plane, tx, replace(config, aliases=aliases), actor=actor, reason=reason,
        drain_seconds=drain_seconds, target=target,
    )  # fmt: skip
    release.config_id, release.state_seq = config.config_id, config.state_seq
    await document.save(tx, release, now=plane.clock.now())
    await document.tell(plane, tx, release, "release.rolling_back", actor=actor)
    return config


async def trip(plane: Plane, tx: Tx, name: str, *, reason: str) -> bool:
    """The breaker has banned a version: say so, and end what gave it traffic; once is enough."""
    release = await document.active(tx)
    if release is None or release.version != name:
        return await _trip_by_hand(plane, tx, name, reason=reason)
    if release.state not in GUARDED:
        return False
    await document.tell(
        plane, tx, release, "breaker.tripped", actor=BREAKER, reason=reason, channels=()
    )
    await roll_back(plane, tx, release, actor=BREAKER, reason=reason, cause="candidate")
    return True


async def _trip_by_hand(plane: Plane, tx: Tx, name: str, *, reason: str) -> bool:
    config = await configs.current(tx)
    weight = config.weights.get(name, 0.0)
    if name == config.stable or weight <= 0:
        return False
    await events.append(
        tx,
        event_type="breaker.tripped",
        now=plane.clock.now(),
        actor=BREAKER,
        data={
            "version": name,
            "weight_percent": weight,
            "config_id": config.config_id,
            "reason": reason,
        },
    )
    aliases = {
        alias: named for alias, named in config.aliases.items() if (alias, named) != ("beta", name)
    }
    await to_stable(plane, tx, replace(config, aliases=aliases), actor=BREAKER, reason=reason)
    await versions.quarantine(tx, config, name, now=plane.clock.now(), actor=BREAKER, reason=reason)
    return True


async def to_stable(
    plane: Plane,
    tx: Tx,
    config: Config,
    *,
    actor: Actor,
    reason: str,
    drain_seconds: float = DRAIN_SECONDS,
    target: str | None = None,
) -> Config:
    """Put all traffic on stable (or make `target` stable), and open a rollback record."""
    aliases = dict(config.aliases)
    if target is not None and target != aliases["stable"]:
        await let_in(plane, tx, target)
        aliases["stable"] = target
        if aliases.get("previous") == target:
            del aliases["previous"]
    after = replace(
        config,
        aliases=aliases,
        weights={aliases["stable"]: 100.0},
        step=None,
        affected=None,
        salt="",
    )
    before = await configs.current(tx)
    after = await configs.put(tx, after, now=plane.clock.now(), actor=actor, reason=reason)
    await open_switch(tx, before, after, drain_seconds=drain_seconds)
    return after


async def let_in(plane: Plane, tx: Tx, name: str) -> None:
    """Lift the ban of a version that this transaction makes stable again."""
    version = await versions.find(tx, name)
    if version is not None:
        plane.brake.lift(version.brake_slot, plane.brake.value(version.brake_slot))


async def open_switch(tx: Tx, before: Config, after: Config, *, drain_seconds: float) -> None:
    """Open the record of a rollback that switches at once."""
    leaving = [name for name in before.weights if name not in after.weights]
    data = {
        "from_config_id": before.config_id,
        "to_config_id": after.config_id,
        "leaving": leaving,
        "drain_seconds": drain_seconds,
        "started_at": after.created_at,
        "finished_at": None,
        "actor": after.actor,
        "reason": after.reason,
        "recorded": True,
    }
    await open_rollback(tx, data, state="switching")


async def open_rollback(tx: Tx, data: dict[str, Any], *, state: str) -> str:
    """Write a rollback record; whatever rollback was still running is over."""
    table = schema.rollbacks
    running = table.c.state.in_(["switching", "draining", "gradual"])
    await tx.run(update(table).where(running).values(state="completed"))
    rollback_id = new_id("rb")
    await tx.run(insert(table).values(rollback_id=rollback_id, state=state, document=data))
    return rollback_id


async def latest_rollback(tx: Tx) -> dict[str, Any] | None:
    """The newest rollback: its document with `rollback_id` and `state`."""
    row = await tx.one(_LATEST)
    if row is None:
        return None
    return {**row["document"], "rollback_id": row["rollback_id"], "state": row["state"]}


async def put_rollback(tx: Tx, rollback_id: str, *, state: str, data: dict[str, Any]) -> None:
    """Change a rollback record."""
    table = schema.rollbacks
    kept = {key: value for key, value in data.items() if key not in ("rollback_id", "state")}
    statement = update(table).where(table.c.rollback_id == rollback_id)
    await tx.run(statement.values(state=state, document=kept))


async def lower(
    plane: Plane,
    tx: Tx,
    config: Config,
    weights: dict[str, float],
    *,
    actor: Actor,
    reason: str,
) -> Config:
    """Give versions other than stable these lower weights; stable takes the rest."""
    rest = 100.0 - sum(weights.values())
    after = replace(config, weights={config.stable: rest, **weights})
    after = await configs.put(tx, after, now=plane.clock.now(), actor=actor, reason=reason)
    release = await document.active(tx)
    if release is not None:
        release.config_id, release.state_seq = after.config_id, after.state_seq
        await document.save(tx, release, now=plane.clock.now())
    return after


async def end_gradual(plane: Plane, tx: Tx, config: Config, *, actor: Actor, reason: str) -> None:
    """The last step of a gradual rollback: everything is on stable, for good."""
    release = await document.active(tx)
    if release is not None:
        await roll_back(plane, tx, release, actor=actor, reason=reason, cause="aborted")
        return
    aliases = {key: name for key, name in config.aliases.items() if key != "beta"}
    await to_stable(plane, tx, replace(config, aliases=aliases), actor=actor, reason=reason)
