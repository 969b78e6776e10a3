"""Configs: every change of split or aliases is a new row; this is the one writer of splits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.engine import RowMapping

from grayscale.clock import rfc3339
from grayscale.errors import Refused, StoreLost
from grayscale.plane import events
from grayscale.plane.actor import Actor
from grayscale.plane.ids import new_id
from grayscale.store import schema
from grayscale.store.database import Tx

_NEWEST = select(schema.configs).order_by(schema.configs.c.seq.desc()).limit(1)
_NEWEST_ID = _NEWEST.with_only_columns(schema.configs.c.config_id)
_PUT = insert(schema.configs)


@dataclass(frozen=True, slots=True)
class Config:
    """One split with its aliases, as it was put into force."""

    config_id: str
    weights: Mapping[str, float]
    aliases: Mapping[str, str]
    state_seq: int = 0
    seq: int = 0
    previous_config_id: str | None = None
    release_id: str | None = None
    step: int | None = None
    salt: str = ""
    affected: tuple[str, ...] | None = None
    sticky_by: str = "auto"
    failover_percent: int = 20
    created_at: str = ""
    actor: Mapping[str, Any] | None = None
    reason: str = ""

    @property
    def stable(self) -> str:
        """The name of the version that owns the traffic."""
        return self.aliases["stable"]

    @property
    def beta(self) -> str | None:
        """The name of the candidate, if there is one."""
        return self.aliases.get("beta")

    def aliases_of(self, name: str) -> list[str]:
        """The aliases that a version has."""
        return [alias for alias, target in self.aliases.items() if target == name]

    def by_alias(self) -> dict[str, float]:
        """The split under aliases where there are some: how `traffic_split` is shown."""
        return {(self.aliases_of(name) or [name])[0]: w for name, w in self.weights.items()}

    def view(self) -> dict[str, Any]:
        """As in `GET /admin/config/history`."""
        return {
            "config_id": self.config_id,
            "previous_config_id": self.previous_config_id,
            "traffic_split": self.by_alias(),
            "weights": dict(self.weights),
            "aliases": dict(self.aliases),
            "release_id": self.release_id,
            "created_at": self.created_at,
            "actor": self.actor,
            "reason": self.reason,
        }


async def current(tx: Tx) -> Config:
    """The config in force."""
    row = await tx.one(_NEWEST)
    if row is None:
        raise StoreLost("the control store holds no config; it was never set up")
    return _from_row(row)


async def current_id(tx: Tx) -> str | None:
    """The id of the config in force; None before the first one."""
    row = await tx.one(_NEWEST_ID)
    return str(row["config_id"]) if row else None


async def find(tx: Tx, config_id: str) -> Config | None:
    """A config of the past, or None."""
    row = await tx.one(select(schema.configs).where(schema.configs.c.config_id == config_id))
    return _from_row(row) if row else None


async def history(tx: Tx, *, before: int | None, limit: int) -> list[Config]:
    """Configs, newest first; `before` is the `seq` to go on from."""
    statement = select(schema.configs).order_by(schema.configs.c.seq.desc()).limit(limit)
    if before is not None:
        statement = statement.where(schema.configs.c.seq < before)
    return [_from_row(row) for row in await tx.all(statement)]


async def put(tx: Tx, config: Config, *, now: datetime, actor: Actor, reason: str) -> Config:
    """Put a config into force: new id, new state sequence, one `split.changed` event."""
    weights = {name: weight for name, weight in config.weights.items() if weight > 0}
    config = replace(
        config,
        config_id=new_id("config"),
        previous_config_id=await current_id(tx),
        state_seq=await tx.bump(),
        weights=weights,
        created_at=rfc3339(now),
        actor=actor.to_json(),
        reason=reason,
    )
    seq = await tx.insert(_PUT, **_to_row(config))
    await events.append(
        tx,
        event_type="split.changed",
        now=now,
        actor=actor,
        release_id=config.release_id,
        data={
            "config_id": config.config_id,
            "previous_config_id": config.previous_config_id,
            "weights": weights,
            "aliases": dict(config.aliases),
            "reason": reason,
        },
    )
    return replace(config, seq=int(seq))


def check_split(split: object, *, param: str = "traffic_split") -> dict[str, float]:
    """A split from outside: finite, not negative, adding up to 100; Refused (422) otherwise."""
    if not isinstance(split, Mapping) or not split:
        raise Refused(
            422,
            "invalid_split",
            f'{param}: must be an object such as {{"stable": 90, "beta": 10}} (got {split!r})',
            param=param,
        )
    checked: dict[str, float] = {}
    for name, value in split.items():
        where = f"{param}.{name}"
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or not 0 <= value <= 100:
            raise Refused(
                422,
                "invalid_split",
                f"{where}: must be a number from 0 to 100 (got {value!r})",
                param=where,
            )
        checked[str(name)] = float(value)
    total = math.fsum(checked.values())
    if abs(total - 100) > 1e-6:
        raise Refused(
            422,
            "invalid_split",
            f"{param}: weights add up to {total:g}, not 100; change one of "
            f"{', '.join(checked)} by {100 - total:+g}",
            param=param,
        )
    return checked


def _to_row(config: Config) -> dict[str, Any]:
    row = {column.name: getattr(config, column.name) for column in schema.configs.c}
    del row["seq"]
    affected = None if config.affected is None else list(config.affected)
    return {**row, "aliases": dict(config.aliases), "affected": affected}


def _from_row(row: RowMapping) -> Config:
    values = {key: row[key] for key in row if key != "affected"}
    affected = row["affected"]
    return Config(affected=None if affected is None else tuple(affected), **values)
