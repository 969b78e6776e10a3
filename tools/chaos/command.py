"""Starts everything, kills, waits until all has come to rest, and says what is left."""

from __future__ import annotations

import argparse
import asyncio
import base64
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx

from grayscale.control import Control
from grayscale.testing.behaviour import Behaviour
from grayscale.testing.receivers import WebhookReceiver
from grayscale.testing.upstreams import Upstream
from tools.chaos.evidence import broken_log, gather
from tools.chaos.faults import Fault, Planned, planned
from tools.chaos.record import examine
from tools.chaos.recovery import Executioner, Kills
from tools.chaos.releases import Operator
from tools.chaos.report import Outcome, lines, write
from tools.chaos.stack import RunningStack, ended
from tools.chaos.traffic import MODEL, Traffic

_START_SECONDS = 180.0
_VICTIM_SECONDS = 30.0
_LOOK_SECONDS = 0.3
_STEADY = Behaviour(latency_ms=30, latency_jitter_ms=10, ttft_ms=15, tokens=6, chunk_delay_ms=20)
_FLAKY = _STEADY.model_copy(update={"error_rate": 0.5})


def main(arguments: Sequence[str] | None = None) -> int:
    """0 only if nothing was lost, doubled, ended wrongly, failed on stable, or came back late."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: nothing is left running
    folder = Path(tempfile.mkdtemp(prefix="grayscale-chaos-"))
    outcome = asyncio.run(_run(folder, seed=options.seed, kills=options.kills))
    print("\n".join(lines(outcome)))
    if options.write:
        write(outcome, f"python -m tools.chaos --seed {options.seed} --kills {options.kills}")
    if outcome.good:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        print(f"\nlogs and data are kept in {folder}")
    print(outcome.last_line())
    return 0 if outcome.good else 1


async def _run(folder: Path, *, seed: int, kills: int) -> Outcome:
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:6.1f}  {text}", file=sys.stderr, flush=True)

    async with Upstream(_STEADY) as steady, Upstream(_FLAKY) as flaky, WebhookReceiver() as hook:
        settings = _settings(steady=steady, flaky=flaky, webhook=hook)
        with ended(RunningStack(folder, settings)) as stack:
            stack.start()
            await _up(stack)
            say("everything is up")
            struck = Kills()
            async with Control(f"{stack.origin}/v1", stack.key) as control:
                operator = Operator(control, say)
                async with Traffic(stack.origin, stack.key, struck) as traffic:
                    await _wreak(stack, struck, operator, planned(kills, seed=seed), say)
                evidence = await gather(stack, control, hook, operator.done)
            findings = examine(evidence)
            findings.lost += broken_log(stack)
    return Outcome(
        seed=seed,
        seconds=time.monotonic() - began,
        kills=struck.done,
        count=traffic.count,
        releases=operator.done,
        findings=findings,
    )


async def _wreak(
    stack: RunningStack,
    struck: Kills,
    operator: Operator,
    plan: Sequence[Planned],
    say: Callable[[str], None],
) -> None:
    """Kill by plan while releases go on; returns when all has come to rest."""
    executioner = Executioner(stack, struck)
    over = asyncio.Event()
    releasing = asyncio.create_task(operator.work(over.is_set))
    try:
        for one in plan:
            if not one.overlaps:
                await executioner.settle()
            await asyncio.sleep(one.pause_seconds)
            await _strike(executioner, one.fault, say)
        await executioner.settle()
        over.set()
        await releasing
    finally:
        releasing.cancel()
        await executioner.close()


async def _strike(executioner: Executioner, fault: Fault, say: Callable[[str], None]) -> None:
    """Kill as soon as there is somebody to kill; a flow process is not always there."""
    loop = asyncio.get_running_loop()
    until = loop.time() + _VICTIM_SECONDS
    while loop.time() < until:
        done = await executioner.strike(fault)
        if done is not None:
            say(f"killed: {fault}" + (", before the last was got over" if done.overlapped else ""))
            return
        await asyncio.sleep(_LOOK_SECONDS)
    say(f"no {fault} to kill for {_VICTIM_SECONDS:g} s: left out")


async def _up(stack: RunningStack) -> None:
    """Wait until the relay serves and Prefect's worker is there."""
    async with asyncio.timeout(_START_SECONDS), httpx.AsyncClient(trust_env=False) as http:
        while True:
            try:
                if (await http.get(f"{stack.origin}/readyz")).is_success:
                    break
            except httpx.TransportError:
                pass
            await asyncio.sleep(_LOOK_SECONDS)
        while "Prefect is ready" not in stack.said():  # noqa: ASYNC110 - another process
            await asyncio.sleep(_LOOK_SECONDS)


def _settings(*, steady: Upstream, flaky: Upstream, webhook: WebhookReceiver) -> dict[str, Any]:
    secret = "whsec_" + base64.b64encode(bytes(range(32))).decode()
    return {
        "upstreams": {
            "steady": {"base_url": steady.base_url},
            "flaky": {"base_url": flaky.base_url},
        },
        "models": {MODEL: {"upstream": "steady", "model": "chat-1"}},
        "notifications": {"webhook": {"url": webhook.url, "secret": secret}},
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kills", type=int, default=24, help="how often to kill")
    parser.add_argument("--write", action="store_true", help="put the result into docs/chaos.md")
    return parser
