"""`keys create|list|revoke`: who may call, and who may operate."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from grayscale.cli.confirm import confirm
from grayscale.cli.options import AsJson, DryRun, Yes
from grayscale.cli.output import columns, put, put_json, say

keys = typer.Typer(no_args_is_help=True, help="The keys of callers and operators.")


Scopes = Annotated[
    list[str] | None,
    typer.Option(
        "--scope",
        help="invoke (by default), read, operate, approve, conduct or admin; again for more.",
    ),
]
Models = Annotated[
    list[str] | None, typer.Option("--model", help="Only this model; again for more.")
]
PerMinute = Annotated[int | None, typer.Option(min=1, help="By default without limit.")]
Expiry = Annotated[str | None, typer.Option(metavar="TIME", help="2027-01-31T00:00:00Z")]


@keys.command("create")
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose or what for.")],
    *,
    scope: Scopes = None,
    model: Models = None,
    requests_per_minute: PerMinute = None,
    tokens_per_minute: PerMinute = None,
    expires_at: Expiry = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Create a key and print it; it is not shown again."""
    from grayscale.cli.relay_client import with_relay

    scopes = scope or ["invoke"]
    limits = {
        "models": model,
        "requests_per_minute": requests_per_minute,
        "tokens_per_minute": tokens_per_minute,
        "expires_at": expires_at,
    }
    given = {key: value for key, value in limits.items() if value}
    made = with_relay(
        lambda control: control.create_key(name, scopes=scopes, **given),
        dry_run=dry_run,
        as_json=as_json,
    )
    if as_json:
        put_json(made)
        return
    put(made["key"])
    say(f"Key {made['id']} of {name} ({', '.join(scopes)}). Keep it now: it is not shown again.")


@keys.command("list")
def list_keys(*, as_json: AsJson = False) -> None:
    """List keys, by prefix and last four characters."""
    from grayscale.cli.relay_client import with_relay

    found = with_relay(lambda control: control.keys())
    if as_json:
        put_json({"data": found})
        return
    heads = ("ID", "NAME", "KEY", "SCOPES", "MODELS", "EXPIRES", "REVOKED")
    put(columns(heads, [_row(key) for key in found]))


@keys.command("revoke")
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="As `keys list` shows it.")],
    *,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """End a key, everywhere within a second, for good."""
    from grayscale.cli.relay_client import with_relay

    if not dry_run:
        confirm(f"Revoke {key_id} for good?", yes=yes)
    answer = with_relay(
        lambda control: control.revoke_key(key_id), dry_run=dry_run, as_json=as_json
    )
    if as_json:
        put_json(answer)
    else:
        put(key_id)


def _row(key: dict[str, Any]) -> tuple[object, ...]:
    return (
        key["id"],
        key["name"],
        f"{key['prefix']}…{key['last4']}",
        ",".join(key["scopes"]),
        ",".join(key.get("models") or ()) or "all",
        key.get("expires_at"),
        key.get("revoked_at"),
    )
