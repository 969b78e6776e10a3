"""Ports: free ones, and a clear word where one is taken."""

from __future__ import annotations

import errno
import os
import socket
import time
from dataclasses import dataclass

from grayscale.errors import SettingsError

_BACKLOG = 2048
_PATIENCE_SECONDS = 3.0
_LOOK_SECONDS = 0.1
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - compared, not bound


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a port to listen on."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """Where a client on this machine finds it."""
        return f"http://{Address(_EVERYWHERE.get(self.host, self.host), self.port)}"


def parse_address(text: str) -> Address:
    """`HOST:PORT`; raises SettingsError with an example."""
    host, _, port = text.rpartition(":")
    host = host.strip("[]")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise SettingsError(f"{text!r} is no address; write HOST:PORT, such as 127.0.0.1:8400")
    return Address(host, int(port))


def take(address: Address, *, flag: str) -> Address:
    """The address with a port that is free right now: 0 becomes one; raises SettingsError."""
    with open_listener(address, flag=flag) as probe:
        return bound(address, probe)


def bound(address: Address, listening: socket.socket) -> Address:
    """The address with the port that the socket has got."""
    return Address(address.host, int(listening.getsockname()[1]))


def open_listener(address: Address, *, flag: str) -> socket.socket:
    """A listening socket; waits a little for one who is just leaving; raises SettingsError."""
    until = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return _listen(address)
        except OSError as error:
            if error.errno == errno.EADDRINUSE and time.monotonic() < until:
                time.sleep(_LOOK_SECONDS)
                continue
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise SettingsError(
                f"port {address.port} on {address.host} cannot be used ({reason}); stop what "
                f"listens there, or choose another one with {flag}"
            ) from error


def _listen(address: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    return socket.create_server((address.host, address.port), family=family, backlog=_BACKLOG)
