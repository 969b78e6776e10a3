"""`simulate`: what a plan would do at this traffic, before anything is released."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from grayscale.cli.exits import UsageProblem
from grayscale.cli.options import AsJson
from grayscale.cli.output import duration, put, put_json
from grayscale.cli.plans import Plans, named, read_plan

if TYPE_CHECKING:
    from rich.table import Table

    from grayscale.plan import Plan
    from grayscale.simulation import Ended, Forecast, Recipe, Share, Spread

_MOST_RPS = 10_000.0
_MOST_TIMES_SLOWER = 1000.0
_MOST_ROLLOUTS = 100_000

ScenarioName = Literal[
    "healthy",
    "errors",
    "outage",
    "upstream-outage",
    "latency",
    "flapping",
    "late-bug",
    "low-traffic",
]


Rps = Annotated[
    float | None,
    typer.Option(
        "--rps", help="Requests per second, of both versions. [default: 10; low-traffic: 0.2]"
    ),
]
StableErrorRate = Annotated[
    float, typer.Option("--stable-error-rate", help="How often stable fails, in percent.")
]
CandidateErrorRate = Annotated[
    float | None,
    typer.Option(
        "--candidate-error-rate",
        help="How often the candidate fails, in percent. [default: as stable; errors and "
        "late-bug: 6 more; flapping: 11 more; outage: 100]",
    ),
]
LatencyShift = Annotated[
    float | None,
    typer.Option(
        "--latency-shift",
        help="The candidate's latency as a multiple of stable's. [default: 1; latency: 1.5]",
    ),
]
Rollouts = Annotated[
    int | None,
    typer.Option("--rollouts", help="How many releases. [default: what takes some seconds]"),
]


def simulate(
    plan: Plans,
    *,
    rps: Rps = None,
    stable_error_rate: StableErrorRate = 1.0,
    candidate_error_rate: CandidateErrorRate = None,
    latency_shift: LatencyShift = None,
    scenario: Annotated[
        ScenarioName, typer.Option("--scenario", help="What happens meanwhile.")
    ] = "healthy",
    rollouts: Rollouts = None,
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same answer.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Try a plan in a made-up world, many times, before anything depends on it. No server needed.

    Real judge, real decisions, made-up traffic. A person who is asked before a step agrees.
    """
    from grayscale import simulation

    _check("--rps", rps, above=0, most=_MOST_RPS)
    _check("--stable-error-rate", stable_error_rate, least=0, most=100)
    _check("--candidate-error-rate", candidate_error_rate, least=0, most=100)
    _check("--latency-shift", latency_shift, above=0, most=_MOST_TIMES_SLOWER)
    _check("--rollouts", rollouts, least=1, most=_MOST_ROLLOUTS)
    _check("--seed", seed, least=0, most=2**31)
    read = read_plan(plan)
    recipe = simulation.Recipe(
        simulation.Scenario(scenario), rps, stable_error_rate, candidate_error_rate, latency_shift
    )
    count = rollouts or simulation.affordable_rollouts(read)
    ends = simulation.simulate(
        read, recipe, rollouts=count, seed=seed, processes=os.cpu_count() or 1
    )
    found = simulation.forecast(read, recipe, list(_with_progress(ends, count)))
    if as_json:
        put_json({**_asked_for(read, recipe, count, seed), **found.to_json()})
        return
    put(f"{named(plan)}: {_what(recipe, count, seed)}")
    _show(_outcomes(found), _costs(found), _steps(found))


def _check(
    option: str,
    value: float | None,
    *,
    most: float,
    least: float = -math.inf,
    above: float = -math.inf,
) -> None:
    """Refuse what no world can be; not-a-number is neither above nor below anything."""
    if value is None or (least <= value <= most and value > above):
        return
    lowest = f"above {above:g}" if above > -math.inf else f"from {least:g}"
    raise UsageProblem(f"{option}: {value:g} is out of bounds; give a number {lowest} to {most:g}")


def _with_progress(ends: Iterable[Ended], count: int) -> Iterator[Ended]:
    """At a terminal, how far it is; elsewhere nothing."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    yield from track(
        ends,
        description="releasing",
        total=count,
        console=console,
        transient=True,
        disable=not sys.stderr.isatty(),
    )


def _asked_for(plan: Plan, recipe: Recipe, count: int, seed: int) -> dict[str, object]:
    return {
        "version": plan.version_name or None,
        "scenario": recipe.scenario.value,
        "rps": recipe.requests_per_second,
        "stable_error_rate": recipe.stable_error_percent,
        "candidate_error_rate": recipe.candidate_percent,
        "latency_shift": recipe.slowdown,
        "rollouts": count,
        "seed": seed,
    }


def _what(recipe: Recipe, count: int, seed: int) -> str:
    slower = f", {recipe.slowdown:g} times as slow" if recipe.slowdown != 1 else ""
    return (
        f"{count} releases, scenario {recipe.scenario.value}, {recipe.requests_per_second:g} requests "
        f"per second; stable fails {recipe.stable_error_percent:g} %, the candidate "
        f"{recipe.candidate_percent:g} %{slower}; seed {seed}"
    )


def _outcomes(found: Forecast) -> Table:
    """How the releases ended, with the 95 % interval of each probability."""
    asked = ("asks a person", found.asked)
    if found.missed is None:
        shares = [
            ("promoted", found.promoted),
            ("rolled back for no reason", found.false_rollback),
            asked,
        ]
    else:
        shares = [
            ("found and rolled back", found.found),
            ("missed: promoted although worse", found.missed),
            ("rolled back before it was worse", found.false_rollback),
            asked,
        ]
    rows = [(name, f"{100 * share.value:.3g} %", _interval(share)) for name, share in shares]
    return _table(("how a release ends", "how often", "95 % interval"), rows)


def _costs(found: Forecast) -> Table:
    """What a release takes."""
    spreads: list[tuple[str, Spread, Callable[[float], str]]] = [
        ("requests failed by the candidate", found.failed_requests, _number),
        ("of these seen by callers", found.callers_failed, _number),
    ]
    if found.detection_seconds is not None:
        spreads.insert(0, ("time until it is found", found.detection_seconds, duration))
    rows = [(name, *_spread(spread, shown)) for name, spread, shown in spreads]
    return _table(("what it takes", "half within", "19 of 20 within"), rows)


def _steps(found: Forecast) -> Table:
    """How long each step needs until it is seen to be healthy."""
    rows = [
        (
            step.name,
            f"{step.weight_percent:g} %",
            duration(step.soak_seconds),
            _number(step.candidate_requests),
            *(_spread(step.evidence_seconds, duration) if step.reached else ("-", "-")),
            _number(step.reached),
        )
        for step in found.steps
    ]
    healthy = ("half healthy after", "19 of 20 after")
    return _table(("step", "weight", "soak", "requests", *healthy, "reached by"), rows)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    from rich.box import SIMPLE
    from rich.table import Table

    table = Table(*heads, box=SIMPLE)
    for row in rows:
        table.add_row(*row)
    return table


def _show(*tables: Table) -> None:
    """Pipes have no width at which to break a line."""
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 120)
    for table in tables:
        console.print(table)


def _interval(share: Share) -> str:
    low, high = share.interval
    return f"{100 * low:.3g} to {100 * high:.3g} %"


def _spread(spread: Spread, shown: Callable[[float], str]) -> tuple[str, str]:
    p50, p95 = ("never" if one is None else shown(one) for one in (spread.p50, spread.p95))
    return p50, p95


def _number(value: float) -> str:
    return f"{value:,.0f}"
