"""The entry point of a worker process: `python -m grayscale.relay.worker_main`, by the parent.

The parent writes one line of JSON to stdin (settings with their secrets, which so appear in no
process list) and keeps it open: its end means that the parent is gone (`succession` says what
then). `ready` on stdout means that the worker listens.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import cast

import msgspec
import uvloop

from grayscale.relay.app import Listener
from grayscale.relay.brake import Brake
from grayscale.relay.control import MakeControlPlane
from grayscale.relay.failure_page import FailurePage
from grayscale.relay.orders import REPLACED, Orders
from grayscale.relay.runtime import Runtime
from grayscale.relay.succession import until_relieved
from grayscale.relay.upstream import SoundAiohttpTransport
from grayscale.relay.worker import Leave, Worker
from grayscale.settings import Settings


async def _work(orders: Orders) -> None:
    leave = Leave()
    _leave_on_signals(leave)
    data_dir = Path(orders.data_dir)
    leaving = asyncio.create_task(_leave_when_orphaned(data_dir, leave))
    settings = Settings.model_validate(orders.settings)
    brake = Brake.open(data_dir / "brake")
    runtime = Runtime(settings, brake, failures=FailurePage.open(data_dir / "breaker"))
    control = _named(orders.control)(settings, data_dir, runtime)
    transports = {name: SoundAiohttpTransport(settings.limits) for name in settings.upstreams}
    sockets = {
        Listener(name): socket.socket(fileno=descriptor)
        for name, descriptor in orders.sockets.items()
    }
    worker = Worker(runtime, control, transports, data_dir)
    await worker.run(sockets, leave=leave, on_listening=_say_ready)
    leaving.cancel()


def _named(name: str) -> MakeControlPlane:
    module, _, attribute = name.partition(":")
    return cast("MakeControlPlane", getattr(importlib.import_module(module), attribute))


def _leave_on_signals(leave: Leave) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, leave.ask)
    loop.add_signal_handler(REPLACED, lambda: leave.ask(at_ease=True))
    loop.add_signal_handler(signal.SIGHUP, lambda: None)  # the parent's business


async def _leave_when_orphaned(data_dir: Path, leave: Leave) -> None:
    loop, orphaned = asyncio.get_running_loop(), asyncio.Event()

    def on_stdin() -> None:
        if not os.read(0, 4096):
            loop.remove_reader(0)
            orphaned.set()

    loop.add_reader(0, on_stdin)
    await orphaned.wait()
    relieved = await until_relieved(data_dir)
    if not leave.asked.is_set():
        leave.ask(at_ease=relieved)


def _say_ready() -> None:
    with suppress(BrokenPipeError):  # the parent was killed meanwhile
        sys.stdout.write("ready\n")
        sys.stdout.flush()


def main() -> None:
    """Read the orders and work until told to stop."""
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format=f"%(asctime)s worker {os.getpid()} %(levelname)s %(name)s: %(message)s",
    )
    for chatty in ("alembic", "httpx"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    line = sys.stdin.buffer.readline()
    orders = msgspec.json.decode(line, type=Orders)
    uvloop.run(_work(orders))


if __name__ == "__main__":
    main()
