"""One worker process: serves requests, follows the store, and leaves without dropping anyone."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from grayscale.errors import StoreError
from grayscale.relay import snapshot_file
from grayscale.relay.app import Listener, RelayApp
from grayscale.relay.control import ControlPlane
from grayscale.relay.routing import RoutingError
from grayscale.relay.runtime import Runtime
from grayscale.relay.server import HttpServer
from grayscale.traffic.snapshot import Snapshot

_log = logging.getLogger(__name__)

_HINT_SECONDS = 0.02
_FLUSH_SECONDS = 1.0
_RETRY_SECONDS = 1.0
_READINESS_LEAD_SECONDS = 1.0
_IDLE_SECONDS, _IDLE_SECONDS_AT_EASE = 1.0, 5.0
_LAST_FRAMES_SECONDS = 1.0


@dataclass(slots=True)
class Leave:
    """How a worker is told to leave.

    `at_ease`: others serve on in its place, and nobody waits for its end. Then callers get longer
    to use their idle connections once more, so that it is they who close them: a request that
    crosses with our closing is lost.
    """

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    hurried: asyncio.Event = field(default_factory=asyncio.Event)
    at_ease: bool = False

    def ask(self, *, at_ease: bool = False) -> None:
        """Leave; who is told a second time that somebody waits for it hurries."""
        if at_ease and self.asked.is_set():
            return
        if self.asked.is_set() and not self.at_ease:
            self.hurried.set()
        self.at_ease = at_ease
        self.asked.set()


class Worker:
    """The loops around one `Runtime`."""

    def __init__(
        self,
        runtime: Runtime,
        control: ControlPlane,
        transports: Mapping[str, httpx.AsyncBaseTransport],
        data_dir: Path,
    ) -> None:
        self._runtime = runtime
        self._control = control
        self._transports = transports
        self._data_dir = data_dir
        self._app = control.control_app(self.flush)
        self._servers: list[HttpServer] = []
        self._refreshing = asyncio.Lock()
        self._flushing = asyncio.Lock()
        self._cuts_done: dict[int, int] = {}
        self._last_beat = 0
        self._stored: Snapshot | None = None
        self._off_stable = False

    async def run(
        self,
        sockets: Mapping[Listener, socket.socket],
        *,
        leave: Leave,
        on_listening: Callable[[], None],
    ) -> None:
        """Serve until told to leave, then drain; hurrying ends the draining too."""
        await self.start_state()
        for listener, listening in sockets.items():
            app = RelayApp(self._runtime, self._transports, self._app, listener=listener)
            server = HttpServer(app, self._runtime.limits)
            await server.start(listening)
            self._servers.append(server)
        on_listening()
        loops = [
            asyncio.create_task(_forever("watching the brake", self._follow_brake)),
            asyncio.create_task(_forever("loading what is new", self._follow_hint)),
            asyncio.create_task(_forever("flushing", self._follow_store)),
        ]
        leader = asyncio.create_task(_forever("leading", self._control.run_leader))
        await leave.asked.wait()
        await _end(leader)
        await self._drain(leave)
        await _end(*loops)
        await self._say_goodbye()

    async def refresh(self) -> None:
        """Read the store's state and serve by it, if it is another one."""
        async with self._refreshing:
            try:
                snapshot = await self._control.load_snapshot()
            except StoreError as error:
                self._runtime.health.report("store", str(error))
                return
            self._runtime.health.report("store", None)
            current = self._runtime.snapshot
            if current is None or current.config_seq != snapshot.config_seq:
                await self._install(snapshot)

    async def flush(self) -> None:
        """Write what was counted, acknowledge what is served, hear what is new."""
        runtime = self._runtime
        async with self._flushing:
            asked_at = runtime.clock.monotonic()  # an answer that was long on its way is no news
            cells = runtime.meter.take()
            snapshot = runtime.snapshot
            try:
                beat = await self._control.flush(
                    cells=cells,
                    applied_seq=snapshot.config_seq if snapshot is not None else 0,
                    in_flight=runtime.in_flight.counts(),
                )
            except StoreError as error:
                runtime.meter.put_back(cells)
                runtime.health.report("store", str(error))
                return
            except BaseException:
                runtime.meter.put_back(cells)
                raise
        runtime.health.report("store", None)
        runtime.workers = max(1, beat.workers)
        if beat.beat != self._last_beat:
            self._last_beat, runtime.beat_at = beat.beat, asked_at
        if snapshot is None or beat.config_seq != snapshot.config_seq:
            await self.refresh()

    async def report_trips(self) -> None:
        """Have the breaker's trips written down; a store that is away hears of them later."""
        trips = self._runtime.trips
        while trips:
            try:
                await self._control.record_trip(trips[0])
            except StoreError as error:
                self._runtime.health.report("store", str(error))
                return
            del trips[0]

    def obey_brake(self) -> None:
        """What the brake page says beyond the choice of a version per request."""
        if self._stored is not None and self._leaves_stable(self._stored) != self._off_stable:
            self._serve(self._stored)
        self.cut_banned()

    def cut_banned(self) -> None:
        """End the running requests of versions whose ban says so, once per ban."""
        runtime, snapshot = self._runtime, self._runtime.snapshot
        if snapshot is None:
            return
        for name in runtime.in_flight.counts():
            version = snapshot.versions.get(name)
            if version is None or version is snapshot.stable:
                continue
            value = runtime.brake.value(version.brake_slot)
            is_new = self._cuts_done.get(version.brake_slot) != value
            if is_new and runtime.brake.wants_cut(version.brake_slot):
                self._cuts_done[version.brake_slot] = value
                runtime.in_flight.cut(name)

    async def start_state(self) -> None:
        """Begin with the store's state, or with the last stable version that was known."""
        await self.refresh()
        if self._runtime.snapshot is None:
            stored = snapshot_file.load(self._data_dir)
            if stored is not None:
                _log.warning("the store is away: serving the stable version of the last snapshot")
                self._serve(stored)

    async def _install(self, snapshot: Snapshot) -> None:
        if not self._serve(snapshot):
            return
        self._runtime.flush_wanted.set()
        try:
            await asyncio.to_thread(snapshot_file.save, snapshot, self._data_dir)
        except OSError as error:
            self._runtime.health.report("snapshot_file", f"cannot be written: {error}")
        else:
            self._runtime.health.report("snapshot_file", None)

    def _serve(self, snapshot: Snapshot) -> bool:
        """Route by a state, or by its previous stable where the brake says so; False if it can't.

        A promotion can be taken away without the store only so.
        """
        leaving = self._leaves_stable(snapshot)
        previous = snapshot.previous if leaving else None
        try:
            self._runtime.install(snapshot.with_stable(previous) if previous else snapshot)
        except RoutingError as error:
            self._runtime.health.report("snapshot", str(error))
            return False
        self._stored, self._off_stable = snapshot, leaving
        gone = f"{snapshot.stable.name} was taken out of traffic, and that is not on record yet"
        self._runtime.health.report("stable", gone if leaving else None)
        self._runtime.health.report("snapshot", None)
        return True

    def _leaves_stable(self, snapshot: Snapshot) -> bool:
        """Whether stable is banned, and there is a previous one to go to."""
        brake, stable = self._runtime.brake, snapshot.aliases.get("stable")
        version = snapshot.versions.get(stable or "")
        if version is None or not brake.banned(version.brake_slot):
            return False
        previous = snapshot.previous
        return previous is not None and not brake.banned(previous.brake_slot)

    async def _follow_brake(self) -> None:
        """Never waits for the store: the brake works while that hangs."""
        while True:
            self.obey_brake()
            await asyncio.sleep(_HINT_SECONDS)

    async def _follow_hint(self) -> None:
        seen = 0
        while True:
            hint = self._runtime.brake.hint
            if hint != seen:
                seen = hint
                await self.refresh()
            await asyncio.sleep(_HINT_SECONDS)

    async def _follow_store(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._runtime.flush_wanted.wait(), _FLUSH_SECONDS)
            self._runtime.flush_wanted.clear()
            await self.flush()
            await self.report_trips()

    async def _drain(self, leave: Leave) -> None:
        """Not ready first, then deaf, then gone; every answer meanwhile says `close`."""
        runtime = self._runtime
        runtime.health.draining = True
        draining = asyncio.create_task(self._drain_in_peace(at_ease=leave.at_ease))
        hurrying = asyncio.create_task(leave.hurried.wait())
        await asyncio.wait({draining, hurrying}, return_when=asyncio.FIRST_COMPLETED)
        await _end(draining, hurrying)
        if runtime.in_flight.cut_all():
            await asyncio.sleep(_LAST_FRAMES_SECONDS)
        for server in self._servers:
            server.stop_accepting()
            server.abort()

    async def _drain_in_peace(self, *, at_ease: bool) -> None:
        await asyncio.sleep(_READINESS_LEAD_SECONDS)
        for server in self._servers:
            server.stop_accepting()
        seconds = self._runtime.limits.drain_seconds
        idle_seconds = _IDLE_SECONDS_AT_EASE if at_ease else _IDLE_SECONDS
        await asyncio.gather(
            *(s.wait_closed(seconds=seconds, idle_seconds=idle_seconds) for s in self._servers)
        )

    async def _say_goodbye(self) -> None:
        await self.flush()
        try:
            await self._control.close()
        except StoreError as error:
            _log.warning("the store did not hear the goodbye: %s", error)
        for transport in self._transports.values():
            await transport.aclose()


async def _forever(what: str, work: Callable[[], Awaitable[None]]) -> None:
    """The outermost loop of a worker's duty: it may fail, but it does not end."""
    while True:
        try:
            await work()
        except Exception:  # noqa: BLE001 - the loop's boundary
            _log.exception("%s failed; tried again in %.0f s", what, _RETRY_SECONDS)
        await asyncio.sleep(_RETRY_SECONDS)


async def _end(*tasks: asyncio.Task[None] | asyncio.Task[bool]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
