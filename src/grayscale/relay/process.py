"""The relay's parent process: one listening socket, N workers on it, restarted when they die."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

from grayscale.errors import SettingsError
from grayscale.relay.app import Listener
from grayscale.relay.parent import Parent
from grayscale.settings import Settings

CONTROL_PLANE = "grayscale.relay.service:control_plane"
"""Where workers find their `MakeControlPlane`."""

_BACKLOG = 2048


def run_relay(
    *,
    settings: Settings,
    data_dir: Path,
    listen: str,
    admin_listen: str | None = None,
    workers: int = 1,
    control: str = CONTROL_PLANE,
) -> int:
    """Serve until SIGTERM or SIGINT; the exit code. Raises SettingsError if it cannot listen."""
    addresses = {Listener.ALL: listen}
    if admin_listen is not None:
        addresses = {Listener.CALLERS: listen, Listener.ADMIN: admin_listen}
    sockets = {listener: bind(address) for listener, address in addresses.items()}
    try:
        parent = Parent(settings, data_dir, sockets, workers=workers, control=control)
        return asyncio.run(parent.run())
    finally:
        for listening in sockets.values():
            listening.close()


def bind(address: str) -> socket.socket:
    """A listening socket at HOST:PORT; raises SettingsError naming the port if it is taken."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    if not host or not port.isdigit() or int(port) > 65535:
        raise SettingsError(f"listen address {address!r}: write HOST:PORT, such as 127.0.0.1:8400")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, int(port)), family=family, backlog=_BACKLOG)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise SettingsError(
            f"port {port} on {host} cannot be used ({reason}); stop what listens there, or choose "
            "another one with --listen"
        ) from error
    return listening
