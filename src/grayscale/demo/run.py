"""`grayscale demo`: a good and a bad release on real parts, from nothing to a summary."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import tempfile
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from grayscale.cli.exits import ExitCode
from grayscale.cli.output import put, say
from grayscale.control import Control
from grayscale.demo.acts import Ending, Stage
from grayscale.demo.parts import open_parts
from grayscale.demo.scenario import MODEL, acts
from grayscale.demo.screen import screen
from grayscale.demo.summary import Summary
from grayscale.demo.traffic import REQUESTS_PER_SECOND, Traffic
from grayscale.errors import GrayscaleError
from grayscale.up.stack import Stack

T = TypeVar("T")

_LIMIT_SECONDS = 300.0
_INTERRUPTED = 130
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class DemoError(GrayscaleError):
    """A part of the demo failed; the message has its last lines."""


def run_demo(*, as_json: bool) -> int:
    """Show the demo; the exit code is 0 only if both releases ended as they must."""
    folder = Path(tempfile.mkdtemp(prefix="grayscale-demo-"))
    try:
        summary = asyncio.run(interruptible(_show(folder)))
    except (GrayscaleError, TimeoutError) as error:
        why = error if str(error) else f"not done after {_LIMIT_SECONDS:g} s"
        say(f"The demo failed: {why}\nLogs and data are kept in {folder}")
        return ExitCode.FAILED
    if summary is None:
        shutil.rmtree(folder, ignore_errors=True)
        say("The demo was interrupted; everything it started has ended.")
        return _INTERRUPTED
    tell(summary, as_json=as_json)
    if summary.as_it_must:
        shutil.rmtree(folder, ignore_errors=True)
        return ExitCode.OK
    say(f"A release did not end as it must. Logs and data are kept in {folder}")
    return ExitCode.FAILED


async def interruptible(work: Coroutine[Any, Any, T]) -> T | None:
    """The result of `work`, or None once it has cleaned up after Ctrl-C or SIGTERM.

    A second Ctrl-C changes nothing: the clean-up that it would cut short is bounded anyway.
    """
    task, asked = asyncio.create_task(work), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, asked.set)
    interrupted = asyncio.create_task(asked.wait())
    try:
        await asyncio.wait({task, interrupted}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            task.cancel()
        return await task
    except asyncio.CancelledError:
        return None
    finally:
        interrupted.cancel()
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


async def _show(folder: Path) -> Summary:
    """Start the parts one inside the other, so that each ends before what it needs."""
    began = time.monotonic()
    with screen() as on:
        async with (
            asyncio.timeout(_LIMIT_SECONDS),
            open_parts(folder, announce=say) as stack,
            Control(stack.url, stack.connection.api_key) as control,
        ):
            traffic = Traffic(stack.url, stack.connection.api_key, model=MODEL)
            stage = Stage(
                control,
                traffic.tally,
                on,
                relay_url=stack.url,
                prefect_url=stack.prefect_url,
                elapsed=lambda: time.monotonic() - began,
            )
            async with traffic:
                endings = await _play(stage, stack)
                split = await stage.split_after()
    return Summary(
        endings=endings,
        requests_total=traffic.tally.total,
        requests_failed=traffic.tally.failed,
        split_after=split,
        first_split_seconds=stage.first_split_seconds,
        seconds=time.monotonic() - began,
    )


async def _play(stage: Stage, stack: Stack) -> tuple[Ending, ...]:
    """Act after act. The first one is queued until Prefect, still starting, conducts it."""
    stage.say(f"the relay serves; callers ask {REQUESTS_PER_SECOND} times a second")
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_await_prefect(stage, stack))
            return tuple([await stage.play(act) for act in acts()])
    except* GrayscaleError as failed:
        raise DemoError("\n".join(str(error) for error in failed.exceptions)) from failed


async def _await_prefect(stage: Stage, stack: Stack) -> None:
    await stack.prefect_ready()
    stage.say("Prefect is ready")


def tell(summary: Summary, *, as_json: bool) -> None:
    """Print the summary: for people on stderr, for programs on stdout."""
    for line in summary.lines():
        say(line)
    if as_json:
        put(json.dumps(summary.to_json()))
