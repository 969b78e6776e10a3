"""What can go wrong around a relay, done to a real one, and undone."""

import mmap
import os
import resource
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from grayscale.relay.brake import FIRST_SLOT, PAGE_BYTES
from tests.e2e.conftest import settings
from tests.e2e.processes import (
    PLAIN,
    Provider,
    Relay,
    await_ready,
    begin,
    chat,
    end,
    eventually,
    state_of,
)


@contextmanager
def relay_of_two(folder: Any, provider: Provider) -> Iterator[Relay]:
    """A relay of two workers that may come to harm."""
    relay = begin(folder, settings(provider.base_url), workers=2)
    try:
        await_ready(relay)
        yield relay
    finally:
        relay.hang_up()
        end(relay.process)


@contextmanager
def locked(relay: Relay) -> Iterator[None]:
    """Another process holds the store's write lock."""
    other = sqlite3.connect(relay.data_dir / "grayscale.db", isolation_level=None, timeout=20)
    try:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")
    finally:
        other.close()


def remove_store(relay: Relay) -> None:
    """SQLite's file goes first: without the log beside it, it would be an older store."""
    for part in sorted(relay.data_dir.glob("grayscale.db*")):
        part.unlink()


@contextmanager
def full(relay: Relay) -> Iterator[None]:
    """No file of the workers can grow."""
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    pids = relay.worker_pids()
    for pid in pids:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, most))
    try:
        yield
    finally:
        for pid in pids:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, most))


@contextmanager
def stopped(relay: Relay, pid: int) -> Iterator[None]:
    """A worker that is stopped, and goes on later as if nothing had been.

    Not while it writes: it would keep the store's lock, which is another fault.
    """
    with locked(relay):
        os.kill(pid, signal.SIGSTOP)
        halted = eventually(lambda: state_of(pid) == "T")
    try:
        assert halted
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def row(relay: Relay, query: str) -> tuple[Any, ...]:
    """One row of the store, as another process sees it."""
    with sqlite3.connect(relay.data_dir / "grayscale.db", timeout=20) as other:
        found = other.execute(query).fetchone()
    other.close()
    return tuple(found or ())


def ready_state(relay: Relay) -> dict[str, Any]:
    """What a worker says of its health."""
    answer = httpx.get(f"http://127.0.0.1:{relay.port}/readyz", **PLAIN)
    return {"code": answer.status_code, **answer.json()}


class Page:
    """The brake page, watched from outside."""

    def __init__(self, relay: Relay) -> None:
        with (relay.data_dir / "brake").open("rb") as file:
            self._page = mmap.mmap(file.fileno(), PAGE_BYTES, access=mmap.ACCESS_READ)
        self._before = self._bans()

    def _bans(self) -> bytes:
        return self._page[8 * FIRST_SLOT :]

    def seconds_until_pulled(self, *, since: float) -> float:
        """How long it takes from that moment on until there is a new ban; 5 s if there is none."""
        while self._bans() == self._before and time.monotonic() - since < 5:
            time.sleep(0.0005)
        return time.monotonic() - since


@dataclass
class Callers:
    """Callers who never stop, and what they were answered."""

    relay: Relay
    per_second: float
    threads: int = 4
    answers: list[tuple[float, int, str]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def versions_of(self, moment: float) -> list[str]:
        """Who served each request that began after a moment."""
        return [version for at, _, version in self.answers if at > moment]

    def versions_after(self, moment: float) -> set[str]:
        """Who served the requests that began after a moment."""
        return set(self.versions_of(moment))

    def failed(self) -> list[str]:
        """Every answer that was none of 200."""
        return self.errors + [str(code) for _, code, _ in self.answers if code != 200]

    def _call(self) -> None:
        url, headers = self.relay.url, {"x-api-key": self.relay.admin_key}
        pause = self.threads / self.per_second
        with httpx.Client(headers=headers, timeout=20, **PLAIN) as client:
            while not self._stop.is_set():
                began = time.monotonic()
                try:
                    answer = client.post(f"{url}/chat/completions", json=chat())
                except httpx.HTTPError as error:
                    self.errors.append(repr(error))
                else:
                    version = answer.headers.get("x-relay-version", "")
                    self.answers.append((began, answer.status_code, version))
                self._stop.wait(max(0.0, pause - (time.monotonic() - began)))


@contextmanager
def callers(relay: Relay, *, per_second: float = 60, threads: int = 4) -> Iterator[Callers]:
    """Callers on kept connections, so many requests a second in all."""
    made = Callers(relay, per_second, threads)
    with ThreadPoolExecutor(threads) as pool:
        running = [pool.submit(made._call) for _ in range(threads)]
        try:
            yield made
        finally:
            made._stop.set()
            for one in running:
                one.result()
