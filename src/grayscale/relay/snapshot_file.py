"""The last good snapshot as a file, for a worker that starts while its store is away.

It holds the stable version, the one before it, and the hashes of keys; no secret, and no upstream's
address. There are two copies, each with its checksum: a file that was spoilt is not served by.
"""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path
from typing import Any

import msgspec

from grayscale.traffic.snapshot import Key, Snapshot, Version
from grayscale.traffic.versions import VersionConfig

_log = logging.getLogger(__name__)

NAME = "snapshot.json"
COPY = "snapshot.copy.json"


class _StoredVersion(msgspec.Struct):
    name: str
    config: dict[str, Any]
    brake_slot: int


class _Stored(msgspec.Struct):
    config_id: str
    stable: _StoredVersion
    keys: list[Key]
    previous: _StoredVersion | None = None
    audit_head: str = ""


class _Sealed(msgspec.Struct):
    sha256: str
    snapshot: msgspec.Raw


def save(snapshot: Snapshot, data_dir: Path) -> None:
    """Write what a worker needs to serve the stable version, atomically, mode 0600."""
    previous = snapshot.previous
    stored = _Stored(
        config_id=snapshot.config_id,
        stable=_to_stored(snapshot.stable),
        keys=list(snapshot.keys.values()),
        previous=None if previous is None else _to_stored(previous),
        audit_head=snapshot.audit_head,
    )
    text = msgspec.json.encode(stored)
    sealed = msgspec.json.encode(_Sealed(_sum(text), msgspec.Raw(text)))
    for name in (NAME, COPY):
        _replace(data_dir / name, sealed)


def load(data_dir: Path) -> Snapshot | None:
    """The stable part of the last saved snapshot; None if there is none that can be read.

    Its `config_seq` is 0: whatever the store says once it is back is newer.
    """
    for name in (NAME, COPY):
        try:
            return _read(data_dir / name)
        except (OSError, ValueError) as error:  # both libraries' errors are ValueErrors
            _log.warning("%s cannot be used: %s", data_dir / name, error)
    return None


def _read(path: Path) -> Snapshot:
    sealed = msgspec.json.decode(path.read_bytes(), type=_Sealed)
    if _sum(bytes(sealed.snapshot)) != sealed.sha256:
        raise ValueError("its checksum is wrong")
    stored = msgspec.json.decode(sealed.snapshot, type=_Stored)
    kept = {"stable": stored.stable}
    if stored.previous is not None:
        kept["previous"] = stored.previous
    return Snapshot(
        config_id=stored.config_id,
        config_seq=0,
        weights={stored.stable.name: 100.0},
        aliases={alias: version.name for alias, version in kept.items()},
        versions={version.name: _from_stored(version) for version in kept.values()},
        keys={key.sha256: key for key in stored.keys},
        audit_head=stored.audit_head,
    )


def _to_stored(version: Version) -> _StoredVersion:
    config = version.config.model_dump(mode="json")
    return _StoredVersion(version.name, config, version.brake_slot)


def _from_stored(stored: _StoredVersion) -> Version:
    config = VersionConfig.model_validate(stored.config)
    return Version(name=stored.name, config=config, brake_slot=stored.brake_slot)


def _sum(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()


def _replace(path: Path, text: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
