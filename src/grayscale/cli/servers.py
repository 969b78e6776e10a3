"""`relay`, `up`, `demo`: the commands that stay in the foreground."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from grayscale.cli.options import CONFIG, DATA_DIR, AsJson, DataDir
from grayscale.cli.output import put, say
from grayscale.errors import SettingsError

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
    import asyncio

    from grayscale.errors import SettingsError
    from grayscale.plane.bootstrap import KEY_FILE, admin_key
    from grayscale.relay.process import run_relay
    from grayscale.relay.service import set_up
    from grayscale.settings import load_settings

    settings = load_settings(_existing(config))
    given = os.environ.get("GRAYSCALE_ADMIN_KEY")
    made = asyncio.run(set_up(settings, data_dir, given_key=given))
    if made is not None:
        say(f"Admin key (shown this once, kept in {data_dir / KEY_FILE}): {made}")
    try:
        admin_key(data_dir, given=given)
    except SettingsError as error:
        say(f"The relay serves, but commands on this machine have {error}.")
    _log_to_stderr()
    raise typer.Exit(
        run_relay(
            settings=settings,
            data_dir=data_dir,
            listen=listen,
            admin_listen=admin_listen,
            workers=workers,
        )
    )


def up(
    *,
    config: Config = None,
    data_dir: DataDir = DATA_DIR,
    listen: Listen = "127.0.0.1:8400",
    prefect_port: Annotated[int, typer.Option(min=0, max=65535, help="For Prefect.")] = 4200,
    workers: Annotated[int, typer.Option(min=1, help="Relay processes on the one socket.")] = 1,
) -> None:
    """Run relay and Prefect together. Ctrl-C ends them all."""
    from grayscale.up.run import run_up

    if config is None and CONFIG.exists():
        config = CONFIG
    raise typer.Exit(
        run_up(
            config=config,
            data_dir=data_dir,
            listen=listen,
            prefect_port=prefect_port,
            workers=workers,
            put=put,
            say=say,
        )
    )


def demo(*, as_json: AsJson = False) -> None:
    """Watch a good and a bad release, on real parts."""
    from grayscale.demo.run import run_demo

    raise typer.Exit(run_demo(as_json=as_json))


def _log_to_stderr() -> None:
    import logging

    layout = "%(asctime)s relay %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(level=logging.INFO, format=layout)


def _existing(config: Path | None) -> Path:
    path = config or CONFIG
    if not path.exists():
        raise SettingsError(f"{path} is not there; name one with --config, or run: grayscale init")
    return path
