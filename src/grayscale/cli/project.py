"""`init` and `lint`: commands on files, without a relay."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from grayscale.cli.exits import UsageProblem
from grayscale.cli.options import AsJson, DryRun
from grayscale.cli.output import put, put_json, say

_TEMPLATES = ("grayscale.yaml", "release.yaml")


def init(
    *,
    force: Annotated[bool, typer.Option("--force", help="Overwrite what is there.")] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Write a commented grayscale.yaml and a plan. Into the current folder."""
    there = [name for name in _TEMPLATES if Path(name).exists()]
    if there and not force:
        raise UsageProblem(
            f"{', '.join(there)}: already there; add --force to overwrite, or go to another folder"
        )
    for name in _TEMPLATES:
        if not dry_run:
            Path(name).write_text(_template(name), encoding="utf-8")
        if not as_json:
            put(name)
    if as_json:
        put_json({"written": list(_TEMPLATES), "dry_run": dry_run})
    say("Next: edit grayscale.yaml, export the keys that it names, then run: grayscale up")


def _template(name: str) -> str:
    text = files("grayscale.cli").joinpath("templates", name).read_text(encoding="utf-8")
    return text.replace("{name}", f"v{datetime.now(UTC):%Y.%m.%d}")
