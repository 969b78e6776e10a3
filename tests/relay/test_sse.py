"""Server-sent events on their way through."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grayscale.relay.answer import Signals
from grayscale.relay.sse import MAX_EVENT_BYTES, EventScanner, EventTooLong

_USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 3}}


def _event(value: Any, name: str | None = None, end: str = "\n\n") -> bytes:
    data = value if isinstance(value, str) else json.dumps(value)
    head = f"event: {name}{end[: len(end) // 2]}" if name else ""
    return f"{head}data: {data}{end}".encode()


def _chunk(text: str, **more: Any) -> bytes:
    return _event({"choices": [{"delta": {"content": text}}]} | more)


_DONE = _event("[DONE]")
_STREAM = b"".join(
    [
        b": hello\n\n",
        _chunk("Grüße", usage=None),
        _chunk("!"),
        _event({"choices": [], "usage": _USAGE}),
        _DONE,
    ]
)


def _through(scanner: EventScanner, data: bytes, size: int) -> bytes:
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    return b"".join(scanner.feed(piece) for piece in pieces) + scanner.finish()


@given(st.integers(1, 200))
def test_pieces_do_not_matter(size: int) -> None:
    """However a stream is cut into pieces, the same bytes come out and the same is learnt."""
    scanner = EventScanner(strips_usage=False)
    assert _through(scanner, _STREAM, size) == _STREAM
    assert scanner.done
    assert scanner.content_seen
    assert scanner.usage is not None
    assert (scanner.usage.tokens_in, scanner.usage.tokens_out) == (9, 4)
    assert scanner.usage.tokens_cached == 3


@given(st.integers(1, 200), st.sampled_from(["\n\n", "\r\n\r\n", "\r\r"]))
def test_every_line_end_is_understood(size: int, end: str) -> None:
    """LF, CRLF and CR all end events, wherever the pieces are cut."""
    data = _event({"choices": []}, end=end) + _event("[DONE]", end=end)
    scanner = EventScanner(strips_usage=False)
    assert _through(scanner, data, size) == data
    assert scanner.done


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_usage_nobody_asked_for_is_taken_out(size: int) -> None:
    """The usage chunk that the relay asked for does not reach a caller who did not."""
    scanner = EventScanner(strips_usage=True)
    out = _through(scanner, _STREAM, size)
    assert b'"choices": []' not in out
    assert out.endswith(_DONE)
    assert scanner.usage is not None


def test_usage_beside_content_stays() -> None:
    """A usage that comes with the last content is read and left where it is."""
    scanner = EventScanner(strips_usage=True)
    event = _chunk("end", usage=_USAGE)
    assert scanner.feed(event) == event
    assert scanner.usage is not None


@pytest.mark.parametrize(
    "event",
    [
        _event({"error": {"message": "overloaded"}}),
        _event({"error": "overloaded"}),
        _event({"type": "error", "message": "overloaded"}),
        _event({"message": "overloaded"}, name="error"),
    ],
)
def test_error_frame_is_held_back(event: bytes) -> None:
    """An error in a 200 stream is seen, and does not pass as content; nothing follows it."""
    scanner = EventScanner(strips_usage=True)
    good = _chunk("a")
    assert scanner.feed(good + event + _DONE) == good
    assert scanner.error is not None
    assert scanner.error_event == event
    assert not scanner.done
    assert scanner.feed(_chunk("b")) == b""


def test_first_event_being_an_error_counts_as_no_data() -> None:
    """Before any good event an error leaves `data_seen` false: the status is still open."""
    scanner = EventScanner(strips_usage=True)
    assert scanner.feed(b": ping\n\n") == b": ping\n\n"
    assert not scanner.data_seen
    assert scanner.feed(_event({"error": {"message": "no"}})) == b""
    assert not scanner.data_seen
    assert scanner.error == b'{"error": {"message": "no"}}'


@pytest.mark.parametrize("text", ['"usage": {', '"error": {"', "[DONE]", "response.completed"])
def test_words_of_the_protocol_in_content_are_content(text: str) -> None:
    """A model that talks about the protocol does not end or fail its own stream."""
    scanner = EventScanner(strips_usage=True)
    event = _chunk(text)
    assert scanner.feed(event) == event
    assert not scanner.has_ended()


@pytest.mark.parametrize("kind", ["response.completed", "response.incomplete"])
def test_responses_endings(kind: str) -> None:
    """The responses surface ends with an event, which carries the usage."""
    scanner = EventScanner(strips_usage=True)
    usage = {"input_tokens": 5, "output_tokens": 6, "input_tokens_details": {"cached_tokens": 1}}
    event = _event({"type": kind, "response": {"error": None, "usage": usage}}, name=kind)
    assert scanner.feed(event) == event
    assert scanner.done
    assert scanner.error is None
    assert scanner.usage is not None
    assert (scanner.usage.tokens_in, scanner.usage.tokens_cached) == (5, 1)


def test_response_failed_is_an_ending_and_an_error() -> None:
    """`response.failed` is a failure that the surface has an ending for."""
    scanner = EventScanner(strips_usage=True)
    kind = "response.failed"
    scanner.feed(_event({"type": kind, "response": {"error": {"code": "x"}}}, name=kind))
    assert scanner.done
    assert scanner.error is not None


def test_ending_without_its_blank_line() -> None:
    """A last `[DONE]` that the upstream cut short by a line end still is one."""
    scanner = EventScanner(strips_usage=True)
    assert scanner.feed(_chunk("a") + b"data: [DONE]\n") == _chunk("a")
    assert not scanner.done
    assert scanner.finish().startswith(b"data: [DONE]")
    assert scanner.done


@pytest.mark.parametrize("size", [1, 20, 10_000])
def test_nothing_follows_an_ending(size: int) -> None:
    """What an upstream sends after its ending neither comes out nor counts, however it is cut."""
    more = _event({"choices": [{"finish_reason": "length"}], "usage": _USAGE})
    scanner = EventScanner(strips_usage=True)
    assert _through(scanner, _chunk("a") + _DONE + more, size) == _chunk("a") + _DONE
    assert scanner.signals() == Signals()


def test_half_an_event_never_leaves() -> None:
    """A cut inside an event (even inside a character) lets only whole events out."""
    scanner = EventScanner(strips_usage=True)
    whole, torn = _chunk("a"), _event({"x": "ü"}).decode().encode("utf-8")[:-6]
    assert scanner.feed(whole + torn) == whole
    assert scanner.finish() == torn + b"\n\n" or not scanner.done


def test_endless_event_is_refused() -> None:
    """An event over the limit is the upstream's fault; memory is bounded, and so is time."""
    scanner = EventScanner(strips_usage=True)
    piece = b"data: " + b"x" * (1024 * 1024)
    for _ in range(MAX_EVENT_BYTES // len(piece)):
        assert scanner.feed(piece) == b""
    with pytest.raises(EventTooLong):
        scanner.feed(piece)


def test_long_line_in_single_bytes_is_not_quadratic() -> None:
    """A long event that comes byte by byte is looked at once, not once per byte."""
    scanner = EventScanner(strips_usage=True)
    for _ in range(200_000):
        scanner.feed(b"x")
    assert scanner.feed(b"\n\n").startswith(b"x")


def test_content_is_told_from_the_opening() -> None:
    """The chunk that only opens the message is not its first content."""
    scanner = EventScanner(strips_usage=True)
    scanner.feed(_event({"choices": [{"delta": {"role": "assistant", "content": ""}}]}))
    assert scanner.data_seen
    assert not scanner.content_seen
    scanner.feed(_chunk("Hi"))
    assert scanner.content_seen
