"""The first start: the first stable version from grayscale.yaml, and the admin key."""

from __future__ import annotations

import os
from pathlib import Path

from sqlalchemy import select

from grayscale.errors import SettingsError
from grayscale.plane import configs, keys, versions
from grayscale.plane.actor import RELAY
from grayscale.plane.configs import Config
from grayscale.plane.plane import Plane
from grayscale.store import schema
from grayscale.store.database import Tx
from grayscale.traffic.snapshot import SCOPES

FIRST_VERSION = "v1"
KEY_FILE = "admin.key"
_WEAK = frozenset({"changeme", "password", "secret", "admin", "sk-1234"})
_SHORTEST = 32


def prepare_data_dir(data_dir: Path) -> None:
    """Make the data directory (mode 0700, ignored by git); raises SettingsError if it can't be."""
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        ignore = data_dir / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n", encoding="utf-8")
    except OSError as error:
        raise SettingsError(
            f"data directory {data_dir}: cannot be written ({error.strerror}); give another one "
            "with --data-dir"
        ) from error
    if not os.access(data_dir, os.W_OK | os.X_OK):
        raise SettingsError(
            f"data directory {data_dir}: not writable; give another one with --data-dir"
        )


async def first_start(plane: Plane, data_dir: Path, *, given_key: str | None) -> str | None:
    """Set up an empty store; returns the admin key if it was made just now (shown once)."""
    async with plane.write() as tx:
        if await tx.one(select(schema.configs.c.seq).limit(1)) is None:
            await _first_version(plane, tx)
        return await _admin_key(plane, tx, data_dir, given_key)


def admin_key(data_dir: Path, *, given: str | None) -> str:
    """The admin key, given or kept; raises SettingsError that says how to get another one."""
    file = data_dir / KEY_FILE
    try:
        return given or file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SettingsError(
            f"no admin key: {file} cannot be read ({error.strerror}), and this store has keys from "
            "before; put the file back, or set GRAYSCALE_ADMIN_KEY to 32 random characters or more "
            "(openssl rand -hex 32), which this start makes an admin key of the store"
        ) from error


async def settings_drift(plane: Plane) -> bool:
    """Whether `models` in grayscale.yaml no longer says what the stable version does."""
    async with plane.read() as tx:
        config = await configs.current(tx)
        first = await versions.find(tx, FIRST_VERSION)
    wanted = plane.settings.first_version
    return (
        first is not None
        and config.stable == first.name
        and first.config_hash != wanted.config_hash
    )


async def _first_version(plane: Plane, tx: Tx) -> None:
    now = plane.clock.now()
    version, _ = await versions.create(
        tx,
        name=FIRST_VERSION,
        base=None,
        overrides=plane.settings.first_version.model_dump(mode="json"),
        upstreams=plane.upstreams,
        now=now,
        actor=RELAY,
    )
    await versions.mark_promoted(tx, version.name, now=now)
    config = Config(config_id="", weights={version.name: 100.0}, aliases={"stable": version.name})
    await configs.put(tx, config, now=now, actor=RELAY, reason="first start")


async def _admin_key(plane: Plane, tx: Tx, data_dir: Path, given_key: str | None) -> str | None:
    if given_key is not None:
        _check_strength(given_key)
        if await keys.find_by_secret(tx, given_key) is None:
            await _store_key(plane, tx, given_key, name="GRAYSCALE_ADMIN_KEY")
        return None
    if await tx.one(select(schema.keys.c.id).limit(1)) is not None:
        return None
    secret = keys.new_secret()
    await _store_key(plane, tx, secret, name="admin")
    _write_private(data_dir / KEY_FILE, secret)
    return secret


async def _store_key(plane: Plane, tx: Tx, secret: str, *, name: str) -> None:
    new = keys.NewKey(name=name, scopes=list(SCOPES))
    await keys.create(tx, new, now=plane.clock.now(), actor=RELAY, secret=secret)


def _check_strength(secret: str) -> None:
    if len(secret) < _SHORTEST or secret.lower() in _WEAK or len(set(secret)) < 8:
        raise SettingsError(
            f"GRAYSCALE_ADMIN_KEY: too weak ({len(secret)} characters); use at least "
            f"{_SHORTEST} random ones, such as the output of: openssl rand -hex 32"
        )


def _write_private(path: Path, secret: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(secret + "\n")
