"""What a check of `grayscale doctor` has found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was looked at, how it is, and what to do if it is not well."""

    what: str
    state: Literal["ok", "note", "broken"]
    text: str

    def __str__(self) -> str:
        mark = {"ok": "✔", "note": "॥", "broken": "✖"}[self.state]
        return f"{mark} {self.what + ':':<12}{self.text}"


def ok(what: str, text: str) -> Finding:
    """All is well."""
    return Finding(what, "ok", text)


def note(what: str, text: str) -> Finding:
    """Worth knowing; nothing is broken."""
    return Finding(what, "note", text)


def broken(what: str, text: str) -> Finding:
    """Something will not work until it is put right."""
    return Finding(what, "broken", text)
