"""Where flows, tasks, plans and prefect.yaml are: never the current folder."""

from __future__ import annotations

from pathlib import Path

from grayscale.errors import SettingsError

_PACKAGE = Path(__file__).resolve().parent.parent
_MARK = "prefect.yaml"


def app_dir(package: Path = _PACKAGE) -> Path:
    """`grayscale/_app` beside the installed package, else the source checkout above it."""
    installed, checkout = package / "_app", package.parent.parent
    for place in (installed, checkout):
        if (place / _MARK).is_file() and (place / "flows").is_dir():
            return place
    raise SettingsError(
        f"the application (flows, tasks, {_MARK}) is neither in {installed} nor in {checkout}; "
        "install grayscale again"
    )


def source_dir(package: Path = _PACKAGE) -> Path:
    """The folder from which `import grayscale` gets this very package."""
    return package.parent
