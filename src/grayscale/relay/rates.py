"""Requests and tokens per minute of each key: token buckets, one worker's share of the limit."""

from __future__ import annotations

import math
from collections.abc import Container

from grayscale.errors import Refused
from grayscale.traffic.snapshot import Key

_MINUTE = 60.0


class _Bucket:
    """Fills up evenly to a minute's worth; may be overdrawn by what is known only later."""

    __slots__ = ("_filled_at", "_level")

    def __init__(self, per_minute: float, now: float) -> None:
        self._level = per_minute
        self._filled_at = now

    def wait_seconds(self, amount: float, per_minute: float, now: float) -> float:
        """How long until `amount` can be taken; 0 if it can be now."""
        passed, self._filled_at = now - self._filled_at, now
        self._level = min(per_minute, self._level + passed * per_minute / _MINUTE)
        missing = min(amount, per_minute) - self._level
        return max(0.0, missing * _MINUTE / per_minute)

    def take(self, amount: float) -> None:
        """Take `amount` (or give it back, below 0)."""
        self._level -= amount


class Rates:
    """The buckets of every limited key, in this worker."""

    def __init__(self) -> None:
        self._requests: dict[str, _Bucket] = {}
        self._tokens: dict[str, _Bucket] = {}

    def admit(self, key: Key, *, workers: int, now: float) -> None:
        """Count one request; raises Refused (429) if the key is over its requests or tokens."""
        share = 1 / max(1, workers)
        if key.requests_per_minute is not None:
            limit = max(1.0, key.requests_per_minute * share)
            bucket = _bucket(self._requests, key.id, limit, now)
            _refuse_if(bucket.wait_seconds(1.0, limit, now), "requests", key.requests_per_minute)
            bucket.take(1.0)
        if key.tokens_per_minute is not None:
            limit = max(1.0, key.tokens_per_minute * share)
            bucket = _bucket(self._tokens, key.id, limit, now)
            _refuse_if(bucket.wait_seconds(1.0, limit, now), "tokens", key.tokens_per_minute)

    def spend(self, key: Key, tokens: float) -> None:
        """Take tokens off the key's minute: an estimate first, the difference when it is known."""
        bucket = self._tokens.get(key.id)
        if bucket is not None:
            bucket.take(tokens)

    def keep_only(self, key_ids: Container[str]) -> None:
        """Forget keys that are gone."""
        for buckets in (self._requests, self._tokens):
            for key_id in [known for known in buckets if known not in key_ids]:
                del buckets[key_id]


def _bucket(buckets: dict[str, _Bucket], key_id: str, per_minute: float, now: float) -> _Bucket:
    found = buckets.get(key_id)
    if found is None:
        found = buckets[key_id] = _Bucket(per_minute, now)
    return found


def _refuse_if(wait_seconds: float, what: str, per_minute: int) -> None:
    if wait_seconds <= 0:
        return
    raise Refused(
        429,
        "rate_limit_exceeded",
        f"Too many requests: this key may use {per_minute} {what} per minute; "
        f"try again in {wait_seconds:.1f} s",
        headers={
            "Retry-After": str(math.ceil(wait_seconds)),
            "retry-after-ms": str(math.ceil(wait_seconds * 1000)),
        },
        error_type=what,
    )
