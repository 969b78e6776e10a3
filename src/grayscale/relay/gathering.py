"""The pieces of a stream's JSON or tool calls, kept while they are small enough to be judged."""

from __future__ import annotations

import msgspec

from grayscale.relay.answer import UNREADABLE, CallPart, Choice, ToolCall
from grayscale.relay.asked import Asked

MAX_GATHERED_BYTES = 1024 * 1024
_SAYS_NOTHING = (b"", b"[DONE]")
_BYTES_PER_CALL = 64  # so that empty calls without end are too much, too


class _Chunk(msgspec.Struct):
    choices: list[Choice] | None = None


class _OpenCall(msgspec.Struct):
    id: str | None = None
    name: str | None = None
    arguments: bytearray = msgspec.field(default_factory=bytearray)
    is_free: bool = False


_CHUNK = msgspec.json.Decoder(_Chunk)


class Gathering:
    """All tool calls, and the text of choice 0 if JSON was asked for."""

    __slots__ = ("_asked", "_calls", "_given_up", "_open", "_size_bytes", "_text")

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._text = bytearray()
        self._calls: list[_OpenCall] = []
        self._open: dict[tuple[int, int], _OpenCall] = {}
        self._size_bytes = 0
        self._given_up = False

    @property
    def text(self) -> str | None:
        """The whole text; None if it was not asked for, or given up."""
        if self._given_up or not self._asked.json:
            return None
        return self._text.decode()

    @property
    def calls(self) -> list[ToolCall]:
        """The whole calls; none if they were given up."""
        if self._given_up:
            return []
        return [
            ToolCall(call.name, None if call.is_free else call.arguments.decode())
            for call in self._calls
        ]

    def wants(self, events: bytes) -> bool:
        """Whether there may be something in `events` to gather."""
        if self._given_up:
            return False
        return (self._asked.json and b'"choices"' in events) or b'"tool_calls"' in events

    def take(self, data: bytes) -> None:
        """Gather what an event adds; all is given up if it is too much, or cannot be read."""
        try:
            chunk = _CHUNK.decode(data)
        except UNREADABLE:
            if data.strip() not in _SAYS_NOTHING:
                self._give_up()
            return
        for choice in chunk.choices or ():
            self._add(choice)
        if self._size_bytes > MAX_GATHERED_BYTES:
            self._give_up()

    def _add(self, choice: Choice) -> None:
        number, delta = choice.index or 0, choice.delta
        content = choice.text or (delta.content if delta is not None else None)
        if content and number == 0 and self._asked.json:
            self._add_text(content)
        for part in delta.tool_calls or () if delta is not None else ():
            self._add_call(number, part)

    def _add_text(self, content: str | list[msgspec.Raw]) -> None:
        if isinstance(content, str):
            text = content.encode()
            self._text += text
            self._size_bytes += len(text)
        else:
            self._give_up()

    def _add_call(self, choice: int, part: CallPart) -> None:
        place = (choice, part.index or 0)
        call = self._open.get(place)
        if call is None or (part.id and call.id and part.id != call.id):  # some number all calls 0
            call = self._open[place] = _OpenCall()
            self._calls.append(call)
            self._size_bytes += _BYTES_PER_CALL
        call.id = call.id or part.id
        called = part.function or part.custom
        if called is None:
            return
        call.name = call.name or called.name
        if isinstance(called.arguments, str):
            piece = called.arguments.encode()
            call.arguments += piece
            self._size_bytes += len(piece)
        elif called is part.custom or called.arguments is not None:
            call.is_free = True

    def _give_up(self) -> None:
        self._given_up = True
        self._text.clear()
        self._calls.clear()
        self._open.clear()
