"""The key that flows use: it may conduct, but neither approve nor make keys."""

from __future__ import annotations

import os
from pathlib import Path

from grayscale.control import Connection, Control
from grayscale.errors import ControlRefused

_FILE = "conductor.key"
_SCOPES = ("read", "operate", "conduct")


async def conductor_key(admin: Connection, data_dir: Path) -> str:
    """The key kept in the data directory, or a new one if the relay does not know it."""
    file = data_dir / _FILE
    kept = file.read_text(encoding="utf-8").strip() if file.exists() else ""
    if kept and await _is_known(Connection(admin.base_url, kept)):
        return kept
    async with Control(admin.base_url, admin.api_key) as control:
        made = await control.create_key("conductors", scopes=_SCOPES)
    key = str(made["key"])
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as output:
        output.write(key + "\n")
    return key


async def _is_known(connection: Connection) -> bool:
    async with Control(connection.base_url, connection.api_key) as control:
        try:
            await control.versions()
        except ControlRefused:
            return False
    return True
