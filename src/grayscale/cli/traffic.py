"""`rollback`, `undo`, `split`: move traffic by hand."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Any

import typer

from grayscale.cli.confirm import confirm
from grayscale.cli.exits import UsageProblem
from grayscale.cli.options import AsJson, DryRun, Reason, Yes
from grayscale.cli.output import columns, percent, put, put_json, say

Target = Annotated[
    str,
    typer.Option("--to", metavar="NAME|CONFIG_ID", help="A version, an alias, or a config-… id."),
]
Gradual = Annotated[
    str | None,
    typer.Option("--gradual", metavar="SIZE/SECONDS", help="In steps: 10/30 is 10 % every 30 s."),
]
Window = Annotated[int, typer.Option("--window", min=1, help="Seconds that `actual` looks back.")]

split = typer.Typer(no_args_is_help=True, help="See and set the weights of versions.")


def rollback(
    *,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept and sent to people.")],
    to: Target = "stable",
    gradual: Gradual = None,
    force: Annotated[
        bool, typer.Option("--force", help="Override a rollback that is under way.")
    ] = False,
    drain: Annotated[
        bool, typer.Option("--drain/--no-drain", help="Let running requests finish, or cut them.")
    ] = True,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Take the traffic back now. Asks only if it goes elsewhere than to stable."""
    body: dict[str, Any] = {"force": force, "drain_connections": drain}
    if gradual is not None:
        body["gradual"] = _gradual(gradual)
    if to.startswith("config-"):
        body |= {"target_type": "config_id", "config_id": to}
    if to != "stable" and not dry_run:
        confirm(f"Move all traffic to {to}?", yes=yes)
    _roll_back(to, reason=reason, body=body, dry_run=dry_run, as_json=as_json)


def undo(
    *, reason: Reason = None, yes: Yes = False, dry_run: DryRun = False, as_json: AsJson = False
) -> None:
    """Undo the last promotion. All traffic goes to the version that was stable before."""
    if not dry_run:
        confirm("Move all traffic to the previous stable version?", yes=yes)
    said = reason or "the last promotion is undone"
    _roll_back("previous", reason=said, body={}, dry_run=dry_run, as_json=as_json)


@split.command("get")
def split_get(*, window: Window = 300, as_json: AsJson = False) -> None:
    """Show the weights as they are set and as they were seen."""
    from grayscale.cli.relay_client import with_relay

    seen = with_relay(lambda control: control.distribution(window_seconds=window))
    if as_json:
        put_json(seen)
        return
    heads = ("VERSION", "ALIASES", "SET", "ACTUAL", "REQUESTS", "PINNED")
    braked = seen.get("braked", [])
    put(columns(heads, [_row(version, braked=braked) for version in seen["versions"]]))
    say(f"{seen['config_id']}, {seen['window_seconds']} s up to {seen['as_of']}")


@split.command("set")
def split_set(
    weights: Annotated[
        list[str], typer.Argument(metavar="NAME=PERCENT…", help="Such as: stable=90 beta=10")
    ],
    *,
    reason: Reason = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Set the weights; during a release, a hand may only lower the candidate."""
    from grayscale.cli.relay_client import with_relay

    wanted = _weights(weights)
    if not dry_run:
        confirm(f"Set the split to {' '.join(weights)}?", yes=yes)
    answer = with_relay(
        lambda control: control.split_set(wanted, reason=reason), dry_run=dry_run, as_json=as_json
    )
    if as_json:
        put_json(answer)
        return
    put(columns(("NAME", "SET"), [(k, percent(v)) for k, v in answer["traffic_split"].items()]))
    workers = answer["workers"]
    say(f"{answer['config_id']}: {workers['applied']} of {workers['total']} workers run it")
    say(f"Back with: grayscale rollback --to {answer['previous_config_id']} --reason …")


def _roll_back(to: str, *, reason: str, body: dict[str, Any], dry_run: bool, as_json: bool) -> None:
    from grayscale.cli.relay_client import with_relay

    target = "stable" if "config_id" in body else to
    answer = with_relay(
        lambda control: control.roll_back(target=target, reason=reason, options=body),
        dry_run=dry_run,
    )
    if as_json:
        put_json(answer)
        return
    if answer.get("recorded") is False:
        say(answer["message"])
        return
    put(answer["rollback_id"])
    split = ", ".join(f"{name} {percent(share)}" for name, share in answer["traffic_split"].items())
    say(f"{answer['status']['state']}: new requests go to {split} ({answer['config_id']})")


def _gradual(text: str) -> dict[str, float]:
    size, _, seconds = text.partition("/")
    try:
        return {"step_size": _number(size), "step_delay_seconds": _number(seconds)}
    except ValueError as error:
        raise UsageProblem(
            f"--gradual {text}: write it as SIZE/SECONDS, such as 10/30 for 10 % every 30 s"
        ) from error


def _weights(texts: list[str]) -> dict[str, float]:
    weights: dict[str, float] = {}
    for text in texts:
        name, _, number = text.partition("=")
        try:
            weight = _number(number)
        except ValueError as error:
            raise UsageProblem(
                f"{text}: write weights as NAME=PERCENT, such as stable=90 beta=10"
            ) from error
        if name in weights:
            raise UsageProblem(f"{text}: {name} is given twice")
        weights[name] = weight
    return weights


def _number(text: str) -> float:
    number = float(text)
    return int(number) if number.is_integer() else number


def _row(version: dict[str, Any], *, braked: Collection[str]) -> tuple[object, ...]:
    name, on_record = version["version"], percent(version["intended_percent"])
    return (
        name,
        ",".join(version["aliases"]),
        f"0 % (braked; {on_record} on record)" if name in braked else on_record,
        percent(version["observed_percent"]),
        version["requests"],
        version["pinned"],
    )
