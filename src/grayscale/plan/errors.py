"""What is wrong with a plan: problems with file, line, column, field, value and nearest name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from grayscale.errors import GrayscaleError

_VALUE_LENGTH = 80


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a plan; lines and columns count from 1, None where unknown."""

    message: str
    field: str = ""
    file: str | None = None
    line: int | None = None
    column: int | None = None
    value: object = None
    nearest: str | None = None

    def __str__(self) -> str:
        place = ":".join(
            str(part) for part in (self.file, self.line, self.column) if part is not None
        )
        hint = f"; did you mean '{self.nearest}'?" if self.nearest else ""
        return ": ".join(part for part in (place, self.field, self.message + hint) if part)


class PlanError(GrayscaleError):
    """A plan that cannot be read or makes no sense; as text, one problem per line."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


def shortened(value: object) -> str:
    """A value as it stands in a message: short enough to read."""
    text = repr(value)
    return text if len(text) <= _VALUE_LENGTH else text[: _VALUE_LENGTH - 1] + "…"
