"""The parent of the workers: starts them, restarts them when they die, and ends them."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import Any

import msgspec

from grayscale.relay.app import Listener
from grayscale.relay.orders import REPLACED, Orders, with_secrets
from grayscale.relay.succession import take_over
from grayscale.settings import Settings

_log = logging.getLogger(__name__)

_READY_SECONDS = 60.0
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 5.0
_STEADY_AFTER_SECONDS = 10.0
_STILLBORN_LIMIT = 5
_DRAIN_SLACK_SECONDS = 10.0
_HURRY_SECONDS = 5.0


@dataclass(slots=True, eq=False)
class _Child:
    """A worker process; it lives until its process ends."""

    process: Process
    worker_id: str
    started: float
    ready: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self, number: signal.Signals) -> None:
        """Send a signal, if there is still somebody to hear it."""
        if self.process.returncode is None:
            self.process.send_signal(number)


class Parent:
    """Keeps N workers running on inherited sockets."""

    def __init__(
        self,
        settings: Settings,
        data_dir: Path,
        sockets: Mapping[Listener, socket.socket],
        *,
        workers: int,
        control: str,
    ) -> None:
        self._settings = settings
        self._data_dir = data_dir
        self._sockets = sockets
        self._control = control
        self._slots: list[_Child | None] = [None] * workers
        self._children: set[_Child] = set()
        self._stopping = asyncio.Event()
        self._hurrying = asyncio.Event()
        self._restarting = asyncio.Lock()
        self._stillborn = 0
        self._background: set[asyncio.Task[None]] = set()
        self._in_office: int | None = None

    async def run(self) -> int:
        """Keep the workers until a signal says stop; 1 if none of them would start."""
        self._listen_to_signals()
        for slot in range(len(self._slots)):
            self._do(self._keep(slot))
        await self._stopping.wait()
        for listening in self._sockets.values():
            listening.close()  # the workers' own close when they stop accepting
        await self._end_children()
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        return 1 if self._stillborn >= _STILLBORN_LIMIT else 0

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_stop)
        loop.add_signal_handler(signal.SIGHUP, lambda: self._do(self._restart_all()))

    def _on_stop(self) -> None:
        (self._hurrying if self._stopping.is_set() else self._stopping).set()

    async def _keep(self, slot: int) -> None:
        """Have a worker in this slot at all times."""
        pause_seconds = _FIRST_PAUSE_SECONDS
        while not self._stopping.is_set():
            child = self._slots[slot]
            if child is None:
                child = self._slots[slot] = await self._start()
            code = await child.process.wait()
            if self._slots[slot] is not child or self._stopping.is_set():
                continue  # a restart has put another one here
            self._slots[slot] = None
            self._count_stillborn(child)
            if time.monotonic() - child.started > _STEADY_AFTER_SECONDS:
                pause_seconds = _FIRST_PAUSE_SECONDS
            _log.warning(
                "worker %s ended with %s; next in %.1f s", child.worker_id, code, pause_seconds
            )
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(_LONGEST_PAUSE_SECONDS, pause_seconds * 2)

    def _count_stillborn(self, child: _Child) -> None:
        self._stillborn = 0 if child.ready.is_set() else self._stillborn + 1
        if self._stillborn >= _STILLBORN_LIMIT:
            _log.error("no worker gets as far as listening; the relay gives up")
            self._stopping.set()

    async def _start(self) -> _Child:
        worker_id = f"worker-{token_hex(4)}"
        descriptors = {listener: sock.fileno() for listener, sock in self._sockets.items()}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "grayscale.relay.worker_main",
            stdin=PIPE,
            stdout=PIPE,
            pass_fds=tuple(descriptors.values()),
            start_new_session=True,  # a terminal's Ctrl-C is ours to pass on
        )
        child = _Child(process, worker_id, started=time.monotonic())
        self._children.add(child)
        self._do(self._hear(child))
        orders = Orders(
            settings=with_secrets(self._settings),
            data_dir=str(self._data_dir),
            control=self._control,
            sockets={listener.value: number for listener, number in descriptors.items()},
        )
        await _write_line(process, msgspec.json.encode(orders))
        return child

    async def _hear(self, child: _Child) -> None:
        """Wait for the worker's `ready`, then for its end."""
        if child.process.stdout is not None:
            async for line in child.process.stdout:
                if line == b"ready\n":
                    child.ready.set()
                    _log.info("worker %s listens", child.worker_id)
                    self._take_over()
        await child.process.wait()
        self._children.discard(child)

    def _take_over(self) -> None:
        """Once all slots serve, a killed parent's workers may leave."""
        if self._in_office is None and all(child and child.ready.is_set() for child in self._slots):
            self._in_office = take_over(self._data_dir)

    async def _restart_all(self) -> None:
        """Replace the workers one by one; each new one listens before its old one leaves."""
        async with self._restarting:
            for slot, old in enumerate(self._slots):
                if old is None or self._stopping.is_set():
                    continue
                new = await self._start()
                try:
                    await asyncio.wait_for(new.ready.wait(), _READY_SECONDS)
                except TimeoutError:
                    _log.error("the new worker does not start; the old ones stay")
                    new.tell(signal.SIGKILL)
                    return
                self._slots[slot] = new
                old.tell(REPLACED)

    async def _end_children(self) -> None:
        """Let the workers drain; a second signal hurries them, and nobody outlasts the limit."""
        self._tell_all(signal.SIGTERM)
        gone = asyncio.create_task(self._wait_for_children())
        hurry = asyncio.create_task(self._hurrying.wait())
        seconds = self._settings.limits.drain_seconds + _DRAIN_SLACK_SECONDS
        await asyncio.wait({gone, hurry}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if not gone.done():
            self._tell_all(signal.SIGTERM)
            await asyncio.wait({gone}, timeout=_HURRY_SECONDS)
            self._tell_all(signal.SIGKILL)
        hurry.cancel()
        await gone

    async def _wait_for_children(self) -> None:
        while self._children:
            await asyncio.gather(*(child.process.wait() for child in tuple(self._children)))
            await asyncio.sleep(0)

    def _tell_all(self, number: signal.Signals) -> None:
        for child in tuple(self._children):
            child.tell(number)

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


async def _write_line(process: Process, line: bytes) -> None:
    if process.stdin is None:
        raise RuntimeError("a worker without stdin")
    process.stdin.write(line + b"\n")
    try:
        await process.stdin.drain()
    except (BrokenPipeError, ConnectionResetError):
        return  # it died at once; whoever waits for it will see
