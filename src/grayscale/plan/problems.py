"""Turns what pydantic found wrong into problems that say what to write instead."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from grayscale.plan.document import Document, Path
from grayscale.plan.errors import Problem, shortened
from grayscale.plan.faults import FAULT_TYPE
from grayscale.plan.models import Plan

_OF_MODEL = re.compile(" or instance of [A-Za-z]+")
_QUOTED = re.compile("'([^']*)'")


def problems_of(error: ValidationError, document: Document) -> tuple[Problem, ...]:
    """The problems in the order of the file."""
    details = error.errors(include_url=False)
    paths = [detail["loc"] for detail in details]
    problems = [
        _problem(detail, document)
        for detail in details
        if detail["type"] != "too_short" or not _has_deeper(detail["loc"], paths)
    ]
    return tuple(sorted(problems, key=_place))


def _place(problem: Problem) -> tuple[str, int, int]:
    return problem.file or "", problem.line or 0, problem.column or 0


def _has_deeper(path: Path, paths: Iterable[Path]) -> bool:
    """Whether something inside is wrong, too: pydantic counts only the items that were right."""
    return any(other[: len(path)] == path and other != path for other in paths)


def _problem(detail: ErrorDetails, document: Document) -> Problem:
    path, nearest, of_key = detail["loc"], None, False
    value: object = detail["input"]
    context: dict[str, Any] = detail.get("ctx", {})
    match detail["type"]:
        case "extra_forbidden":
            message, of_key, value = "is no field of a plan", True, None
            nearest = _nearest(str(path[-1]), _fields_at(path[:-1]))
        case "missing":
            message, of_key, value = "is missing", True, None
        case "literal_error":
            message = f"must be {context['expected']}, not {shortened(value)}"
            nearest = _nearest(str(value), _QUOTED.findall(context["expected"]))
        case kind if kind == FAULT_TYPE:
            message, nearest = context["message"], context["nearest"]
            path = (*path, *context["at"])
            value = _value_at(document, path)
        case "string_type":
            message = f"must be text, not {shortened(value)}; put it in quotes"
        case _:
            message = f"{_as_end(detail['msg'])}, not {shortened(value)}"
    mark = document.place(path, of_key=of_key)
    return Problem(
        message,
        field=_written(path),
        file=mark.file if mark else None,
        line=mark.line if mark else None,
        column=mark.column if mark else None,
        value=value,
        nearest=nearest,
    )


def _as_end(message: str) -> str:
    """Pydantic's "Input should be …" as the end of "field: …"."""
    plain = message.removesuffix(", unable to interpret input")
    return _OF_MODEL.sub("", plain.replace("Input should", "must", 1))


def _written(path: Path) -> str:
    """`("rollback_rules", 0, "name")` as `rollback_rules[0].name`."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in path]
    return "".join(parts).removeprefix(".")


def _value_at(document: Document, path: Path) -> object:
    value: Any = document.values
    for part in path:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def _nearest(name: str, known: Iterable[str]) -> str | None:
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return near[0] if near else None


def _fields_at(path: Path) -> list[str]:
    """The names of the fields that the plan has at `path`."""
    models: list[type[BaseModel]] = [Plan]
    for part in path:
        if isinstance(part, str):
            fields = [model.model_fields[part] for model in models if part in model.model_fields]
            models = [inner for known in fields for inner in _models_in(known.annotation)]
    return [name for model in models for name in model.model_fields]


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that an annotation names: itself, of its items, or of its alternatives."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)
