"""`lint`, and how the commands read plans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from grayscale.cli.exits import ExitCode, UsageProblem
from grayscale.cli.options import AsJson
from grayscale.cli.output import put, put_json, say

if TYPE_CHECKING:
    from grayscale.control import Control
    from grayscale.plan import Plan

Plans = Annotated[
    list[Path],
    typer.Argument(metavar="PLAN…", help="Plan files; several are merged.", show_default=False),
]


def lint(
    plan: Plans,
    *,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings fail too.")] = False,
    live: Annotated[
        bool, typer.Option("--live", help="Also hold it against the traffic of the last 5 minutes.")
    ] = False,
    rps: Annotated[
        float | None,
        typer.Option("--rps", min=0.0, help="Hold it against so many requests per second."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check plan files. Each problem names its line and column; wrong plans exit with 2."""
    from grayscale.plan import PlanError, load_plan, warnings

    try:
        read = load_plan(plan)
    except PlanError as error:
        if as_json:
            problems = [asdict(problem) for problem in error.problems]
            put_json({"ok": False, "problems": problems, "warnings": []})
        say(str(error))
        raise typer.Exit(ExitCode.USAGE) from error
    stable_p95_ms, seen_rps = _seen_traffic() if live else (None, None)
    found = warnings(read, stable_p95_ms=stable_p95_ms, rps=seen_rps if rps is None else rps)
    if as_json:
        put_json({"ok": True, "problems": [], "warnings": [asdict(warning) for warning in found]})
    for warning in found:
        say(f"warning: {warning}")
    if not as_json:
        put(f"{named(plan)}: {_summary(read)}")
    if found and strict:
        raise typer.Exit(ExitCode.FAILED)


def read_plan(paths: Sequence[Path]) -> Plan:
    """The plan in these files; raises UsageProblem with one line per problem."""
    from grayscale.plan import PlanError, load_plan

    try:
        return load_plan(paths)
    except PlanError as error:
        raise UsageProblem(str(error)) from error


def _seen_traffic() -> tuple[float | None, float]:
    """Stable's p95 and the requests per second, as the relay has seen them."""
    from grayscale.cli.relay_client import with_relay

    async def look(control: Control) -> tuple[dict[str, Any], dict[str, Any]]:
        return await control.latency(), await control.distribution()

    latency, seen = with_relay(look)
    p95 = next((v["p95_ms"] for v in latency["versions"] if "stable" in v["aliases"]), None)
    requests = sum(version["requests"] for version in seen["versions"])
    return p95, requests / seen["window_seconds"]


def named(paths: Sequence[Path]) -> str:
    """The files as a reader calls them."""
    return " + ".join(str(path) for path in paths)


def _summary(plan: Plan) -> str:
    steps = " → ".join(f"{step:g} %" for step in plan.auto_promote.promotion_steps)
    return f"{plan.version_name or 'the present candidate'} on {plan.base_version}: {steps}"
