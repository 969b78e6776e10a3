"""A relay and a provider as processes of their own, and the callers that talk to them."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import yaml

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 30.0
PLAIN: Final[dict[str, Any]] = {"trust_env": False, "verify": False}
"""For httpx: no proxies, and no time spent on certificates that plain HTTP never uses."""
_POLL_SECONDS = 0.02


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def eventually(what: Callable[[], bool], *, seconds: float = PATIENCE_SECONDS) -> bool:
    """Whether `what` comes true in time."""
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process of ours: no settings and no proxies from outside."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GRAYSCALE_") and not name.lower().endswith("_proxy")
    }
    return {**kept, "PYTHONPATH": str(ROOT / "src"), "PYTHONUNBUFFERED": "1", **extra}


def state_of(pid: int) -> str:
    """What the kernel says that a process does: R, S, T (stopped), Z and others."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def children_of(pid: int) -> set[int]:
    """The pids of a process's children."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if fields[0] != "Z" and int(fields[1]) == pid:
            found.add(int(stat.parent.name))
    return found


@dataclass
class Provider:
    """`grayscale.testing.upstreams` as a process; what it does is set over HTTP."""

    process: subprocess.Popen[str]
    origin: str

    @property
    def base_url(self) -> str:
        """What grayscale.yaml is given."""
        return f"{self.origin}/v1"

    def requests(self, request_id: str) -> list[dict[str, Any]]:
        """The recorded requests that carry this X-Request-Id."""
        recorded = httpx.get(f"{self.origin}/__requests", **PLAIN).json()["data"]
        wanted = ["x-request-id", request_id]
        return [request for request in recorded if wanted in request["headers"]]


@contextmanager
def provider(behaviour: Mapping[str, Any], extra: Mapping[str, str]) -> Iterator[Provider]:
    """A provider that behaves so."""
    command = [sys.executable, "-m", "grayscale.testing.upstreams"]
    process = subprocess.Popen(
        [*command, "--behaviour", json.dumps(behaviour)],
        env=environment(extra),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        port = json.loads(process.stdout.readline())["port"]
        yield Provider(process, f"http://127.0.0.1:{port}")
    finally:
        end(process)


def end(process: subprocess.Popen[str]) -> int:
    """Ask a process to end, make it end, and close its pipes."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        code = process.wait(PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        code = process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
    return code


@dataclass
class Relay:
    """A running `grayscale relay`."""

    process: subprocess.Popen[str]
    port: int
    data_dir: Path
    log: Path
    workers: int
    admin_key: str
    _clients: list[httpx.Client] = field(default_factory=list)

    @property
    def url(self) -> str:
        """The base URL of the API."""
        return f"http://127.0.0.1:{self.port}/v1"

    def client(self, key: str | None = None, **options: Any) -> httpx.Client:
        """A caller with the admin key, or with this one; `key=""` sends none."""
        secret = self.admin_key if key is None else key
        headers = {"authorization": f"Bearer {secret}"} if secret else {}
        made = httpx.Client(
            base_url=self.url,
            headers=headers | options.pop("headers", {}),
            timeout=20,
            **PLAIN,
            **options,
        )
        self._clients.append(made)
        return made

    def client_of_each_worker(self, key: str | None = None) -> list[httpx.Client]:
        """One caller per worker, each with a connection that this worker has accepted.

        The other workers are stopped while the connection is made.
        """
        pids = sorted(self.worker_pids())
        assert len(pids) == self.workers, f"{pids}\n{self.log.read_text()}"
        limits = httpx.Limits(max_connections=1, keepalive_expiry=60)
        clients = [self.client(key, limits=limits) for _ in pids]
        for pid, client in zip(pids, clients, strict=True):
            others = [other for other in pids if other != pid]
            try:
                for other in others:
                    os.kill(other, signal.SIGSTOP)
                client.get(f"http://127.0.0.1:{self.port}/healthz").raise_for_status()
            finally:
                for other in others:
                    os.kill(other, signal.SIGCONT)
        return clients

    def worker_pids(self) -> set[int]:
        """The processes that serve."""
        return children_of(self.process.pid)

    def is_ready(self) -> bool:
        """Whether it answers."""
        try:
            answer = httpx.get(f"http://127.0.0.1:{self.port}/readyz", **PLAIN)
        except httpx.TransportError:
            return False
        return answer.status_code == 200

    def hang_up(self) -> None:
        """Close what the tests have opened."""
        while self._clients:
            self._clients.pop().close()


def command(folder: Path, port: int, *, workers: int = 1) -> list[str]:
    """The command line of a relay whose grayscale.yaml is in `folder`."""
    return [
        *(sys.executable, "-m", "grayscale.cli.main", "relay"),
        *("--config", str(folder / "grayscale.yaml"), "--data-dir", str(folder / "data")),
        *("--listen", f"127.0.0.1:{port}", "--workers", str(workers)),
    ]


def begin(
    folder: Path,
    settings: Mapping[str, Any],
    *arguments: str,
    workers: int,
    measured: Mapping[str, str] | None = None,
) -> Relay:
    """Start a relay on a free port; `await_ready` before use.

    `measured` is the fixture `measured_environment`: only those that many tests share need it.
    """
    (folder / "grayscale.yaml").write_text(yaml.safe_dump(dict(settings)), encoding="utf-8")
    port, log = free_port(), folder / "relay.log"
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [*command(folder, port, workers=workers), *arguments],
            env=environment(measured or {}),
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            text=True,
        )
    return Relay(process, port, folder / "data", log, workers, admin_key="")


def await_ready(relay: Relay) -> None:
    """Wait until every worker listens, and learn the admin key."""

    def listening() -> bool:
        assert relay.process.poll() is None, relay.log.read_text()
        return relay.log.read_text().count(" listens\n") >= relay.workers and relay.is_ready()

    assert eventually(listening, seconds=PATIENCE_SECONDS), relay.log.read_text()
    relay.admin_key = (relay.data_dir / "admin.key").read_text(encoding="utf-8").strip()


def chat(model: str = "gpt-4.1", **fields: Any) -> dict[str, Any]:
    """The body of a chat completion."""
    return {"model": model, "messages": [{"role": "user", "content": "Hello"}], **fields}
