"""`doctor`."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from grayscale.cli.machine_checks import check_data_dir, check_packages, prefect_of
from grayscale.cli.service_checks import check_key, check_prefect, check_relay
from grayscale.control import Connection
from grayscale.settings import PrefectSettings
from grayscale.up.sample import write_effective
from tests.cli.conftest import Cli
from tests.cli.fake_relay import FakeRelay

DEPLOYED = (("f1", "release", "on-demand"), ("f2", "rollback", "on-demand"),
            ("f3", "nightly-canary", "nightly"))  # fmt: skip


@pytest.fixture
def prefect() -> Iterator[FakeRelay]:
    """A Prefect API in good order."""
    with FakeRelay() as server:
        flows = [{"id": id_, "name": flow} for id_, flow, _ in DEPLOYED]
        deployments = [{"flow_id": id_, "name": name} for id_, _, name in DEPLOYED]
        server.says("GET", "/api/health", True)
        server.says("POST", "/api/flows/filter", flows)
        server.says("POST", "/api/deployments/filter", deployments)
        server.says("POST", "/api/work_pools/filter", [{"name": "grayscale"}])
        workers = [{"name": "w1", "status": "ONLINE"}]
        server.says("POST", "/api/work_pools/grayscale/workers/filter", workers)
        yield server


def states(findings: list[Any]) -> dict[str, str]:
    """What was found about what."""
    return {finding.what: finding.state for finding in findings}


def of(prefect: FakeRelay) -> PrefectSettings:
    """Settings that name this Prefect."""
    return PrefectSettings(api_url=f"{prefect.origin}/api")


def test_a_prefect_in_order(prefect: FakeRelay) -> None:
    """Healthy, our three deployments, a worker online."""
    assert states(check_prefect(of(prefect))) == {"prefect": "ok", "flows": "ok", "worker": "ok"}


def test_a_missing_deployment_is_named(prefect: FakeRelay) -> None:
    """What is not deployed is named, with what deploys it."""
    prefect.says("POST", "/api/deployments/filter", [{"flow_id": "f1", "name": "on-demand"}])
    flows = check_prefect(of(prefect))[1]
    assert flows.state == "broken"
    assert "nightly-canary/nightly, rollback/on-demand" in flows.text


def test_a_pool_without_an_online_worker_is_broken(prefect: FakeRelay) -> None:
    """Without a worker no release would ever start."""
    offline = [{"name": "w1", "status": "OFFLINE"}]
    prefect.says("POST", "/api/work_pools/grayscale/workers/filter", offline)
    assert states(check_prefect(of(prefect)))["worker"] == "broken"


def test_something_else_in_prefects_place(prefect: FakeRelay) -> None:
    """A server that is not Prefect's is not taken for one, and one that wants a password says so."""
    prefect.says("GET", "/api/health", {"hello": 1})
    assert states(check_prefect(of(prefect))) == {"prefect": "broken"}
    prefect.says("GET", "/api/health", {}, status=401)
    assert "auth_string" in check_prefect(of(prefect))[0].text


def test_nobody_home_says_that_the_port_is_free() -> None:
    """A port where nothing listens is told from one that somebody else has."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        free = check_prefect(PrefectSettings(api_url=f"http://127.0.0.1:{port}/api"))
        assert "the port is free" in free[0].text
        taken.listen()
        busy = check_relay(f"http://127.0.0.1:{port}/v1", timeout_seconds=0.2)
        assert "speaks no HTTP" in busy[0].text


def test_prefect_that_is_switched_off_is_no_fault() -> None:
    """Without Prefect there is nothing to look at."""
    assert states(check_prefect(PrefectSettings(enabled=False))) == {"prefect": "note"}


@pytest.mark.parametrize(
    ("status", "body", "state"),
    [
        (200, {"status": "ready"}, "ok"),
        (200, {"status": "degraded", "reasons": ["no leader"]}, "note"),
        (503, {"status": "draining"}, "broken"),
        (200, {"some": "page"}, "broken"),
    ],
)
def test_relay_states(relay: FakeRelay, status: int, body: Any, state: str) -> None:
    """Ready, degraded, draining, and a server that is no relay."""
    relay.says("GET", "/readyz", body, status=status)
    assert check_relay(relay.url)[0].state == state


@pytest.mark.parametrize(
    ("status", "state"), [(200, "ok"), (401, "broken"), (403, "note"), (500, "broken")]
)
def test_key_states(relay: FakeRelay, status: int, state: str) -> None:
    """A key is accepted, unknown, without the scope to look, or cannot be judged."""
    relay.says("GET", "/v1/admin/versions", {}, status=status)
    assert check_key(Connection(relay.url, "gs_x")).state == state


def test_data_directory_that_others_can_read_is_broken(tmp_path: Path) -> None:
    """Mode 0700 for the directory, 0600 for the key; the remedy is a line to paste."""
    data = tmp_path / "data"
    assert check_data_dir(data).state == "note"
    data.mkdir(mode=0o700)
    key = data / "admin.key"
    key.touch(mode=0o600)
    assert check_data_dir(data).state == "ok"
    key.chmod(0o644)
    assert f"chmod 600 {key}" in check_data_dir(data).text
    data.chmod(0o755)
    assert f"chmod 700 {data}" in check_data_dir(data).text
    assert check_data_dir(key).state == "broken"


def test_the_prefect_of_up_is_looked_at_on_its_own_port(tmp_path: Path) -> None:
    """`up` may have put Prefect on another port than grayscale.yaml says."""
    assert prefect_of(tmp_path) is None
    write_effective({}, tmp_path / "up.yaml", prefect_port=4321)
    found = prefect_of(tmp_path)
    assert found is not None
    assert found.api_url == "http://127.0.0.1:4321/api"
    (tmp_path / "up.yaml").write_text("[]")
    assert prefect_of(tmp_path) is None


@pytest.mark.parametrize(
    ("requirement", "state"),
    [
        ("httpx<1,>=0.28", "ok"),
        ("httpx>=99", "broken"),
        ("httpx<0.28", "broken"),
        ("no-such-package>=1", "broken"),
        ('no-such-package>=1; sys_platform == "win32"', "ok"),
        ('asyncpg>=99; extra == "postgres"', "ok"),
        ("sqlalchemy[asyncio]<3,>=2.0.40", "ok"),
    ],
)
def test_packages_are_held_against_their_bounds(requirement: str, state: str) -> None:
    """A package that is missing or outside its bounds is broken; extras are passed over."""
    assert check_packages([requirement]).state == state


def test_doctor_exits_with_1_if_something_is_broken(
    cli: Cli, relay: FakeRelay, prefect: FakeRelay, tmp_path: Path
) -> None:
    """One line for each; the exit code says whether all is well."""
    (tmp_path / "grayscale.yaml").write_text(f"prefect: {{api_url: '{prefect.origin}/api'}}\n")
    relay.says("GET", "/readyz", {"status": "ready"})
    relay.says("GET", "/v1/admin/versions", {"data": []})
    well = cli("doctor", "--json")
    assert {found["what"]: found["state"] for found in json.loads(well.out)} | {
        "packages": "any"
    } == {
        "settings": "ok", "data": "note", "packages": "any", "relay": "ok", "clock": "note",
        "key": "ok", "prefect": "ok", "flows": "ok", "worker": "ok",
    }  # fmt: skip
    relay.says("GET", "/v1/admin/versions", {}, status=401)
    ill = cli("doctor")
    assert ill.code == 1
    assert "✖ key:" in ill.out
