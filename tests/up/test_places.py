"""Ports, locks, directories, environments and settings of `up`."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from grayscale.errors import SettingsError
from grayscale.settings import load_settings
from grayscale.up.appdir import app_dir
from grayscale.up.environment import prefect_environment, relay_environment
from grayscale.up.lock import DataDirLock
from grayscale.up.ports import Address, parse_address, take
from grayscale.up.sample import sample_settings, user_settings, write_effective


def test_a_port_of_0_becomes_a_free_one() -> None:
    """The demo and tests ask for any port and are told which."""
    found = take(Address("127.0.0.1", 0), flag="--listen")
    assert found.port > 0
    assert found.url == f"http://127.0.0.1:{found.port}"


def test_a_taken_port_is_named_with_its_flag() -> None:
    """The message says which port, on which address, and how to choose another."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(SettingsError, match=f"port {port} on 127.0.0.1 .* --prefect-port"):
            take(Address("127.0.0.1", port), flag="--prefect-port")


@pytest.mark.parametrize("text", ["8400", "localhost", "localhost:", ":8400", "a:99999", "a:-1"])
def test_what_is_no_address_is_refused(text: str) -> None:
    """An address is HOST:PORT, and the message shows one."""
    with pytest.raises(SettingsError, match=r"write HOST:PORT, such as 127\.0\.0\.1:8400"):
        parse_address(text)


def test_clients_on_this_machine_get_an_address_they_can_use() -> None:
    """0.0.0.0 is where to listen, not where to connect to; IPv6 is bracketed."""
    assert parse_address("0.0.0.0:8400").url == "http://127.0.0.1:8400"
    assert str(parse_address("[::1]:8400")) == "[::1]:8400"
    assert parse_address("[::]:8400").url == "http://[::1]:8400"


def test_a_data_directory_has_one_up(tmp_path: Path) -> None:
    """A second `up` is refused with the process id of the first; after its end it may begin."""
    first, second = DataDirLock(tmp_path), DataDirLock(tmp_path)
    first.acquire()
    with pytest.raises(SettingsError, match=rf"process {os.getpid()}\).*--data-dir"):
        second.acquire()
    first.release()
    second.acquire()
    second.release()


def test_the_application_is_beside_the_package_or_above_it(tmp_path: Path) -> None:
    """The installed application comes first, then the checkout; never the current folder."""
    package = tmp_path / "src" / "grayscale"
    for place in (tmp_path, package / "_app"):
        (place / "flows").mkdir(parents=True)
    (tmp_path / "prefect.yaml").touch()
    assert app_dir(package) == tmp_path
    (package / "_app" / "prefect.yaml").touch()
    assert app_dir(package) == package / "_app"


def test_a_broken_installation_is_told(tmp_path: Path) -> None:
    """Without flows the message names both places that were looked into."""
    with pytest.raises(SettingsError, match="_app nor in"):
        app_dir(tmp_path / "src" / "grayscale")


def test_nothing_of_the_users_prefect_gets_in(tmp_path: Path) -> None:
    """Prefect's settings are ours alone, and relay keys do not reach it by accident."""
    environ = {
        "PATH": "/bin",
        "PREFECT_API_URL": "https://elsewhere",
        "PREFECT_PROFILE": "work",
        "GRAYSCALE_ADMIN_KEY": "secret",
        "PYTHONPATH": "/their/code",
    }
    env = prefect_environment(environ, home=tmp_path, port=4300, paths=[Path("/app")])
    assert env["PREFECT_API_URL"] == "http://127.0.0.1:4300/api"
    assert env["PREFECT_HOME"] == str(tmp_path)
    assert env["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert "PREFECT_PROFILE" not in env
    assert "GRAYSCALE_ADMIN_KEY" not in env
    assert env["PYTHONPATH"] == os.pathsep.join(["/app", "/their/code"])
    relay_env = relay_environment(environ, source_dir=Path("/src"))
    assert relay_env["GRAYSCALE_ADMIN_KEY"] == "secret"
    assert "PREFECT_API_URL" not in relay_env


def test_the_sample_serves_four_models(tmp_path: Path) -> None:
    """Without settings, four models are answered by a test upstream; nothing costs money."""
    file = tmp_path / "up.yaml"
    write_effective(sample_settings(upstream_port=9999), file, prefect_port=4300)
    settings = load_settings(file)
    assert set(settings.models) == {
        "gpt-4.1",
        "claude-sonnet-4.5",
        "gemini-2.5-flash",
        "deepseek-v3.2",
    }
    assert settings.models["claude-sonnet-4.5"].aliases == ("claude-sonnet-4-5",)
    assert settings.upstreams["local"].base_url == "http://127.0.0.1:9999/v1"
    assert file.stat().st_mode & 0o777 == 0o600


def test_the_users_settings_keep_everything_but_prefects_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Secrets stay references in what is written; Prefect is the one that `up` runs."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    written = {
        "upstreams": {
            "openai": {"base_url": "https://api.openai.com/v1", "api_key": "${OPENAI_API_KEY}"}
        },
        "models": {"gpt-4.1": {"upstream": "openai", "model": "gpt-4.1"}},
        "prefect": {"api_url": "http://elsewhere/api"},
    }
    given, effective = tmp_path / "grayscale.yaml", tmp_path / "up.yaml"
    given.write_text(yaml.safe_dump(written))
    write_effective(user_settings(given), effective, prefect_port=4300)
    assert "sk-secret" not in effective.read_text()
    settings = load_settings(effective)
    assert settings.prefect.api_url == "http://127.0.0.1:4300/api"
    assert set(settings.models) == {"gpt-4.1"}


def test_wrong_settings_are_reported_under_their_own_name(tmp_path: Path) -> None:
    """A mistake in the user's file names the user's file, not a copy of it."""
    given = tmp_path / "grayscale.yaml"
    given.write_text("models: {gpt: {upstream: nowhere, model: x}}")
    with pytest.raises(SettingsError, match=r"grayscale\.yaml: models\.gpt\.upstream: 'nowhere'"):
        user_settings(given)


def test_only_the_conductors_import_prefect() -> None:
    """The supervisor itself is there at once: Prefect's import costs seconds."""
    code = "import sys, grayscale.up; sys.exit('prefect' in sys.modules)"
    environ = {"PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], env=environ, check=True)
