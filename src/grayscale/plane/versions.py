"""Versions in the store: created once, never changed, only withdrawn or quarantined."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.engine import RowMapping

from grayscale.clock import rfc3339
from grayscale.errors import Refused
from grayscale.plane import configs, events
from grayscale.plane.actor import Actor
from grayscale.plane.configs import Config
from grayscale.store import schema
from grayscale.store.database import Tx
from grayscale.traffic.versions import VersionConfig, apply_overrides, check_version_name

FIRST_BRAKE_SLOT = 8
LAST_BRAKE_SLOT = 511
QUARANTINED = "version.quarantined"
_BY_NAME = select(schema.versions).where(schema.versions.c.name == bindparam("name"))
_SLOT = _BY_NAME.with_only_columns(schema.versions.c.brake_slot)
_QUARANTINED = select(schema.versions.c.name).where(
    schema.versions.c.config_hash == bindparam("config_hash"),
    schema.versions.c.quarantined.is_(True),
)


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """A version with all that the store knows of it."""

    name: str
    base_version: str | None
    config: VersionConfig
    config_hash: str
    brake_slot: int
    withdrawn: bool
    quarantined: bool
    promoted_at: str | None
    created_at: str
    created_by: str

    def status(self, config: Config) -> str:
        """`active`, `candidate`, `retired`, `withdrawn` or `quarantined`."""
        if self.quarantined:
            return "quarantined"
        if self.withdrawn:
            return "withdrawn"
        if self.name == config.beta:
            return "candidate"
        return "active" if config.weights.get(self.name, 0) > 0 else "retired"

    def view(self, config: Config) -> dict[str, Any]:
        """As in `GET /admin/versions`."""
        return {
            "name": self.name,
            "aliases": config.aliases_of(self.name),
            "status": self.status(config),
            "weight_percent": config.weights.get(self.name, 0.0),
            "base_version": self.base_version,
            "config_hash": self.config_hash,
            "config": self.config.model_dump(mode="json"),
            "created_at": self.created_at,
            "created_by": self.created_by,
            "promoted_at": self.promoted_at,
        }


async def every(tx: Tx) -> list[StoredVersion]:
    """All versions, oldest first."""
    statement = select(schema.versions).order_by(
        schema.versions.c.created_at, schema.versions.c.brake_slot
    )
    return [_from_row(row) for row in await tx.all(statement)]


async def find(tx: Tx, name: str) -> StoredVersion | None:
    """The version of this name, or None."""
    row = await tx.one(_BY_NAME, name=name)
    return _from_row(row) if row else None


async def slot_of(tx: Tx, name: str) -> int | None:
    """The place of this version's ban on the brake page, or None without such a version."""
    row = await tx.one(_SLOT, name=name)
    return int(row["brake_slot"]) if row else None


async def resolve(tx: Tx, config: Config, name: str, *, what: str = "Version") -> StoredVersion:
    """The version behind a name or alias; `beta` without a candidate is stable.

    Raises Refused (404 `version_not_found`) naming those that exist.
    """
    target = config.aliases.get(name, config.stable if name == "beta" else name)
    version = await find(tx, target)
    if version is None:
        names = [*config.aliases, *(v.name for v in await every(tx))]
        raise Refused(
            404,
            "version_not_found",
            f"{what} '{name}' does not exist. There are: {', '.join(dict.fromkeys(names))}.",
            param="version",
        )
    return version


async def create(
    tx: Tx,
    *,
    name: str,
    base: StoredVersion | None,
    overrides: Mapping[str, Any],
    upstreams: frozenset[str],
    now: datetime,
    actor: Actor,
) -> tuple[StoredVersion, bool]:
    """Create a version on `base`; returns it and whether it is new.

    Same name and configuration again is the same version; another configuration under the name
    is Refused (409 `version_exists`), an unknown upstream Refused (422). A configuration that
    is quarantined stays so under another name.
    """
    check_version_name(name)
    config = apply_overrides(base.config if base else VersionConfig(), overrides)
    check_upstreams(config, upstreams)
    existing = await find(tx, name)
    if existing is not None:
        if existing.config_hash != config.config_hash:
            raise exists_otherwise(name, param="name")
        return existing, False
    version = StoredVersion(
        name=name,
        base_version=base.name if base else None,
        config=config,
        config_hash=config.config_hash,
        brake_slot=await _free_slot(tx),
        withdrawn=False,
        quarantined=await is_quarantined(tx, config.config_hash),
        promoted_at=None,
        created_at=rfc3339(now),
        created_by=actor.name,
    )
    await _add(tx, version)
    await _tell(tx, "version.created", version, now=now, actor=actor, reason=None)
    return version, True


def exists_otherwise(name: str, *, param: str) -> Refused:
    """409: the name is taken by another configuration."""
    return Refused(
        409,
        "version_exists",
        f"Version '{name}' exists with another configuration; versions never change: choose "
        "another name",
        param=param,
    )


async def mark_promoted(tx: Tx, name: str, *, now: datetime) -> None:
    """Remember that a version has been stable: a rollback may go there."""
    statement = update(schema.versions).where(schema.versions.c.name == name)
    await tx.run(statement.values(promoted_at=rfc3339(now)))


async def quarantine(
    tx: Tx, config: Config, name: str, *, now: datetime, actor: Actor, reason: str
) -> bool:
    """Bar a version's configuration under every name; never stable's or previous's."""
    version = await find(tx, name)
    spared = [await find(tx, config.aliases.get(alias, "")) for alias in ("stable", "previous")]
    if version is None or version.config_hash in {one.config_hash for one in spared if one}:
        return False
    await _put_quarantined(tx, version, quarantined=True)
    await _tell(tx, QUARANTINED, version, now=now, actor=actor, reason=reason)
    return True


async def lift_quarantine(
    tx: Tx, version: StoredVersion, *, now: datetime, actor: Actor, reason: str
) -> None:
    """A person's word: this configuration may have traffic again, under every name."""
    await _put_quarantined(tx, version, quarantined=False)
    await _tell(tx, "version.quarantine_lifted", version, now=now, actor=actor, reason=reason)


async def is_quarantined(tx: Tx, config_hash: str) -> bool:
    """Whether a configuration was barred, under whatever name."""
    return await tx.one(_QUARANTINED, config_hash=config_hash) is not None


async def barred(tx: Tx, name: str, config_hash: str, *, param: str | None = None) -> Refused:
    """409 `config_not_allowed`: since when a configuration is barred, by whom, and the way out."""
    since = ""
    for told in await events.of_type(tx, QUARANTINED):
        what = told["data"]
        if what["config_hash"] == config_hash:
            named = "" if what["version"] == name else f" as '{what['version']}'"
            since = f"{named} at {told['timestamp']} by {what['actor']['name']}: {what['reason']}"
            break
    return Refused(
        409,
        "config_not_allowed",
        f"Version '{name}': its configuration was quarantined{since}. Change the configuration, "
        f"or lift the quarantine: grayscale versions lift {name} --reason …",
        param=param,
    )


async def _add(tx: Tx, version: StoredVersion) -> None:
    row = {column.name: getattr(version, column.name) for column in schema.versions.c}
    row["config"] = version.config.model_dump(mode="json")
    await tx.run(insert(schema.versions).values(**row))
    await tx.bump()


async def _put_quarantined(tx: Tx, version: StoredVersion, *, quarantined: bool) -> None:
    table = schema.versions
    alike = table.c.config_hash == version.config_hash
    await tx.run(update(table).where(alike).values(quarantined=quarantined))
    await tx.bump()


async def _tell(
    tx: Tx, kind: str, version: StoredVersion, *, now: datetime, actor: Actor, reason: str | None
) -> None:
    data = {
        "version": version.name,
        "base_version": version.base_version,
        "config_hash": version.config_hash,
        "config_id": await configs.current_id(tx),
        "reason": reason,
    }
    await events.append(tx, event_type=kind, now=now, actor=actor, data=data)


def check_upstreams(
    config: VersionConfig, upstreams: frozenset[str], *, param: str = "config_overrides"
) -> None:
    """Raises Refused (422) for a model whose upstream the relay does not know."""
    for model, target in config.models.items():
        if target.upstream not in upstreams:
            where = f"{param}.models.{model}.upstream"
            raise Refused(
                422,
                "unknown_upstream",
                f"{where}: '{target.upstream}' is not an upstream of this relay; there are: "
                f"{', '.join(sorted(upstreams)) or 'none'} (see grayscale.yaml)",
                param=where,
            )


async def _free_slot(tx: Tx) -> int:
    taken = {int(row["brake_slot"]) for row in await tx.all(select(schema.versions.c.brake_slot))}
    for slot in range(FIRST_BRAKE_SLOT, LAST_BRAKE_SLOT + 1):
        if slot not in taken:
            return slot
    raise Refused(
        422,
        "too_many_versions",
        f"{len(taken)} versions exist, the most that a relay holds; withdraw some",
        param="name",
    )


def _from_row(row: RowMapping) -> StoredVersion:
    values = {key: row[key] for key in row if key != "config"}
    return StoredVersion(config=VersionConfig.model_validate(row["config"]), **values)
