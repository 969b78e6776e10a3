"""Everything that `grayscale up` runs, as one thing that starts, is described, and ends."""

from __future__ import annotations

import asyncio
import os
import shlex
import socket
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from grayscale.control import Connection
from grayscale.errors import ControlUnreachable
from grayscale.plane.bootstrap import KEY_FILE, admin_key, prepare_data_dir
from grayscale.settings import load_settings
from grayscale.up.appdir import app_dir, source_dir
from grayscale.up.children import Child
from grayscale.up.conductor_key import conductor_key
from grayscale.up.environment import prefect_environment, relay_environment
from grayscale.up.lock import DataDirLock
from grayscale.up.ports import Address, bound, open_listener, parse_address, take
from grayscale.up.readiness import prefect_is_ready, relay_is_ready
from grayscale.up.sample import sample_settings, user_settings, write_effective
from grayscale.up.supervisor import Supervisor

UPSTREAM, RELAY, PREFECT, CONDUCTORS = "upstream", "relay", "prefect", "conductors"
_SETTINGS_FILE = "up.yaml"
_CONDUCTORS_GRACE_SECONDS = 2.5
_GRACE_SECONDS = 5.0


class Stack:
    """Relay, Prefect server and conductors over one data directory; the relay starts first.

    The relay's listening socket is ours: while its parent is killed and started again, the orphaned
    workers serve on, and if they are dead too, connections wait in the kernel's queue.

    Without `config` the sample's four models are served by a test upstream, which is a child too.
    A port of 0 becomes a free one. Use as an async context manager, or `start` and `stop`.
    """

    def __init__(
        self,
        *,
        data_dir: Path,
        config: Path | None = None,
        listen: str = "127.0.0.1:8400",
        prefect_port: int = 4200,
        workers: int = 1,
        environ: Mapping[str, str] = os.environ,
        announce: Callable[[str], None],
    ) -> None:
        self.data_dir = data_dir.absolute()
        self.config = config
        self.made_key: str | None = None
        self._environ = environ
        self._workers = workers
        self._announce = announce
        self._address = parse_address(listen)
        self._listening: socket.socket | None = None
        self._prefect = Address("127.0.0.1", prefect_port)
        self._lock = DataDirLock(self.data_dir)
        self._log_dir = self.data_dir / "logs"
        self._home = self.data_dir / "prefect"
        self.supervisor = Supervisor(self._log_dir, announce=announce)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    # ---------------------------------------------------------------- where things are

    @property
    def url(self) -> str:
        """The relay's base URL, with `/v1`."""
        return f"{self._address.url}/v1"

    @property
    def prefect_url(self) -> str:
        """Prefect's UI; its API is at `/api` below."""
        return self._prefect.url

    @property
    def key_file(self) -> Path:
        """Where the admin key is kept."""
        return self.data_dir / KEY_FILE

    @property
    def key_in_shell(self) -> str:
        """What a shell puts in the place of the admin key."""
        given = self._given_key is not None
        return "$GRAYSCALE_ADMIN_KEY" if given else f"$(cat {shlex.quote(str(self.key_file))})"

    @property
    def connection(self) -> Connection:
        """Where the relay is, and the admin key; raises SettingsError if it is not there."""
        return Connection(self.url, admin_key(self.data_dir, given=self._given_key))

    @property
    def _given_key(self) -> str | None:
        return self._environ.get("GRAYSCALE_ADMIN_KEY")

    # ---------------------------------------------------------------- life

    async def start(self) -> None:
        """Start everything; returns when the relay serves. Prefect takes longer: `prefect_ready`.

        Raises SettingsError for what a person must change, and ChildFailed with the last lines
        of a child that did not come up; nothing is left running then.
        """
        prepare_data_dir(self.data_dir)
        self._lock.acquire()
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def prefect_ready(self, *, timeout_seconds: float = 180.0) -> None:
        """Wait until flows can be run; raises ChildFailed or TimeoutError."""
        async with asyncio.timeout(timeout_seconds):
            await prefect_is_ready(self.prefect_url, still_running=self._check_prefect)

    async def stop(self) -> None:
        """End every child within 10 s: conductors first, while what they report to is there."""
        await self.supervisor.stop([CONDUCTORS], grace_seconds=_CONDUCTORS_GRACE_SECONDS)
        if self._listening is not None:
            self._listening.close()  # the relay has its own descriptor until it has drained
        await self.supervisor.stop([RELAY, PREFECT, UPSTREAM], grace_seconds=_GRACE_SECONDS)
        self._lock.release()

    async def _start(self) -> None:
        for directory in (self._log_dir, self._home):
            directory.mkdir(mode=0o700, exist_ok=True)
        self._listening = open_listener(self._address, flag="--listen")
        self._address = bound(self._address, self._listening)
        self._prefect = take(self._prefect, flag="--prefect-port")
        await self._settle()
        await self.supervisor.start(self._relay(self._listening))
        await self.supervisor.start(self._prefect_server())
        await self.supervisor.start(self._conductors(await self._key_of_a_ready_relay()))

    async def _key_of_a_ready_relay(self) -> str:
        still_running = partial(self.supervisor.check, RELAY)
        while True:
            await relay_is_ready(self._address.url, still_running=still_running)
            try:
                return await conductor_key(self.connection, self.data_dir)
            except ControlUnreachable:  # it was killed just now, and comes back
                continue

    async def _settle(self) -> None:
        """Settings file, store and admin key; the test upstream if there is nothing else."""
        if self.config is not None:
            settings = user_settings(self.config)
        else:
            upstream = take(Address("127.0.0.1", 0), flag="--listen")
            settings = sample_settings(upstream_port=upstream.port)
            await self.supervisor.start(self._upstream(upstream.port))
        file = self.data_dir / _SETTINGS_FILE
        write_effective(settings, file, prefect_port=self._prefect.port)
        from grayscale.relay.service import set_up  # noqa: PLC0415 - costs 0.4 s, only needed here

        given = self._given_key
        self.made_key = await set_up(load_settings(file), self.data_dir, given_key=given)
        admin_key(self.data_dir, given=given)

    def _check_prefect(self) -> None:
        self.supervisor.check(PREFECT)
        self.supervisor.check(CONDUCTORS)

    # ---------------------------------------------------------------- the children

    def _upstream(self, port: int) -> Child:
        argv = [sys.executable, "-m", "grayscale.testing.upstreams", "--port", str(port)]
        return Child(UPSTREAM, argv, self._relay_env(), self.data_dir)

    def _relay(self, listening: socket.socket) -> Child:
        options = {
            "--config": self.data_dir / _SETTINGS_FILE,
            "--data-dir": self.data_dir,
            "--listen": f"fd://{listening.fileno()}",
            "--workers": self._workers,
        }
        argv = [sys.executable, "-m", "grayscale.cli.main", "relay"]
        argv += [str(part) for option in options.items() for part in option]
        descriptors = (listening.fileno(),)
        return Child(RELAY, argv, self._relay_env(), Path.cwd(), descriptors)

    def _prefect_server(self) -> Child:
        # Like `prefect server start`, without its 2 s of command line.
        argv = [
            sys.executable, "-m", "uvicorn", "--factory", "grayscale.up.prefect_server:create_app",
            "--host", self._prefect.host, "--port", str(self._prefect.port),
            "--timeout-keep-alive", "30", "--log-level", "warning",
        ]  # fmt: skip
        return Child(PREFECT, argv, self._prefect_env(), self._home)

    def _conductors(self, key: str) -> Child:
        argv = [sys.executable, "-m", "grayscale.up.conductors"]
        ours = {
            "GRAYSCALE_URL": self.url,
            "GRAYSCALE_API_KEY": key,
            "GRAYSCALE_APP_DIR": str(app_dir()),
        }
        return Child(CONDUCTORS, argv, {**self._prefect_env(), **ours}, self._home)

    def _relay_env(self) -> dict[str, str]:
        return relay_environment(self._environ, source_dir=source_dir())

    def _prefect_env(self) -> dict[str, str]:
        paths = [app_dir(), source_dir()]
        return prefect_environment(
            self._environ, home=self._home, port=self._prefect.port, paths=paths
        )
