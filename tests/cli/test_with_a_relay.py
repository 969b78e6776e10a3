"""The commands against a real relay, in its own process, without Prefect."""

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from tests.cli.conftest import Cli

SETTINGS = """
upstreams: {one: {base_url: "http://127.0.0.1:9/v1"}}
models: {chat: {upstream: one, model: chat-1}}
prefect: {api_url: "http://127.0.0.1:9/api"}
"""
PLAN = "version_name: v2\nconfig_overrides: {parameters: {temperature: 0}}\n"
START_SECONDS = 60


@pytest.fixture(scope="module")
def real_relay(
    tmp_path_factory: pytest.TempPathFactory, measured_environment: dict[str, str]
) -> Iterator[Path]:
    """The folder of a relay that is ready: grayscale.yaml, `data`, and its URL in `url`."""
    folder = tmp_path_factory.mktemp("relay")
    (folder / "grayscale.yaml").write_text(SETTINGS)
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    (folder / "url").write_text(f"http://{address}/v1")
    command = [sys.executable, "-m", "grayscale.cli.main", "relay", "--data-dir", "data"]
    source = str(Path(__file__).parents[2] / "src")
    process = subprocess.Popen(
        [*command, "--listen", address],
        cwd=folder,
        env=os.environ | measured_environment | {"PYTHONPATH": source},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until_ready(f"http://{address}/readyz")
        yield folder
    finally:
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 0
    assert said.startswith("Admin key (shown this once")
    assert "Traceback" not in said


def wait_until_ready(url: str) -> None:
    """Return once a relay serves; fail if none does in time."""
    ends = time.monotonic() + START_SECONDS
    while time.monotonic() < ends:
        try:
            if httpx.get(url, trust_env=False).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    pytest.fail(f"no relay at {url} after {START_SECONDS} s")


@pytest.fixture
def shell(cli: Cli, real_relay: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Commands that talk to the relay, with the key of its data directory."""
    monkeypatch.setenv("GRAYSCALE_URL", (real_relay / "url").read_text())
    monkeypatch.setenv("GRAYSCALE_DATA_DIR", str(real_relay / "data"))
    monkeypatch.delenv("GRAYSCALE_API_KEY", raising=False)
    return cli


def test_a_release_without_prefect_is_queued_and_can_be_aborted(shell: Cli, tmp_path: Path) -> None:
    """Begun, listed, shown, waited for, refused to be paused, aborted, tried again: all real."""
    (tmp_path / "plan.yaml").write_text(PLAN)
    begun = shell("release", "plan.yaml")
    assert begun.code == 0
    release = begun.out.strip()
    assert release in shell("list").out
    assert "(queued)" in shell("get", "v2").out
    assert shell("status", "v2", "--timeout", "0.2").code == 1
    assert shell("pause", "v2").code == 4
    assert shell("approve", release).code == 4
    aborted = shell("abort", "v2", "--note", "not today")
    assert (aborted.code, "not today" in aborted.out) == (0, True)
    assert shell("status", release).code == 1
    told = shell("explain", "v2").out
    assert told.startswith("v2 was rolled back at ")
    assert told.splitlines()[1] == "aborted by admin: not today"
    assert shell("replay", release).out == "0 intervals judged again: exactly as recorded.\n"
    again = json.loads(shell("retry", release, "--json").out)
    assert again["id"] != release
    assert shell("abort", again["id"]).code == 0


def test_versions_and_splits_by_hand(shell: Cli, tmp_path: Path) -> None:
    """A version is created, shown, given traffic, and rolled back; twice is a conflict."""
    (tmp_path / "patch.yaml").write_text("parameters: {temperature: 1}\n")
    assert shell("versions", "create", "hand", "--overrides", "patch.yaml").code == 0
    assert "temperature" in shell("versions", "diff", "stable", "hand").out
    assert shell("split", "set", "stable=90", "hand=10", "--reason", "by hand").code == 0
    rows = json.loads(shell("split", "get", "--json").out)["versions"]
    weights = {row["version"]: row["intended_percent"] for row in rows}
    assert (weights["v1"], weights["hand"]) == (90, 10)
    rolled_back = shell("rollback", "--reason", "enough")
    assert rolled_back.code == 0
    assert "stable 100 %" in rolled_back.err
    assert shell("rollback", "--reason", "again").code == 4
    assert shell("undo").code == 2


def test_a_key_without_the_scope_is_told_so(shell: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new key works at once within its scopes; beyond them, and once revoked, it does not."""
    made = json.loads(shell("keys", "create", "reader", "--scope", "read", "--json").out)
    with monkeypatch.context() as as_reader:
        as_reader.setenv("GRAYSCALE_API_KEY", made["key"])
        assert shell("list").code == 0
        refused = shell("keys", "list")
        assert (refused.code, "insufficient_scope" in refused.err) == (2, True)
    assert shell("keys", "revoke", made["id"]).code == 0
    assert made["id"] in shell("keys", "list").out


def test_doctor_sees_a_relay_without_prefect(shell: Cli, real_relay: Path) -> None:
    """The relay, its key and its data are well; that Prefect is away is what is broken."""
    config, data = str(real_relay / "grayscale.yaml"), str(real_relay / "data")
    result = shell("doctor", "--config", config, "--data-dir", data, "--json")
    found = {finding["what"]: finding["state"] for finding in json.loads(result.out)}
    assert result.code == 1
    assert [what for what, state in found.items() if state == "broken"] == ["prefect"]
    assert (found["relay"], found["key"], found["data"]) == ("ok", "ok", "ok")


def test_audit_verify_finds_an_edited_and_a_shortened_log(
    shell: Cli, real_relay: Path, tmp_path: Path
) -> None:
    """A live relay's log is whole; a copy that was edited, or ends too early, is found out."""
    assert shell("versions", "create", "audited").code == 0
    assert shell("split", "set", "stable=99", "audited=1").code == 0
    assert shell("rollback", "--reason", "audited").code == 0
    whole = shell("audit", "verify", "--data-dir", str(real_relay / "data"), "--json")
    report = json.loads(whole.out)
    assert (whole.code, report["ok"], report["records"] > 1) == (0, True, True)
    remote = json.loads(shell("audit", "verify", "--remote", "--json").out)
    assert (remote["ok"], remote["records"] >= report["records"]) == (True, True)

    copy = tmp_path / "copy"
    shutil.copytree(real_relay / "data", copy)
    with closing(sqlite3.connect(copy / "grayscale.db")) as store, store:
        last = "(SELECT max(seq) FROM events)"
        store.execute(f"DELETE FROM events WHERE seq = {last}")
    cut = ("audit", "verify", "--data-dir", str(copy))
    shortened = shell(*cut)
    assert (shortened.code, "cut off" in shortened.out) == (1, True)
    (copy / "audit-heads.log").unlink()
    (copy / "snapshot.json").unlink()
    assert shell(*cut).code == 0
    shortened = shell(*cut, "--head", report["head"])
    assert (shortened.code, "cut off" in shortened.out) == (1, True)
    with closing(sqlite3.connect(copy / "grayscale.db")) as store, store:
        change = "replace(envelope, 'audited', 'innocent')"
        store.execute(f"UPDATE events SET envelope = {change} WHERE seq = {last}")
    edited = shell(*cut)
    assert (edited.code, "the record was edited" in edited.out) == (1, True)


def test_audit_verify_makes_no_store_where_there_is_none(cli: Cli, tmp_path: Path) -> None:
    """A mistyped directory is a usage error, and stays empty."""
    (tmp_path / "typo").mkdir()
    result = cli("audit", "verify", "--data-dir", "typo")
    assert result.code == 2
    assert "--data-dir" in result.err
    assert list((tmp_path / "typo").iterdir()) == []


def test_a_taken_port_is_a_clear_error(real_relay: Path, cli: Cli) -> None:
    """A second relay on the same port says which port is taken, and exits with 2."""
    address = (real_relay / "url").read_text().removeprefix("http://").removesuffix("/v1")
    config = str(real_relay / "grayscale.yaml")
    result = cli("relay", "--config", config, "--data-dir", "other", "--listen", address)
    assert result.code == 2
    assert address.rpartition(":")[2] in result.err
