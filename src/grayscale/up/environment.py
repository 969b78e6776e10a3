"""The environments of the child processes: nothing of the user's own Prefect gets in."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

# Quiet, private, and quick to see new work; Prefect's own defaults suit a shared server.
_PREFECT = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_LOGGING_LEVEL": "INFO",
    "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
    "PREFECT_WORKER_QUERY_SECONDS": "1",
    "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "false",  # no automations: the relay watches
    "PREFECT_SERVER_DATABASE_TIMEOUT": "30",
}


def relay_environment(environ: Mapping[str, str], *, source_dir: Path) -> dict[str, str]:
    """The user's environment, with this very grayscale first on the path."""
    return {**_without_prefect(environ), "PYTHONPATH": _path(environ, [source_dir])}


def prefect_environment(
    environ: Mapping[str, str], *, home: Path, port: int, paths: Iterable[Path]
) -> dict[str, str]:
    """The user's environment without any setting of his own Prefect, and with ours."""
    kept = {
        name: value
        for name, value in _without_prefect(environ).items()
        if not name.startswith("GRAYSCALE_")
    }
    return {
        **kept,
        **_PREFECT,
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_API_HOST": "127.0.0.1",
        "PREFECT_SERVER_API_PORT": str(port),
        "PYTHONPATH": _path(environ, paths),
    }


def _without_prefect(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if not name.startswith("PREFECT_")}


def _path(environ: Mapping[str, str], ours: Iterable[Path]) -> str:
    theirs = [entry for entry in environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    return os.pathsep.join([*(str(path) for path in ours), *theirs])
