"""Who may call, and how often."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from grayscale.errors import Refused
from grayscale.relay.auth import authenticate, require
from grayscale.relay.rates import Rates
from grayscale.traffic.snapshot import Key
from tests.relay.harness import OPERATOR, SECRET, key, snapshot

_NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
_STATE = snapshot()


def _bearer(secret: str, scheme: str = "Bearer") -> tuple[bytes, bytes]:
    return (b"authorization", f"{scheme} {secret}".encode())


@pytest.mark.parametrize(
    "headers",
    [
        [_bearer(SECRET)],
        [_bearer(SECRET, "bearer")],
        [_bearer(f" {SECRET} ")],
        [(b"x-api-key", SECRET.encode())],
    ],
)
def test_key_is_found(headers: list[tuple[bytes, bytes]]) -> None:
    """A key is taken from `Authorization: Bearer` or `x-api-key`."""
    assert authenticate(headers, _STATE, _NOW).id == key().id


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [_bearer("")],
        [_bearer("gs_unknown")],
        [_bearer(SECRET.upper())],
        [_bearer(SECRET, "Basic")],
        [(b"authorization", SECRET.encode())],
        [_bearer(SECRET), _bearer(OPERATOR)],
        [_bearer("gs_unknown"), (b"x-api-key", SECRET.encode())],
        [(b"x-api-key", SECRET.encode()), (b"x-api-key", SECRET.encode())],
        [_bearer("x" * 100_000)],
        [(b"authorization", b"Bearer \xff\xfe\x00")],
    ],
)
def test_all_bad_keys_look_alike(headers: list[tuple[bytes, bytes]]) -> None:
    """Missing, malformed, unknown, doubled: one answer, which gives nothing away."""
    with pytest.raises(Refused, match=r"^Authentication failed") as refused:
        authenticate(headers, _STATE, _NOW)
    assert (refused.value.status, refused.value.code) == (401, "invalid_api_key")


def test_expiry() -> None:
    """A key works until the moment it expires, and not from then on."""
    state = snapshot(keys=(key(expires_at=_NOW),))
    assert authenticate([_bearer(SECRET)], state, _NOW - timedelta(seconds=1)).id
    with pytest.raises(Refused, match=r"^Authentication failed"):
        authenticate([_bearer(SECRET)], state, _NOW)


def test_scopes() -> None:
    """A missing scope is 403 and named; `admin` carries every scope."""
    with pytest.raises(Refused, match="'invoke'") as refused:
        require(key(scopes=frozenset({"read"})), "invoke")
    assert (refused.value.status, refused.value.code) == (403, "insufficient_scope")
    require(key(scopes=frozenset({"admin"})), "invoke")


def _admitted(rates: Rates, one: Key, now: float, workers: int = 1) -> Refused | None:
    try:
        rates.admit(one, workers=workers, now=now)
    except Refused as refused:
        return refused
    return None


def _limited(**fields: Any) -> Key:
    return key(**fields)


def test_requests_per_minute() -> None:
    """A minute's requests pass at once, the next one when there is room, and says when."""
    rates, limited = Rates(), _limited(requests_per_minute=3)
    assert [_admitted(rates, limited, 0.0) for _ in range(3)] == [None] * 3
    refused = _admitted(rates, limited, 0.0)
    assert refused is not None
    assert (refused.status, refused.code, refused.error_type) == (
        429,
        "rate_limit_exceeded",
        "requests",
    )
    assert refused.message.startswith("Too many requests")
    assert refused.headers == {"Retry-After": "20", "retry-after-ms": "20000"}
    assert _admitted(rates, limited, 19.9) is not None
    assert _admitted(rates, limited, 20.1) is None


def test_limit_is_shared_among_workers() -> None:
    """A worker admits its share, and at least one request."""
    rates, limited = Rates(), _limited(requests_per_minute=4)
    assert [_admitted(rates, limited, 0.0, workers=2) for _ in range(2)] == [None] * 2
    assert _admitted(rates, limited, 0.0, workers=2) is not None
    assert _admitted(Rates(), _limited(requests_per_minute=1), 0.0, workers=8) is None


def test_tokens_per_minute() -> None:
    """Tokens are taken off as they become known; an overdrawn minute has to fill up first."""
    rates, limited = Rates(), _limited(tokens_per_minute=600)
    assert _admitted(rates, limited, 0.0) is None
    rates.spend(limited, 900)
    refused = _admitted(rates, limited, 0.0)
    assert refused is not None
    assert refused.error_type == "tokens"
    assert _admitted(rates, limited, 29.0) is not None
    assert _admitted(rates, limited, 31.0) is None
    rates.spend(limited, -50)


def test_gone_keys_are_forgotten() -> None:
    """A key that comes back (or its limit, raised) starts afresh; memory does not grow."""
    rates, limited = Rates(), _limited(requests_per_minute=1)
    assert _admitted(rates, limited, 0.0) is None
    rates.keep_only({"somebody else"})
    assert _admitted(rates, limited, 0.0) is None
