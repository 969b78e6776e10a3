"""Which addresses a webhook may be sent to."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, IPv6Address, ip_address

from grayscale.notices.seam import NoticeError

Resolve = Callable[[str, int], Awaitable[list[str]]]

# Clouds hand out credentials to whoever can reach these.
_METADATA = frozenset(
    {
        ip_address("100.100.100.200"),
        ip_address("168.63.129.16"),
        ip_address("192.0.0.192"),
        ip_address("fd00:ec2::254"),
        ip_address("fd20:ce::254"),
    }
)


async def resolve(host: str, port: int) -> list[str]:
    """The host's addresses, in the system's order."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


async def allowed_address(host: str, port: int, *, resolver: Resolve) -> str:
    """One address to connect to; NoticeError if the host has none or any that is forbidden.

    The caller connects to the address given here and not to the name, which might mean another one
    a moment later. Loopback and private addresses are allowed: the URL is the operator's own, from
    grayscale.yaml, and receivers inside the network are the usual case. Nobody configures
    link-local or metadata addresses in earnest, so these stay closed even to a mistaken name.
    """
    try:
        addresses = await resolver(host, port)
    except OSError as error:
        raise NoticeError(f"webhook host {host} does not resolve: {error}") from error
    if not addresses:
        raise NoticeError(f"webhook host {host} has no address")
    for address in addresses:
        if _is_forbidden(address):
            raise NoticeError(
                f"webhook host {host} is {address}, a link-local, metadata or multicast address, "
                "to which nothing is sent; correct notifications.webhook.url",
                permanent=True,
            )
    return addresses[0]


def _is_forbidden(text: str) -> bool:
    address: IPv4Address | IPv6Address = ip_address(text)
    if isinstance(address, IPv6Address):
        address = address.ipv4_mapped or address.sixtofour or address
    return (
        address.is_link_local
        or address.is_multicast
        or address.is_unspecified
        or address in _METADATA
    )
