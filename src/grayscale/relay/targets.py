"""Upstreams as the request path needs them: addresses, credentials and limits, worked out once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from grayscale.relay.endpoints import ENDPOINTS
from grayscale.settings import UpstreamSettings

RawHeaders = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Target:
    """One upstream: its URL per endpoint path, and the headers that only it gets."""

    name: str
    urls: Mapping[str, httpx.URL]
    headers: RawHeaders

    def __repr__(self) -> str:
        return f"<Target {self.name}>"  # the headers hold its key


def targets_from(upstreams: Mapping[str, UpstreamSettings]) -> dict[str, Target]:
    """Every configured upstream by name."""
    return {name: _target(name, settings) for name, settings in upstreams.items()}


def _target(name: str, settings: UpstreamSettings) -> Target:
    base = settings.base_url.rstrip("/")
    urls = {endpoint.path: httpx.URL(base + endpoint.path) for endpoint in ENDPOINTS}
    headers: RawHeaders = [(b"host", httpx.URL(base).netloc)]
    if settings.api_key is not None:
        secret = settings.api_key.get_secret_value()
        headers.append((b"authorization", f"Bearer {secret}".encode()))
    for header, value in settings.headers.items():
        headers.append((header.lower().encode(), value.get_secret_value().encode()))
    return Target(name=name, urls=urls, headers=headers)
