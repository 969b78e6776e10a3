"""Who calls: relay keys, looked up by their hash in the snapshot."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime

from grayscale.errors import Refused
from grayscale.traffic.snapshot import Key, Snapshot

_MAX_KEY_BYTES = 512


def authenticate(headers: Iterable[tuple[bytes, bytes]], snapshot: Snapshot, now: datetime) -> Key:
    """The key that the request carries; raises Refused (401), the same for every reason.

    `headers` are raw (lower-case name, value) pairs. `Authorization: Bearer` comes before
    `x-api-key`; a header given twice authenticates nobody.
    """
    given = _given(headers)
    if given is not None and len(given) <= _MAX_KEY_BYTES:
        key = snapshot.keys.get(hashlib.sha256(given).hexdigest())
        if key is not None and (key.expires_at is None or now < key.expires_at):
            return key
    raise Refused(
        401,
        "invalid_api_key",
        "Authentication failed; send 'Authorization: Bearer <key>' with a valid key",
        headers={"WWW-Authenticate": "Bearer"},
    )


def require(key: Key, scope: str) -> None:
    """Pass if the key carries `scope`; raises Refused (403) otherwise."""
    if not key.allows(scope):
        has = ", ".join(sorted(key.scopes)) or "none"
        message = f"This key lacks the scope '{scope}' (it has: {has})"
        raise Refused(403, "insufficient_scope", message)


def _given(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    bearer: bytes | None = None
    api_key: bytes | None = None
    for name, value in headers:
        if name == b"authorization":
            if bearer is not None:
                return None
            bearer = value
        elif name == b"x-api-key":
            if api_key is not None:
                return None
            api_key = value
    if bearer is None:
        return api_key
    scheme, _, token = bearer.partition(b" ")
    return token.strip() if scheme.lower() == b"bearer" else None
