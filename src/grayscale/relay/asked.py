"""What a call asks of its answer beyond text: JSON, or calls of its tools."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

_NULL = msgspec.Raw(b"null")
_NO_TOOLS = (_NULL, msgspec.Raw(b"[]"))
_JSON = frozenset({"json_object", "json_schema"})


class _Format(msgspec.Struct):
    type: str | None = None


class _TextOptions(msgspec.Struct):
    format: _Format | None = None


class _Named(msgspec.Struct):
    name: str | None = None


class _Tool(msgspec.Struct):
    name: str | None = None
    function: _Named | None = None
    custom: _Named | None = None
    tools: list[_Tool] | None = None


_FORMAT = msgspec.json.Decoder(_Format)
_TEXT_OPTIONS = msgspec.json.Decoder(_TextOptions)
_TOOLS = msgspec.json.Decoder(list[_Tool])


class Asked(msgspec.Struct, frozen=True):
    """What the caller asked for, whatever a version makes of it; `tools` is the field as sent."""

    json: bool = False
    tools: msgspec.Raw | None = None

    def tool_names(self) -> frozenset[str] | None:
        """The names that may be called; None if `tools` cannot be read."""
        try:
            return frozenset(_names(_TOOLS.decode(self.tools or b"[]")))
        except (msgspec.DecodeError, RecursionError):
            return None


PLAIN_TEXT = Asked()


def read_asked(fields: dict[str, msgspec.Raw]) -> Asked:
    """What a body's top-level fields ask for; what is malformed is the upstream's to judge."""
    tools = fields.get("tools")
    if tools in _NO_TOOLS:
        tools = None
    json = "response_format" in fields or "text" in fields
    if not json and tools is None:
        return PLAIN_TEXT
    return Asked(json=json and _is_json(fields), tools=tools)


def _is_json(fields: dict[str, msgspec.Raw]) -> bool:
    try:
        asked = _FORMAT.decode(fields.get("response_format", b"{}"))
        if asked.type is None:
            options = _TEXT_OPTIONS.decode(fields.get("text", b"{}"))
            asked = options.format or asked
    except msgspec.DecodeError:
        return False
    return asked.type in _JSON


def _names(tools: Iterable[_Tool]) -> Iterable[str]:
    for tool in tools:
        for named in (tool, tool.function, tool.custom):
            if named is not None and named.name is not None:
                yield named.name
        yield from _names(tool.tools or ())
