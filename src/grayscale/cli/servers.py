"""`relay`: the commands that stay in the foreground."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from grayscale.cli.options import DATA_DIR, DataDir
from grayscale.errors import SettingsError

_CONFIG = Path("grayscale.yaml")

Config = Annotated[
    Path | None, typer.Option("--config", help="Settings; by default ./grayscale.yaml.")
]
Listen = Annotated[str, typer.Option("--listen", metavar="HOST:PORT", help="For callers.")]


def relay(
    *,
    config: Config = None,
    data_dir: DataDir = DATA_DIR,
    listen: Listen = "127.0.0.1:8400",
    admin_listen: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Serve /v1/admin and /metrics here only."),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes on the one socket.")] = 1,
) -> None:
    """Run the relay alone, without Prefect."""
    from grayscale.relay.process import run_relay
    from grayscale.settings import load_settings

    settings = load_settings(_existing(config))
    raise typer.Exit(
        run_relay(
            settings=settings,
            data_dir=data_dir,
            listen=listen,
            admin_listen=admin_listen,
            workers=workers,
        )
    )


def _existing(config: Path | None) -> Path:
    path = config or _CONFIG
    if not path.exists():
        raise SettingsError(f"{path} is not there; name one with --config, or run: grayscale init")
    return path
