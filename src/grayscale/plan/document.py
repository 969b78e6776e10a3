"""Reads YAML (and with it JSON) into plain values, and remembers where each one stands.

YAML's core schema only: `yes`, `on`, `1:30` and dates are text, `true`, `null` and `1e3` are not.
Duplicate keys are refused; nesting and what aliases expand to are bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from grayscale.plan.errors import PlanError, Problem

Path = tuple[str | int, ...]

MAX_BYTES = 256 * 1024
_MAX_DEPTH = 40
_MAX_VALUES = 20_000
_INT = re.compile(r"[-+]?[0-9]+", re.ASCII)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII)
_INFINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", re.ASCII)
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("null", "Null", "NULL", "~", ""), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a file; lines and columns count from 1."""

    file: str
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Document:
    """A file's top-level mapping, with the place of every key and every value."""

    values: dict[str, Any]
    keys: dict[Path, Mark] = field(default_factory=dict)
    marks: dict[Path, Mark] = field(default_factory=dict)

    def place(self, path: Path, *, of_key: bool) -> Mark | None:
        """Where `path` stands, or the nearest thing around it that is written down."""
        for length in range(len(path), -1, -1):
            inner = path[:length]
            first, second = (self.keys, self.marks) if of_key else (self.marks, self.keys)
            mark = first.get(inner) or second.get(inner)
            if mark is not None:
                return mark
        return None


def read_document(text: str, file: str) -> Document:
    """The document in `text`; raises PlanError with the place of what is wrong."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise PlanError([Problem("is not valid text (UTF-8)", file=file)]) from error
    if size > MAX_BYTES:
        message = f"is {size} bytes long; a plan has at most {MAX_BYTES}"
        raise PlanError([Problem(message, file=file)])
    try:
        return _Reader(file).read(_without_json_tabs(text))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (None, None)
        message = f"is not YAML: {error.problem or error.context}"
        raise PlanError([Problem(message, file=file, line=line, column=column)]) from error
    except yaml.YAMLError as error:
        raise PlanError([Problem(f"is not YAML: {error}", file=file)]) from error


def _without_json_tabs(text: str) -> str:
    """JSON may be indented with tabs, which YAML refuses; inside its strings there are none."""
    body = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    return text.replace("\t", " ") if body.lstrip().startswith("{") else text


class _Reader:
    """One pass over a file's events."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._keys: dict[Path, Mark] = {}
        self._marks: dict[Path, Mark] = {}
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._values = 0

    def read(self, text: str) -> Document:
        events: Iterator[Any] = yaml.parse(text, Loader=yaml.SafeLoader)
        next(events)
        begin = next(events)
        if isinstance(begin, yaml.StreamEndEvent):
            raise self._wrong(begin, "is empty; a plan has at least version_name")
        first = next(events)
        value = self._value(first, events, ())
        if not isinstance(value, dict):
            raise self._wrong(first, "is no mapping; a plan has keys such as version_name")
        next(events)
        after = next(events)
        if not isinstance(after, yaml.StreamEndEvent):
            raise self._wrong(after, "holds a second document; a plan is one")
        return Document(value, self._keys, self._marks)

    def _value(self, event: Any, events: Iterator[Any], path: Path) -> Any:
        before = self._values
        self._count(event, 1)
        self._marks[path] = self._mark(event)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        if len(path) > _MAX_DEPTH:
            raise self._wrong(event, f"is nested deeper than {_MAX_DEPTH} levels")
        if isinstance(event, yaml.ScalarEvent):
            value = self._scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = self._sequence(events, path)
        else:
            value = self._mapping(events, path)
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, self._values - before)
        return value

    def _sequence(self, events: Iterator[Any], path: Path) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            items.append(self._value(event, events, (*path, len(items))))
        return items

    def _mapping(self, events: Iterator[Any], path: Path) -> dict[str, Any]:
        items: dict[str, Any] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise self._wrong(event, "is no name for a field; use plain text")
            key = self._text(event)
            where = (*path, key)
            if key in items:
                first = self._keys[where]
                raise self._wrong(event, f"'{key}' is there twice, first in line {first.line}")
            self._keys[where] = self._mark(event)
            items[key] = self._value(next(events), events, where)
        return items

    def _alias(self, event: Any) -> Any:
        if event.anchor not in self._anchors:
            raise self._wrong(event, f"*{event.anchor} stands for nothing before it")
        value, size = self._anchors[event.anchor]
        self._count(event, size)
        return value

    def _scalar(self, event: Any) -> Any:
        text = self._text(event)
        if not event.implicit[0]:
            return text
        if text in _WORDS:
            return _WORDS[text]
        if _INT.fullmatch(text) and len(text) < 400:
            return int(text)
        if _FLOAT.fullmatch(text):
            return float(text)
        if _INFINITE.fullmatch(text):
            raise self._wrong(event, f"{text} is no number that a plan can use")
        return text

    def _text(self, event: Any) -> str:
        """A scalar's text; JSON writes what lies beyond 16 bits as two halves, joined here."""
        if event.tag is not None and event.tag not in {"!", "tag:yaml.org,2002:str"}:
            raise self._wrong(event, f"has the tag {event.tag}; plans are plain values")
        try:
            return str(event.value.encode("utf-16", "surrogatepass").decode("utf-16"))
        except UnicodeDecodeError as error:
            raise self._wrong(event, "holds half a character") from error

    def _count(self, event: Any, more: int) -> None:
        self._values += more
        if self._values > _MAX_VALUES:
            message = f"expands to more than {_MAX_VALUES} values; write fewer, or fewer aliases"
            raise self._wrong(event, message)

    def _mark(self, event: Any) -> Mark:
        mark = event.start_mark
        return Mark(self._file, mark.line + 1, mark.column + 1)

    def _wrong(self, event: Any, message: str) -> PlanError:
        mark = self._mark(event)
        return PlanError([Problem(message, file=mark.file, line=mark.line, column=mark.column)])
