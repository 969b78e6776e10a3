"""grayscale.yaml and the environment."""

from pathlib import Path

import pytest

from grayscale.errors import SettingsError
from grayscale.settings import load_settings

GOOD = """
upstreams:
  main: {kind: openai, base_url: "https://example.org/v1", api_key: "${KEY}"}
models:
  gpt-4.1: {upstream: main, model: gpt-4.1-2025-04-14}
"""


def written(folder: Path, text: str) -> Path:
    """A settings file with this text."""
    path = folder / "grayscale.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_secrets_come_from_the_environment_and_stay_secret(tmp_path: Path) -> None:
    """A reference is expanded once, and never printed."""
    settings = load_settings(written(tmp_path, GOOD), {"KEY": "sk-secret"})
    key = settings.upstreams["main"].api_key
    assert key is not None
    assert key.get_secret_value() == "sk-secret"
    assert "sk-secret" not in repr(settings)


def test_secrets_come_from_files(tmp_path: Path) -> None:
    """`file:` reads a secret without its line end."""
    secret = tmp_path / "secret"
    secret.write_text("sk-file\n", encoding="utf-8")
    text = GOOD.replace("${KEY}", f"file:{secret}")
    settings = load_settings(written(tmp_path, text), {})
    key = settings.upstreams["main"].api_key
    assert key is not None
    assert key.get_secret_value() == "sk-file"


def test_a_variable_wins_over_the_file(tmp_path: Path) -> None:
    """GRAYSCALE_* names a setting by its path, and leaves its neighbours alone."""
    text = GOOD.replace("${KEY}", "k") + "limits: {body_mib: 8, idle_seconds: 5}\n"
    environ = {
        "GRAYSCALE_LIMITS__BODY_MIB": "16",
        "GRAYSCALE_METERING": "off",
        "GRAYSCALE_API_KEY": "gs_for_clients",
    }
    settings = load_settings(written(tmp_path, text), environ)
    assert settings.limits.body_mib == 16
    assert settings.limits.idle_seconds == 5
    assert settings.metering == "off"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (GOOD, "KEY is not set"),
        (GOOD.replace("${KEY}", "k").replace("upstream: main", "upstream: mars"), "mars"),
        ("colour: red", "colour"),
        ("- a list", "mapping"),
        ("a: [", "not YAML"),
        ("limits: {body_mib: -1}", "limits.body_mib"),
        (GOOD.replace("${KEY}", "file:/nowhere/at/all"), "/nowhere/at/all"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, named: str) -> None:
    """Wrong settings are refused with the place and the value."""
    with pytest.raises(SettingsError, match=named):
        load_settings(written(tmp_path, text), {})


def test_a_missing_file_says_how_to_name_one(tmp_path: Path) -> None:
    """The message leads to --config."""
    with pytest.raises(SettingsError, match="--config"):
        load_settings(tmp_path / "none.yaml", {})


def test_a_variable_that_is_not_json_is_named(tmp_path: Path) -> None:
    """A whole group given as text that is not JSON is refused."""
    text = GOOD.replace("${KEY}", "k")
    with pytest.raises(SettingsError, match="environment"):
        load_settings(written(tmp_path, text), {"GRAYSCALE_LIMITS": "{"})
