"""One try at one upstream: a whole answer, an opened stream, or a failure with what to say."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass

import httpx
import msgspec

from grayscale.errors import Refused
from grayscale.relay.answer import NOTHING_SHOWN, UNREADABLE, Shape, Signals, read_signals
from grayscale.relay.asked import Asked
from grayscale.relay.headers import RawHeaders
from grayscale.relay.metering import UsageFields
from grayscale.relay.sse import EventScanner, EventTooLong
from grayscale.relay.upstream import (
    UpstreamFailure,
    UpstreamTimeout,
    UpstreamUnreachable,
    failure_from,
    send_upstream,
)
from grayscale.relay.watch import Cause, Watch
from grayscale.traffic.outcomes import Outcome, outcome_of_status

MAX_ANSWER_BYTES = 128 * 1024 * 1024


@dataclass(slots=True)
class Whole:
    """A complete answer of an upstream, as it goes to the caller."""

    status: int
    headers: RawHeaders
    body: bytes
    outcome: Outcome
    signals: Signals = NOTHING_SHOWN


@dataclass(slots=True)
class Opened:
    """A stream that has shown its first event, and that event was no error."""

    status: int
    headers: RawHeaders
    first: bytes
    chunks: AsyncIterator[bytes]
    scanner: EventScanner
    response: httpx.Response


class AttemptFailed(Exception):
    """The upstream did not serve the request; `answer` is for the caller if nobody stands in."""

    def __init__(self, outcome: Outcome, code: int, answer: Whole | Refused) -> None:
        super().__init__(str(answer))
        self.outcome = outcome
        self.code = code
        self.answer = answer


class _Answer(Shape):
    usage: UsageFields | None = None
    error: dict[str, msgspec.Raw] | str | None = None


_ANSWER = msgspec.json.Decoder(_Answer)
_SHAPE = msgspec.json.Decoder(Shape)


async def attempt(
    transport: httpx.AsyncBaseTransport,
    request: httpx.Request,
    *,
    watch: Watch,
    idle_seconds: float,
    scanner: EventScanner | None,
    asked: Asked | None,
) -> Whole | Opened:
    """Send `request`; with a `scanner` the answer must be a stream. Raises AttemptFailed.

    `asked` is what a whole answer is held against; None where no text is generated.
    """
    try:
        response = await send_upstream(transport, request)
    except UpstreamFailure as failure:
        raise _failed(failure) from failure
    try:
        watch.expect(Cause.IDLE, idle_seconds)
        if not 200 <= response.status_code < 300:
            return await _refused_by_upstream(response, watch, idle_seconds)
        _check_readable(response, streams=scanner is not None)
        if scanner is not None:
            return await _open(response, scanner, watch, idle_seconds)
        body = await _read_body(response, watch, idle_seconds)
        return _whole(response, body, asked)
    except UpstreamFailure as failure:
        await response.aclose()
        raise _failed(failure) from failure
    except BaseException:
        await response.aclose()
        raise


async def read_chunks(
    response: httpx.Response, watch: Watch, idle_seconds: float
) -> AsyncGenerator[bytes, None]:
    """The body's pieces, each within the idle time; raises UpstreamFailure."""
    stream = response.stream
    if not isinstance(stream, httpx.AsyncByteStream):
        raise TypeError(f"an async transport gave a {type(stream).__name__}")
    try:
        async for chunk in stream:
            watch.expect(Cause.IDLE, idle_seconds)
            yield chunk
    except httpx.TransportError as error:
        raise failure_from(error) from error


def _whole(response: httpx.Response, body: bytes, asked: Asked | None) -> Whole:
    answer = _decoded(body)
    usage = answer.usage.read() if answer.usage is not None else None
    signals = Signals(usage) if asked is None else read_signals(answer, asked, usage)
    whole = Whole(response.status_code, response.headers.raw, body, Outcome.OK, signals)
    if answer.error is not None:  # some upstreams say 200 and mean an error
        raise AttemptFailed(Outcome.UPSTREAM_ERROR, 502, whole)
    return whole


def _decoded(body: bytes) -> _Answer:
    try:
        return _ANSWER.decode(body)
    except msgspec.ValidationError:
        pass  # fields of other types than we know are the caller's to read; an object it must be
    except UNREADABLE:
        raise _garbage("not valid JSON") from None
    try:
        shape = _SHAPE.decode(body)
    except msgspec.DecodeError:
        raise _garbage("not a JSON object") from None
    return _Answer(**msgspec.structs.asdict(shape))


async def _refused_by_upstream(
    response: httpx.Response, watch: Watch, idle_seconds: float
) -> Whole:
    if not 400 <= response.status_code < 600:
        raise _garbage(f"status {response.status_code}")
    body = await _read_body(response, watch, idle_seconds)
    outcome = outcome_of_status(response.status_code)
    whole = Whole(response.status_code, response.headers.raw, body, outcome)
    if outcome is Outcome.REJECTED:
        return whole
    raise AttemptFailed(outcome, response.status_code, whole)


async def _read_body(response: httpx.Response, watch: Watch, idle_seconds: float) -> bytes:
    pieces: list[bytes] = []
    size = 0
    async for chunk in read_chunks(response, watch, idle_seconds):
        size += len(chunk)
        if size > MAX_ANSWER_BYTES:
            raise _garbage("more than 128 MiB")
        pieces.append(chunk)
    await response.aclose()
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


async def _open(
    response: httpx.Response, scanner: EventScanner, watch: Watch, idle_seconds: float
) -> Opened:
    chunks = read_chunks(response, watch, idle_seconds)
    first = b""
    async for chunk in chunks:
        first += _fed(scanner, chunk)
        if scanner.error is not None and not scanner.data_seen:
            raise _error_first(response, scanner.error)
        if scanner.data_seen:
            return Opened(200, response.headers.raw, first, chunks, scanner, response)
    first += scanner.finish()
    if scanner.error is not None and not scanner.data_seen:
        raise _error_first(response, scanner.error)
    if not scanner.done:
        raise _garbage("a stream that ended before its first event")
    return Opened(200, response.headers.raw, first, chunks, scanner, response)


def _fed(scanner: EventScanner, chunk: bytes) -> bytes:
    try:
        return scanner.feed(chunk)
    except EventTooLong:
        raise _garbage("a stream with an endless event") from None


def _error_first(response: httpx.Response, data: bytes) -> AttemptFailed:
    headers = [pair for pair in response.headers.raw if pair[0].lower() != b"content-type"]
    headers.append((b"content-type", b"application/json"))
    whole = Whole(502, headers, data, Outcome.UPSTREAM_ERROR)
    return AttemptFailed(Outcome.UPSTREAM_ERROR, 502, whole)


def _check_readable(response: httpx.Response, *, streams: bool) -> None:
    """A 2xx must be what was asked for: callers' clients take anything else for an answer."""
    headers = response.headers
    encoding = headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        raise _garbage(f"content-encoding {encoding[:40]!r}, which was not asked for")
    is_stream = headers.get("content-type", "").lower().startswith("text/event-stream")
    if is_stream != streams:
        raise _garbage("no event stream" if streams else "an event stream")


def _garbage(what: str) -> AttemptFailed:
    refusal = Refused(
        502, "upstream_unreadable", f"The upstream's answer cannot be used: it sent {what}"
    )
    return AttemptFailed(Outcome.UPSTREAM_ERROR, 502, refusal)


def timed_out(what: str) -> AttemptFailed:
    """The failure of an upstream that took too long."""
    refusal = Refused(504, "upstream_timeout", f"The upstream did not answer in time: {what}")
    return AttemptFailed(Outcome.UPSTREAM_ERROR, 504, refusal)


def _failed(failure: UpstreamFailure) -> AttemptFailed:
    if isinstance(failure, UpstreamTimeout):
        return timed_out("no data within the limit")
    if isinstance(failure, UpstreamUnreachable):
        message = "The upstream cannot be reached; nothing was sent to it"
    else:
        message = "The upstream broke the connection before its answer was complete"
    refusal = Refused(502, "upstream_unreachable", message)
    return AttemptFailed(Outcome.UPSTREAM_ERROR, 502, refusal)
