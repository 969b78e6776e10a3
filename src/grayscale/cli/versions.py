"""`versions list|create|show|diff|quarantine|lift`: the named configurations of how requests are served."""

from __future__ import annotations

import json
from difflib import unified_diff
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from grayscale.cli.exits import UsageProblem
from grayscale.cli.options import AsJson, DryRun
from grayscale.cli.output import columns, percent, put, put_json, say

versions = typer.Typer(no_args_is_help=True, help="The versions that traffic can go to.")

Reason = Annotated[str, typer.Option("--reason", help="For the record.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="A version or an alias.")]


@versions.command("list")
def list_versions(*, as_json: AsJson = False) -> None:
    """List versions."""
    found = _all()
    if as_json:
        put_json({"data": found})
        return
    heads = ("VERSION", "ALIASES", "STATUS", "WEIGHT", "BASE", "CREATED", "BY")
    put(columns(heads, [_row(version) for version in found]))


@versions.command("create")
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Such as v2.1.0-beta.")],
    *,
    base: Annotated[str, typer.Option("--base", help="What it is derived from.")] = "stable",
    overrides: Annotated[
        Path | None,
        typer.Option("--overrides", help="A YAML or JSON file: the merge patch on the base."),
    ] = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Create a version; the same name with the same configuration again is fine."""
    from grayscale.cli.relay_client import with_relay

    patch = {} if overrides is None else _read_mapping(overrides)
    made = with_relay(
        lambda control: control.create_version(name, base_version=base, config_overrides=patch),
        dry_run=dry_run,
    )
    if as_json:
        put_json(made)
        return
    put(made["name"])
    say(f"{made['status']}, based on {made['base_version']}")


@versions.command("show")
def show(name: Name, *, as_json: AsJson = False) -> None:
    """Show one version with its whole configuration."""
    version = _named(_all(), name)
    if as_json:
        put_json(version)
        return
    for key, value in version.items():
        if key != "config":
            put(f"{key + ':':<16}{', '.join(value) if isinstance(value, list) else value}")
    put(_pretty(version["config"]))


@versions.command("diff")
def diff(older: Name, newer: Name, *, as_json: AsJson = False) -> None:
    """Show what differs between the configurations of two versions."""
    found = _all()
    one, other = _named(found, older), _named(found, newer)
    lines = list(
        unified_diff(
            _pretty(one["config"]).splitlines(),
            _pretty(other["config"]).splitlines(),
            fromfile=one["name"],
            tofile=other["name"],
            lineterm="",
        )
    )
    if as_json:
        put_json({"from": one["name"], "to": other["name"], "equal": not lines, "diff": lines})
        return
    for line in lines:
        put(line)
    if not lines:
        say(f"{one['name']} and {other['name']} are configured alike.")


@versions.command("quarantine")
def quarantine(
    name: Name, *, reason: Reason, dry_run: DryRun = False, as_json: AsJson = False
) -> None:
    """Take a version's configuration out of traffic and bar it, under every name."""
    _say_of(name, "quarantine", reason=reason, dry_run=dry_run, as_json=as_json)


@versions.command("lift")
def lift(name: Name, *, reason: Reason, dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """Lift the quarantine of a version's configuration, under every name."""
    _say_of(name, "lift", reason=reason, dry_run=dry_run, as_json=as_json)


def _say_of(
    name: str, verb: Literal["quarantine", "lift"], *, reason: str, dry_run: bool, as_json: bool
) -> None:
    from grayscale.cli.relay_client import with_relay

    said = with_relay(
        lambda control: control.say_of_version(name, verb, reason=reason), dry_run=dry_run
    )
    if as_json:
        put_json(said)
        return
    put(f"{said['name']}  {said['status']}")


def _all() -> list[dict[str, Any]]:
    from grayscale.cli.relay_client import with_relay

    return with_relay(lambda control: control.versions())


def _named(found: list[dict[str, Any]], name: str) -> dict[str, Any]:
    for version in found:
        if name == version["name"] or name in version["aliases"]:
            return version
    there = ", ".join(version["name"] for version in found) or "none yet"
    raise UsageProblem(f"no version '{name}'; there are: {there}")


def _read_mapping(path: Path) -> dict[str, Any]:
    import yaml

    try:
        read = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageProblem(f"{path}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageProblem(f"{path}: neither YAML nor JSON: {error}") from error
    if not isinstance(read, dict):
        raise UsageProblem(f"{path}: must be a mapping such as {{parameters: {{temperature: 0}}}}")
    return read


def _pretty(config: dict[str, Any]) -> str:
    return json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False)


def _row(version: dict[str, Any]) -> tuple[object, ...]:
    return (
        version["name"],
        ",".join(version["aliases"]),
        version["status"],
        percent(version["weight_percent"]),
        version["base_version"],
        version["created_at"],
        version["created_by"],
    )
