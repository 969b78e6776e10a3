"""stdout is data, stderr is talk."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

import typer


def put(text: str) -> None:
    """One piece of data for people or pipes."""
    typer.echo(text)


def put_json(value: Any) -> None:
    """One JSON value, on several lines at a terminal and on one otherwise."""
    indent = 2 if sys.stdout.isatty() else None
    typer.echo(json.dumps(value, indent=indent, ensure_ascii=False))


def say(text: str) -> None:
    """Talk: progress, hints and questions, out of the way of pipes."""
    typer.echo(text, err=True)


def columns(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Aligned columns under capital heads; nothing is cut off, so that pipes get it all."""
    cells = [tuple(heads), *(tuple(_cell(value) for value in row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(heads))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )


def percent(value: float | None) -> str:
    """`12.5 %`, or a dash for what is not known."""
    return "-" if value is None else f"{value:g} %"


def duration(seconds: float) -> str:
    """`45 s`, `2 m 40 s`, `3 h 5 m` or `2 d 4 h`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} m {whole % 60} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60} m"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def _cell(value: object) -> str:
    return "-" if value in (None, "", []) else str(value)
