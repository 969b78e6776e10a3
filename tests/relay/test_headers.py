"""Which headers pass the relay."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from grayscale.relay.headers import HOP_BY_HOP, caller_headers, request_id_of, upstream_headers
from grayscale.relay.targets import targets_from
from grayscale.settings import UpstreamSettings

_OWN = [(b"host", b"api.example"), (b"authorization", b"Bearer sk-upstream")]


def _up(*headers: tuple[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    return upstream_headers(list(headers), _OWN, request_id=b"req_1", content_length=2)


def test_callers_secrets_stay_here() -> None:
    """Neither the caller's key nor his cookies, address or relay headers reach an upstream."""
    sent = _up(
        (b"authorization", b"Bearer gs_secret"),
        (b"x-api-key", b"gs_secret"),
        (b"cookie", b"a=b"),
        (b"x-forwarded-for", b"10.0.0.1"),
        (b"x-real-ip", b"10.0.0.1"),
        (b"forwarded", b"for=10.0.0.1"),
        (b"x-relay-version", b"beta"),
        (b"x-relay-sticky-key", b"alice"),
        (b"host", b"relay.example"),
        (b"openai-organization", b"org-caller"),
        (b"proxy-authorization", b"Basic x"),
        (b"openai-beta", b"assistants=v2"),
        (b"user-agent", b"OpenAI/Python"),
    )
    assert sent == [
        *_OWN,
        (b"openai-beta", b"assistants=v2"),
        (b"user-agent", b"OpenAI/Python"),
        (b"accept-encoding", b"identity"),
        (b"content-type", b"application/json"),
        (b"x-request-id", b"req_1"),
        (b"content-length", b"2"),
    ]


def test_hop_by_hop_headers_stop_here() -> None:
    """Hop-by-hop headers, and those that Connection names, go neither way."""
    head = [(name, b"x") for name in sorted(HOP_BY_HOP - {b"connection"})]
    head += [(b"connection", b"close, X-Secret"), (b"x-secret", b"1"), (b"x-kept", b"2")]
    assert (b"x-kept", b"2") in _up(*head)
    assert not {name for name, _ in _up(*head)} & (HOP_BY_HOP | {b"x-secret"})
    assert caller_headers(head) == [(b"x-kept", b"2")]


def test_connection_cannot_strip_the_upstreams_key() -> None:
    """A caller who names `authorization` in Connection does not take the upstream's key off."""
    assert _OWN[1] in _up((b"connection", b"authorization, host"))


def test_upstreams_own_headers_win() -> None:
    """A header that the settings give for an upstream cannot be given by a caller."""
    settings = UpstreamSettings.model_validate(
        {"base_url": "https://api.example/v1/", "headers": {"OpenAI-Beta": "ours"}}
    )
    target = targets_from({"main": settings})["main"]
    assert str(target.urls["/chat/completions"]) == "https://api.example/v1/chat/completions"
    sent = upstream_headers(
        [(b"openai-beta", b"theirs")], target.headers, request_id=b"r", content_length=0
    )
    assert [value for name, value in sent if name == b"openai-beta"] == [b"ours"]
    assert "sk-" not in repr(target)


def test_upstreams_promises_stop_here() -> None:
    """Cookies and promises about the upstream's host are not the relay's to give."""
    passed = caller_headers(
        [
            (b"Set-Cookie", b"a=b"),
            (b"Alt-Svc", b"h3=':443'"),
            (b"Strict-Transport-Security", b"max-age=1"),
            (b"Access-Control-Allow-Origin", b"*"),
            (b"X-Relay-Version", b"forged"),
            (b"Content-Length", b"7"),
            (b"Retry-After", b"3"),
            (b"X-Request-Id", b"up_1"),
            (b"X-RateLimit-Remaining", b"9"),
        ]
    )
    assert passed == [
        (b"retry-after", b"3"),
        (b"x-upstream-request-id", b"up_1"),
        (b"x-ratelimit-remaining", b"9"),
    ]


@given(st.binary())
def test_no_value_injects_a_line(value: bytes) -> None:
    """Whatever an upstream puts into a header, no control character comes out of it."""
    for _, passed in caller_headers([(b"x-any", value)]):
        assert not any(byte < 32 and byte != 9 for byte in passed)


@given(st.binary(max_size=200))
def test_request_ids(value: bytes) -> None:
    """A caller's request id is kept if it is 1-128 visible characters, else one is made."""
    kept = request_id_of(value)
    is_good = 1 <= len(value) <= 128 and all(33 <= byte <= 126 for byte in value)
    assert kept == value if is_good else kept.startswith(b"req_")
    assert request_id_of(None) != request_id_of(None)
