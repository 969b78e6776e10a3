"""Options that several commands share, so that each means the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON to stdout.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show the request that would be made; change nothing.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask at a terminal.")]
DataDir = Annotated[
    Path,
    typer.Option("--data-dir", envvar="GRAYSCALE_DATA_DIR", help="Where the relay keeps its data."),
]
CONFIG = Path("grayscale.yaml")
DATA_DIR = Path(".grayscale")
ReleaseName = Annotated[
    str,
    typer.Argument(
        metavar="RELEASE", help="A release id (rel_…), or a version name: its newest release."
    ),
]
Reason = Annotated[str | None, typer.Option("--reason", help="Why; kept with the change.")]
Note = Annotated[str | None, typer.Option("--note", help="A word for the record.")]
