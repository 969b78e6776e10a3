"""What a test upstream says in one answer, piece by piece, before it has a format."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from itertools import cycle, islice
from typing import Any

from grayscale.testing.behaviour import Look

_WORDS = (
    "light",
    "turns",
    "up",
    "by",
    "ten",
    "percent",
    "and",
    "stays",
    "while",
    "it",
    "is",
    "well",
)
_REFUSAL = ("I", " cannot", " help", " with", " that", ".")
_ARGUMENTS = ('{"', "city", '": "', "Berlin", '"}')
_JSON_FORMATS = frozenset({"json_object", "json_schema"})


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of one of the caller's tools, or of none of them."""

    name: str
    argument_pieces: tuple[str, ...]

    @property
    def arguments(self) -> str:
        """The arguments as they are to be read: JSON, if all is well."""
        return "".join(self.argument_pieces)


@dataclass(frozen=True, slots=True)
class Said:
    """Content or a refusal, token by token, or a call; none of them in an empty answer."""

    content: tuple[str, ...] = ()
    refusal: tuple[str, ...] = ()
    call: ToolCall | None = None
    truncated: bool = False

    @property
    def text(self) -> str:
        """The whole content."""
        return "".join(self.content)

    @property
    def refusal_text(self) -> str | None:
        """The whole refusal, or none."""
        return "".join(self.refusal) or None

    @property
    def tokens(self) -> int:
        """How many tokens were said."""
        arguments = self.call.argument_pieces if self.call is not None else ()
        return len(self.content) + len(self.refusal) + len(arguments)

    @property
    def finish_reason(self) -> str:
        """Why it ended, in the words of chat completions."""
        if self.truncated:
            return "length"
        return "tool_calls" if self.call is not None else "stop"


@dataclass(frozen=True)
class Reply:
    """One answer before it has a format: who answers, to what, how long, and how it looks."""

    number: int
    model: str
    tokens: int
    prompt_bytes: int
    request: dict[str, Any]
    look: Look

    @cached_property
    def said(self) -> Said:
        """What the answer says."""
        look = self.look
        if look.is_refused:
            return Said(refusal=_REFUSAL)
        if look.is_empty:
            return Said()
        tool = _first_tool(self.request)
        if tool is not None and look.calls_tool:
            return Said(call=_call_of(tool, look))
        content = self._content()
        if look.is_truncated:
            return Said(content[: max(1, len(content) // 2)], truncated=True)
        return Said(content)

    @property
    def prompt_tokens(self) -> int:
        """About four bytes to a token."""
        return self.prompt_bytes // 4 + 1

    @property
    def include_usage(self) -> bool:
        """Whether the caller asked for the usage chunk."""
        options = self.request.get("stream_options")
        return isinstance(options, dict) and options.get("include_usage") is True

    def _content(self) -> tuple[str, ...]:
        """Words that name the model that really answered; in JSON if that was asked for."""
        opening = ["This", " is", f" {self.model}", ":"]
        filler = (f" {word}" for word in cycle(_WORDS))
        words = [*opening, *islice(filler, max(0, self.tokens - len(opening)))]
        if not _asks_for_json(self.request):
            return tuple(words)
        quoted = (json.dumps(word)[1:-1] for word in words)
        return ('{"text": "', *quoted, *(() if self.look.spoils_json else ('"}',)))


def _asks_for_json(request: dict[str, Any]) -> bool:
    options = request.get("text")
    wanted = options.get("format") if isinstance(options, dict) else request.get("response_format")
    return isinstance(wanted, dict) and wanted.get("type") in _JSON_FORMATS


def _first_tool(request: dict[str, Any]) -> str | None:
    """The name of the first tool, wherever the surface keeps it."""
    tools = request.get("tools")
    if not isinstance(tools, list) or not tools or not isinstance(tools[0], dict):
        return None
    name = tools[0].get("function", tools[0]).get("name")
    return name if isinstance(name, str) else None


def _call_of(tool: str, look: Look) -> ToolCall:
    name = "no_such_tool" if look.misnames_tool else tool
    return ToolCall(name, _ARGUMENTS[:-1] if look.spoils_arguments else _ARGUMENTS)
