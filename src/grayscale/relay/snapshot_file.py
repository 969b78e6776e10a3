"""The last good snapshot as a file, for a worker that starts while its store is away.

It holds versions, weights, aliases and the hashes of keys; no secret, and no upstream's address.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from grayscale.traffic.snapshot import Key, Snapshot, Version
from grayscale.traffic.versions import VersionConfig

NAME = "snapshot.json"


class _StoredVersion(msgspec.Struct):
    name: str
    config: dict[str, Any]
    brake_slot: int


class _Stored(msgspec.Struct):
    config_id: str
    stable: _StoredVersion
    keys: list[Key]


def save(snapshot: Snapshot, data_dir: Path) -> None:
    """Write what a worker needs to serve the stable version, atomically, mode 0600."""
    stable = snapshot.stable
    stored = _Stored(
        config_id=snapshot.config_id,
        stable=_StoredVersion(
            stable.name, stable.config.model_dump(mode="json"), stable.brake_slot
        ),
        keys=list(snapshot.keys.values()),
    )
    temporary = data_dir / f".{NAME}.{os.getpid()}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(stored))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(data_dir / NAME)


def load(data_dir: Path) -> Snapshot | None:
    """The stable part of the last saved snapshot; None if there is none that can be read.

    Its `config_seq` is 0: whatever the store says once it is back is newer.
    """
    try:
        stored = msgspec.json.decode((data_dir / NAME).read_bytes(), type=_Stored)
        version = Version(
            name=stored.stable.name,
            config=VersionConfig.model_validate(stored.stable.config),
            brake_slot=stored.stable.brake_slot,
        )
    except (OSError, ValueError):  # both libraries' errors are ValueErrors
        return None
    return Snapshot(
        config_id=stored.config_id,
        config_seq=0,
        weights={version.name: 100.0},
        aliases={"stable": version.name},
        versions={version.name: version},
        keys={key.sha256: replace(key) for key in stored.keys},
    )
