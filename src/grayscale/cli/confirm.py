"""Questions before dangerous commands, asked only where somebody can answer."""

from __future__ import annotations

import sys

import typer


def confirm(question: str, *, yes: bool) -> None:
    """Ask at a terminal unless `--yes`; scripts are not asked. A no ends the command."""
    if yes or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return
    typer.confirm(question, abort=True, err=True)
