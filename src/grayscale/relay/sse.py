"""Server-sent events on their way through: whole events pass as bytes, a few are looked into.

Pure: bytes in, bytes out. An event leaves only when it is whole, so that a cut stream can still be
ended with an error event. Most chunks cost a few searches; JSON is read only in events
that carry usage, an error or an ending.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import msgspec

from grayscale.relay.answer import UNREADABLE, Seen, Shape, Signals, read_signals, signals_from
from grayscale.relay.asked import PLAIN_TEXT, Asked
from grayscale.relay.gathering import Gathering
from grayscale.relay.metering import Usage, UsageFields

_BOUNDARY = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_BOUNDARIES = (b"\n\n", b"\n\r\n", b"\r\r")
_USAGE = re.compile(rb'"usage"\s*:\s*\{')
_ERROR = re.compile(rb'"error"\s*:\s*[{"]|:\s*"error"|^event:\s*error', re.MULTILINE)
_CONTENT = re.compile(
    rb'"(content|text|delta|arguments|transcript|reasoning_content|reasoning|refusal)"\s*:\s*"[^"]'
)
_NO_ANSWER = frozenset({b"reasoning_content", b"reasoning", b"refusal"})
# These begin with their longest word, which `re` looks for as fast as `in` does.
_TEXT = re.compile(rb'"content"\s*:\s*(?:"[^"]|\[\s*\{)')
_CALL = re.compile(rb'_call(?:s"\s*:\s*\[\s*\{|"\s*:\s*\{)')
_REFUSAL = re.compile(rb'"refusal"\s*:\s*"[^"]')
_FINISH = re.compile(rb'"finish_reason"\s*:\s*"(\w+)')
_ENDINGS = frozenset({"response.completed", "response.incomplete"})
_RESPONSE_END = re.compile(rb"response\.(?:completed|incomplete|failed)")
_LONGEST_BOUNDARY = 4
MAX_EVENT_BYTES = 16 * 1024 * 1024


class EventTooLong(Exception):
    """An event that is longer than any that the relay keeps in memory."""


_NULL = msgspec.Raw(b"null")


class _Response(Shape):
    usage: UsageFields | None = None


class _Data(msgspec.Struct):
    type: str | None = None
    error: msgspec.Raw = _NULL
    usage: UsageFields | None = None
    choices: list[msgspec.Raw] | None = None
    response: _Response | None = None


_DATA = msgspec.json.Decoder(_Data)


class EventScanner:
    """What one stream has shown so far."""

    __slots__ = (
        "_asked",
        "_ending",
        "_gathering",
        "_held",
        "_present",
        "_refused",
        "_strips_usage",
        "_truncated",
        "content_seen",
        "data_seen",
        "done",
        "error",
        "error_event",
        "usage",
    )

    def __init__(self, *, strips_usage: bool, asked: Asked = PLAIN_TEXT) -> None:
        self._strips_usage = strips_usage
        self._asked = asked
        self._gathering = Gathering(asked) if asked != PLAIN_TEXT else None
        self._held = bytearray()
        self._ending: Shape | None = None
        self._present = False
        self._refused = False
        self._truncated = False
        self.data_seen = False
        self.content_seen = False
        self.done = False
        self.error: bytes | None = None
        self.error_event = b""
        self.usage: Usage | None = None

    def has_ended(self) -> bool:
        """Whether nothing more comes out: an ending or an error was seen."""
        return self.done or self.error is not None

    def feed(self, chunk: bytes) -> bytes:
        """The whole events that `chunk` completes, less those that the caller did not ask for.

        After an ending or an error nothing more comes out; an error's own event does not either
        (it is in `error`).
        """
        whole = chunk if not self._held and chunk.endswith(b"\n\n") else self._completed(chunk)
        if not whole or self.has_ended():
            return b""
        if _is_interesting(whole):
            whole = b"".join(self._inspected(whole))
        self.data_seen = self.data_seen or b"data:" in whole
        self._look_at(whole)
        return whole

    def finish(self) -> bytes:
        """The upstream is done: an ending without its blank line still is one."""
        if not self._held:
            return b""
        return self.feed(b"\n\n")

    def signals(self) -> Signals:
        """What a stream that is done showed."""
        ending, gathering = self._ending, self._gathering
        if ending is not None:
            if self._present and not ending.has_output():  # it does not repeat what was sent
                return Signals(self.usage)
            return read_signals(ending, self._asked, self.usage)
        seen = Seen(refused=self._refused, truncated=self._truncated, present=self._present)
        if gathering is not None:
            seen.text, seen.calls = gathering.text, gathering.calls
        return signals_from(seen, self._asked, self.usage)

    def _look_at(self, whole: bytes) -> None:
        """Note what passes: content, a refusal, an early end, what is to be gathered."""
        if not self._present:
            self._look_for_content(whole)
        if not self._refused and _REFUSAL.search(whole) is not None:
            self._refused = True
        if _FINISH.search(whole) is not None:
            reasons = _FINISH.findall(whole)
            self._refused = self._refused or b"content_filter" in reasons
            self._truncated = self._truncated or b"length" in reasons
        if self._gathering is not None and self._gathering.wants(whole):
            for data in _datas(whole):
                self._gathering.take(data)

    def _look_for_content(self, whole: bytes) -> None:
        if not self.content_seen:
            found = _CONTENT.search(whole)
            self.content_seen = found is not None
            self._present = found is not None and found[1] not in _NO_ANSWER
        if not self._present:
            self._present = _TEXT.search(whole) is not None or _CALL.search(whole) is not None

    def _completed(self, chunk: bytes) -> bytes:
        """Everything up to the last event boundary; the rest is held back."""
        looked_at = max(0, len(self._held) - _LONGEST_BOUNDARY + 1)
        self._held += chunk
        end = 0
        for boundary in _BOUNDARIES:
            found = self._held.rfind(boundary, looked_at)
            if found >= 0:
                end = max(end, found + len(boundary))
        if len(self._held) - end > MAX_EVENT_BYTES:
            raise EventTooLong
        whole = bytes(self._held[:end])
        del self._held[:end]
        return whole

    def _inspected(self, whole: bytes) -> Iterator[bytes]:
        for event in _events(whole):
            name, data = _name_and_data(event)
            if data.strip() == b"[DONE]":
                self.done = True
                yield event
                return
            if not self._is_stripped(name, data):
                if self.error is not None:
                    self.error_event = event
                    return
                yield event
            if self.done:
                return

    def _is_stripped(self, name: bytes, data: bytes) -> bool:
        """Take in what a JSON event says; whether the caller is not to see it."""
        try:
            told = _DATA.decode(data)
        except UNREADABLE:
            return False  # passed on as sent: its meaning is between upstream and caller
        if bytes(told.error) != b"null" or name == b"error" or told.type == "error":
            self.error = data
        usage = told.usage or (told.response.usage if told.response is not None else None)
        if usage is not None:
            self.usage = usage.read()
        if told.type in _ENDINGS:
            self.done, self._ending = True, told.response
        if told.type == "response.failed":
            self.error, self.done = data, True
        return self._strips_usage and told.usage is not None and told.choices == []


def _is_interesting(whole: bytes) -> bool:
    """Whether an ending, usage or an error may be in it; plain searches, as most chunks are none."""
    return (
        b"[DONE]" in whole
        or _USAGE.search(whole) is not None
        or (b"error" in whole and _ERROR.search(whole) is not None)
        or (b"response." in whole and _RESPONSE_END.search(whole) is not None)
    )


def _events(whole: bytes) -> Iterator[bytes]:
    start = 0
    if b"\r" not in whole:  # as nearly always; a plain search is ten times as fast
        while (found := whole.find(b"\n\n", start)) >= 0:
            yield whole[start : found + 2]
            start = found + 2
        return
    for boundary in _BOUNDARY.finditer(whole):
        yield whole[start : boundary.end()]
        start = boundary.end()


def _datas(whole: bytes) -> Iterable[bytes]:
    if whole.startswith(b"data:") and whole.find(b"\n") >= len(whole) - 3:
        return (whole[5:],)  # one event of one line, as most pieces are
    return [_name_and_data(event)[1] for event in _events(whole)]


def _name_and_data(event: bytes) -> tuple[bytes, bytes]:
    name, data = b"", []
    for line in event.splitlines():
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value
    return name, b"\n".join(data)
