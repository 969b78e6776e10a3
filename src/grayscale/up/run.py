"""`grayscale up` in the foreground: start, say what runs where, wait for the end, end all."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from grayscale.up.page import page
from grayscale.up.stack import Stack
from grayscale.up.supervisor import ChildFailed

_LOOK_SECONDS = 1.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_up(
    *,
    config: Path | None,
    data_dir: Path,
    listen: str,
    prefect_port: int,
    workers: int = 1,
    put: Callable[[str], None],
    say: Callable[[str], None],
) -> int:
    """Run until SIGINT, SIGTERM or SIGHUP; the exit code.

    `put` gets the page, `say` what happens meanwhile. Raises SettingsError and ChildFailed.
    """
    stack = Stack(
        config=config,
        data_dir=data_dir,
        listen=listen,
        prefect_port=prefect_port,
        workers=workers,
        announce=say,
    )
    return asyncio.run(_until_told(stack, put=put, say=say))


async def _until_told(
    stack: Stack, *, put: Callable[[str], None], say: Callable[[str], None]
) -> int:
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, told.set)
    try:
        if not await _unless_told(stack.start(), told):
            return 0
        put(page(stack))
        if await _unless_told(_await_prefect(stack, say), told):
            await told.wait()
        return 0
    finally:
        say("ending …")
        await stack.stop()


async def _await_prefect(stack: Stack, say: Callable[[str], None]) -> None:
    """However often it fails: the relay serves meanwhile, and the supervisor tells what ended."""
    while True:
        try:
            await stack.prefect_ready()
        except ChildFailed:
            await asyncio.sleep(_LOOK_SECONDS)
        except TimeoutError:
            say("Prefect is not ready yet; the relay serves meanwhile")
        else:
            say(f"Prefect is ready at {stack.prefect_url}")
            return


async def _unless_told(work: Coroutine[Any, Any, None], told: asyncio.Event) -> bool:
    """Do the work; False if the end was told before it was done."""
    doing, telling = asyncio.ensure_future(work), asyncio.ensure_future(told.wait())
    await asyncio.wait({doing, telling}, return_when=asyncio.FIRST_COMPLETED)
    for task in (doing, telling):
        task.cancel()
    await asyncio.gather(doing, telling, return_exceptions=True)
    if doing.cancelled():
        return False
    doing.result()
    return True
