"""The relay's parent process: one listening socket, N workers on it, restarted when they die."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import time
from pathlib import Path

from grayscale.errors import SettingsError
from grayscale.relay.app import Listener
from grayscale.relay.parent import Parent
from grayscale.settings import Settings

CONTROL_PLANE = "grayscale.relay.service:control_plane"
"""Where workers find their `MakeControlPlane`."""

_BACKLOG = 2048
_INHERITED = "fd://"
_PATIENCE_SECONDS = 3.0
_LOOK_SECONDS = 0.1


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
    sockets = {
        listener: bind(address, patience_seconds=_PATIENCE_SECONDS)
        for listener, address in addresses.items()
    }
    try:
        parent = Parent(settings, data_dir, sockets, workers=workers, control=control)
        return asyncio.run(parent.run())
    finally:
        for listening in sockets.values():
            listening.close()


def bind(address: str, *, patience_seconds: float = 0.0) -> socket.socket:
    """A listening socket at HOST:PORT; raises SettingsError naming the port if it is taken.

    `patience_seconds` is for a relay that is just leaving. `fd://7` is descriptor 7, a socket that
    listens already: whoever started us keeps it open, so that connections wait in the kernel, and
    are not refused, while the relay is started again.
    """
    if address.startswith(_INHERITED):
        return _inherited(address)
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    if not host or not port.isdigit() or int(port) > 65535:
        raise SettingsError(f"listen address {address!r}: write HOST:PORT, such as 127.0.0.1:8400")
    try:
        return _listen(host, int(port), until=time.monotonic() + patience_seconds)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise SettingsError(
            f"port {port} on {host} cannot be used ({reason}); stop what listens there, or choose "
            "another one with --listen"
        ) from error


def _listen(host: str, port: int, *, until: float) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    while True:
        try:
            return socket.create_server((host, port), family=family, backlog=_BACKLOG)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() > until:
                raise
            time.sleep(_LOOK_SECONDS)


def _inherited(address: str) -> socket.socket:
    number = address.removeprefix(_INHERITED)
    try:
        inherited = socket.socket(fileno=int(number))
        listens = inherited.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except (ValueError, OSError) as error:
        raise SettingsError(f"listen address {address!r}: {error}") from error
    if not listens:
        inherited.close()
        raise SettingsError(f"listen address {address!r}: this socket does not listen")
    return inherited
