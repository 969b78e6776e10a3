"""`doctor`: one line for everything that has to be right."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from grayscale.cli.exits import ExitCode
from grayscale.cli.options import CONFIG, DATA_DIR, AsJson, DataDir
from grayscale.cli.output import put, put_json, say

if TYPE_CHECKING:
    from grayscale.cli.finding import Finding


def doctor(
    *,
    config: Annotated[Path, typer.Option("--config", help="Settings.")] = CONFIG,
    data_dir: DataDir = DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Find out what is broken. Exits with 1 if something is."""
    found = _examine(config, data_dir)
    if as_json:
        put_json([{"what": f.what, "state": f.state, "text": f.text} for f in found])
    else:
        for finding in found:
            put(str(finding))
    bad = sum(finding.state == "broken" for finding in found)
    if bad:
        say(f"{bad} of {len(found)} need attention.")
        raise typer.Exit(ExitCode.FAILED)


def _examine(config: Path, data_dir: Path) -> list[Finding]:
    from grayscale.cli.finding import broken
    from grayscale.cli.machine_checks import (
        check_data_dir,
        check_packages,
        check_settings,
        prefect_of,
    )
    from grayscale.cli.service_checks import check_key, check_prefect, check_relay
    from grayscale.control import connection_from
    from grayscale.control.connection import DEFAULT_URL
    from grayscale.errors import SettingsError

    finding, settings = check_settings(config)
    found = [finding, check_data_dir(data_dir), check_packages()]
    found += check_relay(os.environ.get("GRAYSCALE_URL", DEFAULT_URL))
    try:
        found.append(check_key(connection_from(os.environ, data_dir=data_dir)))
    except SettingsError as error:
        found.append(broken("key", str(error)))
    return [*found, *check_prefect(prefect_of(data_dir) or settings.prefect)]
