"""What one answer showed: refused, empty or cut short; whether asked-for JSON and calls are sound.

An answer is first `Seen`, in a whole body or by a stream's scanner; `signals_from` concludes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from grayscale.relay.asked import Asked
from grayscale.relay.metering import Usage
from grayscale.traffic.counters import Cell

NULL = msgspec.Raw(b"null")
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What reading a piece of JSON may raise."""

_NO_ITEMS = (NULL, msgspec.Raw(b"[]"))
_UNFINISHED = tuple(msgspec.Raw(f'"{s}"'.encode()) for s in ("queued", "in_progress", "cancelled"))


class Signals(msgspec.Struct, frozen=True):
    """What one good answer showed; `json_valid` and `tools_valid` are None if nothing was due."""

    usage: Usage | None = None
    refused: bool = False
    empty: bool = False
    truncated: bool = False
    json_valid: bool | None = None
    tools_valid: bool | None = None

    def count_in(self, cell: Cell) -> None:
        """Add what the answer showed to `cell`."""
        cell.refused += self.refused
        cell.empty += self.empty
        cell.truncated += self.truncated
        if self.json_valid is not None:
            cell.json_asked += 1
            cell.json_invalid += not self.json_valid
        if self.tools_valid is not None:
            cell.tools_called += 1
            cell.tools_invalid += not self.tools_valid


NOTHING_SHOWN = Signals()


class ToolCall(msgspec.Struct):
    """A call of a caller's tool; `arguments` is None where any will do."""

    name: str | None
    arguments: str | None


class Seen(msgspec.Struct):
    """An answer's traits as they were found.

    `present`: there was content or a call, in any choice. `text` is that of choice 0, None if it
    is not known; `calls` are those that are known.
    """

    refused: bool = False
    truncated: bool = False
    present: bool = False
    text: str | None = None
    calls: Sequence[ToolCall] = ()


class Called(msgspec.Struct):
    """What a call names, and with which arguments (text, as OpenAI has it, or an object)."""

    name: str | None = None
    arguments: str | dict[str, msgspec.Raw] | None = None


class CallPart(msgspec.Struct):
    """A tool call of a message, or a piece of one in a delta."""

    index: int | None = None
    id: str | None = None
    function: Called | None = None
    custom: Called | None = None


class Message(msgspec.Struct):
    """A chat message or a delta of one."""

    content: str | list[msgspec.Raw] | None = None
    refusal: str | None = None
    tool_calls: list[CallPart] | None = None
    function_call: msgspec.Raw = NULL
    audio: msgspec.Raw = NULL


class Choice(msgspec.Struct):
    """A choice of a chat or text completion, whole or in a stream."""

    index: int | None = None
    finish_reason: str | None = None
    message: Message | None = None
    delta: Message | None = None
    text: str | None = None


class _Part(msgspec.Struct):
    text: str | None = None
    refusal: str | None = None


class _Item(Called):
    type: str | None = None
    content: list[_Part] | str | None = None


class _Incomplete(msgspec.Struct):
    reason: str | None = None


class Shape(msgspec.Struct):
    """Where an answer's body, or the response in a stream's last event, says what came out."""

    choices: msgspec.Raw = NULL
    output: msgspec.Raw = NULL
    status: msgspec.Raw = NULL
    incomplete_details: msgspec.Raw = NULL

    def has_output(self) -> bool:
        """Whether it lists items of the responses surface."""
        return self.output not in _NO_ITEMS


_CHOICES = msgspec.json.Decoder(list[Choice] | None)
_ITEMS = msgspec.json.Decoder(list[_Item] | None)
_INCOMPLETE = msgspec.json.Decoder(_Incomplete | None)
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ANY = msgspec.json.Decoder(msgspec.Raw)
_NO_MESSAGE = Message()


def read_signals(shape: Shape, asked: Asked, usage: Usage | None) -> Signals:
    """What a whole answer showed; only its usage where its fields are of types unknown to us."""
    if shape.status in _UNFINISHED:
        return Signals(usage)
    try:
        return signals_from(_seen_in(shape), asked, usage)
    except UNREADABLE:
        return Signals(usage)


def signals_from(seen: Seen, asked: Asked, usage: Usage | None) -> Signals:
    """What to count of an answer: JSON is due unless it was refused, cut short, or a tool call."""
    empty = not (seen.present or seen.refused)
    json_valid = tools_valid = None
    if asked.tools is not None and seen.calls:
        names = asked.tool_names()
        if names is not None:
            tools_valid = all(_is_sound(call, names) for call in seen.calls)
    if asked.json and not (seen.refused or seen.truncated or seen.calls):
        json_valid = _is_json(seen.text, due=empty)
    return Signals(usage, seen.refused, empty, seen.truncated, json_valid, tools_valid)


def _is_sound(call: ToolCall, names: frozenset[str]) -> bool:
    if call.name not in names:
        return False
    return call.arguments is None or _decodes(_OBJECT, call.arguments)


def _is_json(text: str | None, *, due: bool) -> bool | None:
    if text is None or not (text or due):  # not known, or something else than text
        return None
    return _decodes(_ANY, text)


def _decodes(decoder: msgspec.json.Decoder[Any], text: str) -> bool:
    try:
        decoder.decode(text)
    except UNREADABLE:
        return False
    return True


def _seen_in(shape: Shape) -> Seen:
    if shape.output != NULL:
        return _seen_in_items(_ITEMS.decode(shape.output) or [], shape.incomplete_details)
    return _seen_in_choices(_CHOICES.decode(shape.choices) or [])


def _seen_in_choices(choices: list[Choice]) -> Seen:
    seen = Seen(text="")
    for number, choice in enumerate(choices):
        message = choice.message or _NO_MESSAGE
        content = message.content or choice.text
        if number == 0 and content:
            seen.text = content if isinstance(content, str) else None
        if message.tool_calls:
            seen.calls = [*seen.calls, *map(_call_in, message.tool_calls)]
        if content or message.tool_calls or _is_other(message):
            seen.present = True
        if message.refusal or choice.finish_reason == "content_filter":
            seen.refused = True
        if choice.finish_reason == "length":
            seen.truncated = True
    return seen


def _call_in(part: CallPart) -> ToolCall:
    if part.custom is not None:
        return ToolCall(part.custom.name, None)
    return _call_of(part.function or Called())


def _call_of(called: Called) -> ToolCall:
    arguments = called.arguments  # those that come as an object need no further look
    return ToolCall(called.name, None if isinstance(arguments, dict) else arguments or "")


def _is_other(message: Message) -> bool:
    return message.function_call != NULL or message.audio != NULL


def _seen_in_items(items: Iterable[_Item], incomplete_details: msgspec.Raw) -> Seen:
    incomplete = _INCOMPLETE.decode(incomplete_details) or _Incomplete()
    seen = Seen(
        refused=incomplete.reason == "content_filter",
        truncated=incomplete.reason == "max_output_tokens",
        text="",
    )
    for item in items:
        if item.type == "message":
            _see_message(seen, item)
        elif item.type != "reasoning":
            seen.present = True
            seen.calls = [*seen.calls, *_calls_in(item)]
    return seen


def _see_message(seen: Seen, item: _Item) -> None:
    parts = item.content if isinstance(item.content, list) else []
    text = "".join(part.text or "" for part in parts)
    if text:
        seen.present, seen.text = True, text  # the last message is the answer
    if any(part.refusal for part in parts):
        seen.refused = True


def _calls_in(item: _Item) -> Iterable[ToolCall]:
    if item.type == "function_call":
        yield _call_of(item)
    elif item.type == "custom_tool_call":
        yield ToolCall(item.name, None)
