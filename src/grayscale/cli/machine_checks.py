"""What `doctor` finds on this machine: settings, data directory, packages."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import yaml

from grayscale.cli.finding import Finding, broken, note, ok
from grayscale.errors import SettingsError
from grayscale.settings import PrefectSettings, Settings, load_settings

UP_SETTINGS = "up.yaml"  # grayscale.up writes it at each start

_REQUIREMENT = re.compile(
    r"(?P<name>[A-Za-z0-9._-]+)(?:\[[^\]]*\])?(?P<bounds>[^;]*)(?P<marker>;.*)?"
)
_BOUND = re.compile(r"(?P<operator>>=|<=|==|!=|<|>)\s*(?P<version>[0-9.]+)")
_COMPARE: dict[str, Callable[[tuple[int, ...], tuple[int, ...]], bool]] = {
    ">=": lambda there, bound: there >= bound,
    "<=": lambda there, bound: there <= bound,
    "==": lambda there, bound: there == bound,
    "!=": lambda there, bound: there != bound,
    "<": lambda there, bound: there < bound,
    ">": lambda there, bound: there > bound,
}


def check_settings(path: Path) -> tuple[Finding, Settings]:
    """The settings, and how they are; without a file, the defaults that `up` uses."""
    if not path.exists():
        text = f"no {path}: `grayscale up` serves the built-in test upstreams (grayscale init)"
        return note("settings", text), Settings()
    try:
        settings = load_settings(path)
    except SettingsError as error:
        return broken("settings", str(error)), Settings()
    counts = f"{len(settings.models)} models on {len(settings.upstreams)} upstreams"
    return ok("settings", f"{path}: {counts}"), settings


def prefect_of(data_dir: Path) -> PrefectSettings | None:
    """The Prefect that `grayscale up` ran last over this data directory, on whatever port."""
    try:
        effective = yaml.safe_load((data_dir / UP_SETTINGS).read_text(encoding="utf-8"))
        return PrefectSettings(api_url=effective["prefect"]["api_url"])
    except (OSError, yaml.YAMLError, LookupError, TypeError):
        return None


def check_data_dir(path: Path) -> Finding:
    """Whether only we can read the data directory, and can write it."""
    if not path.exists():
        return note("data", f"no {path} yet: the first `grayscale up` or `relay` makes it")
    if not path.is_dir():
        return broken("data", f"{path} is no directory; give another with --data-dir")
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        return broken("data", f"{path} cannot be written by this user; run: chown -R $USER {path}")
    key = path / "admin.key"
    for item, allowed in ((path, 0o700), (key, 0o600)):
        if not item.exists():
            continue
        mode = stat.S_IMODE(item.stat().st_mode)
        if mode & ~allowed:
            return broken("data", f"{item} has mode {mode:o}; run: chmod {allowed:o} {item}")
    return ok("data", f"{path} is ours alone and can be written")


def check_packages(needed: list[str] | None = None) -> Finding:
    """Whether the installed packages are the ones that this release was tested with."""
    found: list[str] = []
    if needed is None:
        try:
            needed = requires("grayscale") or []
        except PackageNotFoundError:
            return note("packages", "grayscale runs from a source tree; nothing to compare with")
    for requirement in needed:
        problem = _problem(requirement)
        if problem:
            found.append(problem)
    if found:
        return broken("packages", "; ".join(found))
    return ok("packages", f"all {len(needed)} requirements are met")


def _problem(requirement: str) -> str | None:
    """What is wrong with one installed requirement; extras' and other platforms' are passed over."""
    parsed = _REQUIREMENT.match(requirement.strip())
    if parsed is None or "extra ==" in (parsed["marker"] or ""):
        return None
    name = parsed["name"]
    try:
        there = version(name)
    except PackageNotFoundError:
        return None if parsed["marker"] else f"{name} is missing"
    for bound in _BOUND.finditer(parsed["bounds"]):
        if not _COMPARE[bound["operator"]](_numbers(there), _numbers(bound["version"])):
            wanted = parsed["bounds"].strip()
            return f"{name} is {there}, needed is {wanted}: pip install '{name}{wanted}'"
    return None


def _numbers(text: str) -> tuple[int, ...]:
    """`3.8.8` as (3, 8, 8); what follows the numbers (rc1, .dev0) is left out."""
    numbers = [int(part) for part in re.findall(r"\d+", re.match(r"[\d.]*", text).group())]  # type: ignore[union-attr]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
