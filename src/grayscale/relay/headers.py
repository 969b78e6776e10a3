"""Which headers pass the relay, in either direction."""

from __future__ import annotations

import random
import re
from functools import lru_cache

RawHeaders = list[tuple[bytes, bytes]]

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"trailers",
        b"transfer-encoding",
        b"upgrade",
    }
)

# What a caller may not tell an upstream: who he is to the relay, where he came from, and anything
# that the relay says itself (the body is written anew, and it must stay readable on its way back).
_CALLERS_OWN = HOP_BY_HOP | {
    b"accept-encoding",
    b"authorization",
    b"content-encoding",
    b"content-length",
    b"content-type",
    b"cookie",
    b"expect",
    b"forwarded",
    b"host",
    b"openai-organization",
    b"openai-project",
    b"origin",
    b"referer",
    b"true-client-ip",
    b"via",
    b"x-api-key",
    b"x-real-ip",
    b"x-request-id",
}
_CALLERS_OWN_PREFIXES = (b"x-forwarded-", b"x-relay-", b"cf-", b"proxy-", b"sec-")

# What an upstream may not tell a caller: its cookies, and promises about a host that is not it.
_UPSTREAMS_OWN = HOP_BY_HOP | {
    b"alt-svc",
    b"clear-site-data",
    b"content-length",
    b"nel",
    b"public-key-pins",
    b"report-to",
    b"server-timing",
    b"set-cookie",
    b"set-cookie2",
    b"strict-transport-security",
    b"x-request-id",
}
_UPSTREAMS_OWN_PREFIXES = (b"x-relay-", b"access-control-", b"proxy-")

_UNPRINTABLE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")


@lru_cache(maxsize=1024)
def _passes_up(name: bytes) -> bool:
    return name not in _CALLERS_OWN and not name.startswith(_CALLERS_OWN_PREFIXES)


@lru_cache(maxsize=1024)
def _passes_down(name: bytes) -> bool:
    return name not in _UPSTREAMS_OWN and not name.startswith(_UPSTREAMS_OWN_PREFIXES)


def upstream_headers(
    caller: RawHeaders, own: RawHeaders, *, request_id: bytes, content_length: int
) -> RawHeaders:
    """The whole head of the request to an upstream: the caller's that may pass, then `own`."""
    named = _named_in_connection(caller)
    ours = {name for name, _ in own}
    passed = [
        (name, value)
        for name, value in caller
        if _passes_up(name) and name not in named and name not in ours
    ]
    return [
        *own,
        *passed,
        (b"accept-encoding", b"identity"),
        (b"content-type", b"application/json"),
        (b"x-request-id", request_id),
        (b"content-length", b"%d" % content_length),
    ]


def caller_headers(upstream: RawHeaders) -> RawHeaders:
    """The upstream's headers that may go back to the caller."""
    named = _named_in_connection(upstream)
    passed: RawHeaders = []
    for raw_name, value in upstream:
        name = raw_name.lower()
        if _UNPRINTABLE.search(value) is not None:
            continue
        if _passes_down(name) and name not in named:
            passed.append((name, value))
        elif name == b"x-request-id":
            passed.append((b"x-upstream-request-id", value))
    return passed


def request_id_of(value: bytes | None) -> bytes:
    """The caller's request id if it is 1-128 visible characters, else a new one."""
    if value is not None and _REQUEST_ID.fullmatch(value):
        return value
    return b"req_%024x" % random.getrandbits(96)


def _named_in_connection(headers: RawHeaders) -> frozenset[bytes]:
    names: set[bytes] = set()
    for name, value in headers:
        if name.lower() == b"connection":
            names.update(token.strip().lower() for token in value.split(b","))
    return frozenset(names)
