"""Reads plans: from files, which may share the fields between them, from text and from bodies."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path as FilePath
from typing import Any

from pydantic import ValidationError

from grayscale.plan.document import MAX_BYTES, Document, read_document
from grayscale.plan.errors import PlanError, Problem
from grayscale.plan.models import Plan
from grayscale.plan.problems import problems_of

StrPath = str | os.PathLike[str]


def load_plan(paths: StrPath | Iterable[StrPath]) -> Plan:
    """The plan that one or several files make together; no field may stand in two of them."""
    files = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    if not files:
        raise PlanError([Problem("no file was given; name at least one plan")])
    return _validated(_merged([_read(FilePath(file)) for file in files]))


def parse_plan(text: str, source: str) -> Plan:
    """The plan in `text`, YAML or JSON; `source` is what messages call it."""
    return _validated(_merged([read_document(text, source)]))


def plan_from_mapping(data: Mapping[str, Any]) -> Plan:
    """The plan in the body of a call; the problems of a PlanError have fields, but no lines."""
    return _validated(Document(dict(data)))


def _read(path: FilePath) -> Document:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        message = f"cannot be read ({error.strerror})"
        raise PlanError([Problem(message, file=str(path))]) from error
    if len(data) > MAX_BYTES:
        message = f"is longer than {MAX_BYTES} bytes (256 KiB), the most that a plan may have"
        raise PlanError([Problem(message, file=str(path))])
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"is not valid text (UTF-8): byte {error.start}"
        raise PlanError([Problem(message, file=str(path))]) from error
    return read_document(text, str(path))


def _merged(documents: list[Document]) -> Document:
    """One document of several, without the `x-` fields; raises PlanError where two overlap."""
    merged = Document({})
    problems = []
    for document in documents:
        for key, value in document.values.items():
            if key.startswith("x-"):
                continue
            if key in merged.values:
                problems.append(_overlap(key, merged, document))
            merged.values[key] = value
        merged.keys.update(document.keys)
        merged.marks.update(document.marks)
    if problems:
        raise PlanError(problems)
    merged.marks[()] = documents[0].marks[()]
    return merged


def _overlap(key: str, earlier: Document, later: Document) -> Problem:
    first, second = earlier.keys[key,], later.keys[key,]
    message = f"stands in {first.file}:{first.line} too; every field belongs into one file"
    return Problem(message, key, second.file, second.line, second.column)


def _validated(document: Document) -> Plan:
    try:
        return Plan.model_validate(document.values)
    except ValidationError as error:
        raise PlanError(problems_of(error, document)) from error
