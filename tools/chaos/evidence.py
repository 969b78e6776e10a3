"""Gathers what there is to examine, once everything has come to rest."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import Any

from grayscale.control import Control
from grayscale.testing.receivers import WebhookReceiver
from tools.chaos.record import Evidence
from tools.chaos.releases import Released
from tools.chaos.stack import ROOT, RunningStack

_PAGE = 100
_NOTICES_SECONDS = 60.0


async def gather(
    stack: RunningStack, control: Control, webhook: WebhookReceiver, releases: list[Released]
) -> Evidence:
    """From the API where it has it, from the store where not."""
    await _notices_are_out(stack)
    recorded = await _releases(control)
    configs = stack.rows("select config_id, weights, aliases from configs order by seq")
    pending = stack.rows("select event_id from outbox where channel = 'webhook'")
    return Evidence(
        releases=releases,
        recorded=recorded,
        events=await _events(control),
        configs=[(str(one), json.loads(weights), json.loads(to)) for one, weights, to in configs],
        to_be_told=frozenset(str(event_id) for (event_id,) in pending),
        told=[received.json for received in webhook.accepted],
    )


def broken_log(stack: RunningStack) -> list[str]:
    """What `grayscale audit verify` objects to."""
    command = [
        *(sys.executable, "-m", "grayscale.cli.main", "audit", "verify"),
        *("--data-dir", str(stack.data_dir)),
    ]
    environ = {"PYTHONPATH": f"{ROOT / 'src'}:{':'.join(sys.path)}"}
    ran = subprocess.run(
        command, cwd=stack.folder / "tmp", env=environ, capture_output=True, text=True, check=False
    )
    return [] if ran.returncode == 0 else [f"audit verify: {ran.stdout}{ran.stderr}".strip()]


async def _notices_are_out(stack: RunningStack) -> None:
    loop = asyncio.get_running_loop()
    until = loop.time() + _NOTICES_SECONDS
    while loop.time() < until:
        if not stack.rows("select 1 from outbox where state = 'pending' limit 1"):
            return
        await asyncio.sleep(0.5)


async def _events(control: Control) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    while True:
        after = events[-1]["id"] if events else None
        page = await control.events(after=after, limit=_PAGE)
        events += page["data"]
        if not page.get("has_more"):
            return events


async def _releases(control: Control) -> list[tuple[str, str]]:
    releases: list[tuple[str, str]] = []
    while True:
        after = releases[-1][0] if releases else None
        page = await control.releases(after=after, limit=_PAGE)
        releases += [(str(one["id"]), str(one["version"])) for one in page["data"]]
        if not page.get("has_more"):
            return releases
