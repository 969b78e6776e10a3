"""Ports: free ones, and a clear word where one is taken."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass

from grayscale.errors import SettingsError

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
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        with socket.create_server((address.host, address.port), family=family) as probe:
            return Address(address.host, int(probe.getsockname()[1]))
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise SettingsError(
            f"port {address.port} on {address.host} cannot be used ({reason}); stop what listens "
            f"there, or choose another one with {flag}"
        ) from error
