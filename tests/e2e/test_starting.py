"""`grayscale relay` from the first start on: the data directory, the key, and clear refusals."""

import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from grayscale.cli.main import main
from tests.e2e.conftest import settings
from tests.e2e.processes import (
    Provider,
    Relay,
    await_ready,
    begin,
    chat,
    command,
    end,
    environment,
    free_port,
)
from tests.e2e.shapes import served

Started = Callable[[], str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    text = yaml.safe_dump({"prefect": {"enabled": False}})
    (tmp_path / "grayscale.yaml").write_text(text, encoding="utf-8")
    return tmp_path


@pytest.fixture
def refused_start(folder: Path, capsys: pytest.CaptureFixture[str]) -> Started:
    """Start a relay that gets nowhere; returns what it said on its way out."""

    def start() -> str:
        arguments = ["relay", "--config", str(folder / "grayscale.yaml")]
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--data-dir", str(folder / "data"), "--listen", "127.0.0.1:0"])
        said = capsys.readouterr()
        assert (ended.value.code, said.out) == (2, "")
        assert "Traceback" not in said.err
        return said.err

    return start


def test_the_data_directory_is_private(one: Relay) -> None:
    """Mode 0700, the key 0600, and git looks past it."""
    key = one.data_dir / "admin.key"
    assert stat.S_IMODE(one.data_dir.stat().st_mode) == 0o700
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert (one.data_dir / ".gitignore").read_text(encoding="utf-8") == "*\n"
    assert one.log.read_text(encoding="utf-8").count(one.admin_key) == 1


def test_no_secret_is_in_a_process_list(one: Relay) -> None:
    """Neither the command lines nor the environments hold the provider's key or ours."""
    for pid in (one.process.pid, *one.worker_pids()):
        told = Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()
        assert b"sk-provider" not in told
        assert one.admin_key.encode() not in told


def test_a_port_that_is_taken(one: Relay, folder: Path) -> None:
    """The message names the port and what to do; the exit code is 2."""
    ended = subprocess.run(
        command(folder, one.port),
        env=environment({}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2, ended.stderr
    assert f"port {one.port}" in ended.stderr
    assert "--listen" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert one.is_ready()


def test_a_data_directory_that_cannot_be_written(folder: Path, refused_start: Started) -> None:
    """A file where the directory should be: the path, the reason, and --data-dir."""
    (folder / "data").write_text("in the way", encoding="utf-8")
    said = refused_start()
    assert str(folder / "data") in said
    assert "--data-dir" in said


def test_a_weak_admin_key_is_refused(
    refused_start: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key given from outside must be long; the message does not repeat it."""
    monkeypatch.setenv("GRAYSCALE_ADMIN_KEY", "hunter2")
    said = refused_start()
    assert "GRAYSCALE_ADMIN_KEY" in said
    assert "hunter2" not in said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("upstreams: [", ["not YAML"]),
        ("upstream: {}", ["upstream"]),
        ("upstreams: {main: {base_url: 'ftp://x'}}", ["upstreams.main.base_url"]),
        ("models: {a: {upstream: mars, model: a}}", ["models.a.upstream", "mars"]),
        (
            "upstreams: {main: {base_url: 'http://x', api_key: '${NO_SUCH_KEY}'}}",
            ["NO_SUCH_KEY", "not set"],
        ),
    ],
    ids=["no-yaml", "unknown-key", "bad-url", "unknown-upstream", "unset-secret"],
)
def test_settings_that_are_wrong(
    folder: Path, refused_start: Started, text: str, words: list[str]
) -> None:
    """The file, the field and the value are named; nothing was made on disk."""
    (folder / "grayscale.yaml").write_text(text, encoding="utf-8")
    said = refused_start()
    assert "grayscale.yaml" in said
    assert all(word in said for word in words), said
    assert not (folder / "data").exists()


def test_operators_may_have_an_address_of_their_own(folder: Path, the_provider: Provider) -> None:
    """With --admin-listen callers find no admin API; on it, /metrics needs no key."""
    address = f"127.0.0.1:{free_port()}"
    given = settings(the_provider.base_url)
    relay = begin(folder, given, "--admin-listen", address, workers=1)
    try:
        await_ready(relay)
        operator, stranger = relay.client(), relay.client(key="")
        hidden = operator.get("/admin/versions")
        shown = operator.get(f"http://{address}/v1/admin/versions")
        assert (hidden.status_code, shown.status_code) == (404, 200)
        assert set(hidden.json()["error"]) == {"code", "message", "type", "param"}
        served(operator.post("/chat/completions", json=chat()))
        assert (
            operator.post(f"http://{address}/v1/chat/completions", json=chat()).status_code == 404
        )
        assert stranger.get(f"http://{address}/v1/admin/versions").status_code == 401
        assert "grayscale_requests_total" in stranger.get(f"http://{address}/metrics").text
        assert stranger.get(f"http://127.0.0.1:{relay.port}/metrics").status_code == 401
    finally:
        relay.hang_up()
        end(relay.process)
