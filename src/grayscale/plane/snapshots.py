"""The picture that workers run on, read in one consistent look."""

from __future__ import annotations

from sqlalchemy import func, select

from grayscale.clock import from_rfc3339
from grayscale.plane import configs, events, keys, versions
from grayscale.plane.plane import Plane
from grayscale.store import schema
from grayscale.traffic.snapshot import Snapshot, Version


async def load(plane: Plane) -> Snapshot:
    """Versions, split, aliases and keys as of now."""
    async with plane.read() as tx:
        seq = await tx.one(select(schema.meta.c.number).where(schema.meta.c.key == "state_seq"))
        config = await configs.current(tx)
        stored = await versions.every(tx)
        live_keys = await keys.live(tx)
        audit_head = await events.head_hash(tx)
        workers = await tx.one(select(func.count().label("live")).select_from(schema.workers))
        release = await tx.one(
            select(schema.releases.c.version).where(schema.releases.c.id == config.release_id)
        )
    return Snapshot(
        config_id=config.config_id,
        config_seq=int(seq["number"]) if seq else 0,
        weights=dict(config.weights),
        aliases=dict(config.aliases),
        versions={
            version.name: Version(
                name=version.name,
                config=version.config,
                brake_slot=version.brake_slot,
                withdrawn=version.withdrawn,
                quarantined=version.quarantined,
                created_at=from_rfc3339(version.created_at),
            )
            for version in stored
        },
        keys=live_keys,
        salt=config.salt,
        affected=None if config.affected is None else frozenset(config.affected),
        release_id=config.release_id,
        release_version=release["version"] if release else None,
        sticky_by=config.sticky_by,
        failover_percent=float(config.failover_percent),
        workers=max(1, int(workers["live"])) if workers else 1,
        audit_head=audit_head,
    )
