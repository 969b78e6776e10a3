"""A relay with the tutorial's four models, and a shell that runs the tutorial's blocks at it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.processes import Relay, await_ready, begin, end, environment, provider
from tests.seed.tutorial import FILES, aimed, json_values

MODELS = ("gpt-4.1", "claude-sonnet-4-5", "gemini-2.5-flash", "deepseek-v3.2")
_names = count(1)


@pytest.fixture(scope="package")
def the_relay(
    measured_environment: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Relay]:
    with provider({}, measured_environment) as upstream:
        settings = {
            "upstreams": {"main": {"base_url": upstream.base_url, "api_key": "sk-provider"}},
            "models": {name: {"upstream": "main", "model": name} for name in MODELS},
            "limits": {"drain_seconds": 1},
            "prefect": {"enabled": False},
        }
        folder = tmp_path_factory.mktemp("seed")
        relay = begin(folder, settings, workers=1, measured=measured_environment)
        try:
            await_ready(relay)
            yield relay
        finally:
            relay.hang_up()
            end(relay.process)


@pytest.fixture
def relay(the_relay: Relay) -> Iterator[Relay]:
    yield the_relay
    the_relay.hang_up()


@dataclass(frozen=True)
class Candidate:
    """A version beside stable that has the alias `beta`."""

    relay: Relay
    name: str
    config_id: str

    def split(self) -> dict[str, float]:
        """The split in force, under aliases."""
        with self.relay.client() as admin:
            split: dict[str, float] = admin.get("/admin/traffic/config").json()["traffic_split"]
            return split


@pytest.fixture
def candidate(relay: Relay) -> Candidate:
    """A candidate with 10 % of the traffic for gpt-4.1; all other tests' are out."""
    name = f"v2.{next(_names)}-beta"
    overrides = {"models": {"gpt-4.1": {"model": f"gpt-4.1-for-{name}"}}}
    with relay.client() as admin:
        version = {"name": name, "base_version": "stable", "config_overrides": overrides}
        admin.post("/admin/versions", json=version).raise_for_status()
        split = {"traffic_split": {"stable": 90, "beta": 10}}
        done = admin.post("/admin/traffic/config", json=split).raise_for_status().json()
    return Candidate(relay, name, done["config_id"])


@dataclass(frozen=True)
class Printed:
    """What a block printed, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def values(self) -> list[dict[str, Any]]:
        """The JSON objects among it."""
        return json_values(self.out)


Run = Callable[..., Printed]


@pytest.fixture
def run(relay: Relay, tmp_path: Path) -> Run:
    """Run a program text: bash, or Python where it is told so, in an empty folder.

    curl is kept on this machine: the headers that the tutorial prints in two words make it look
    for hosts named `stable` and `beta`, and find that nobody listens there.
    """
    (tmp_path / ".curlrc").write_text(
        "\n".join(f'connect-to = "{host}::127.0.0.1:1"' for host in ("stable", "beta")),
        encoding="utf-8",
    )
    python_first = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    outside = environment({"PATH": python_first, "CURL_HOME": str(tmp_path)})

    def run(text: str, *, with_python: bool = False, **variables: str) -> Printed:
        shell = [shutil.which("bash") or "bash", "-c"]
        done = subprocess.run(
            [*([sys.executable, "-c"] if with_python else shell), text],
            cwd=tmp_path,
            env=outside | variables,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Printed(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def block(relay: Relay, run: Run) -> Callable[..., Printed]:
    """Run a repaired block by its name, with the admin key or another one."""

    def run_block(name: str, *, key: str | None = None, then: str = "") -> Printed:
        text = (FILES / name).read_text(encoding="utf-8")
        at_relay = aimed(text, url=relay.url, key=relay.admin_key if key is None else key)
        if not name.endswith(".py"):
            return run(at_relay)
        if then:
            at_relay = f"__name__ = {Path(name).stem!r}\n{at_relay}\n{then}"
        return run(at_relay, with_python=True)

    return run_block


@pytest.fixture(autouse=True)
def _has_curl() -> None:
    if shutil.which("curl") is None or shutil.which("bash") is None:
        pytest.skip("curl and bash run the tutorial's commands")
