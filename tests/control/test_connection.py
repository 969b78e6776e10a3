"""Where the relay is, and with which key."""

from __future__ import annotations

from pathlib import Path

import pytest

from grayscale.control import connection_from
from grayscale.errors import SettingsError


def test_the_environment_comes_first(tmp_path: Path) -> None:
    """URL and key from the environment win over the key file."""
    (tmp_path / "admin.key").write_text("gs_file\n")
    environ = {
        "GRAYSCALE_URL": "http://relay:1/v1/",
        "GRAYSCALE_API_KEY": "gs_env",
        "GRAYSCALE_DATA_DIR": str(tmp_path),
    }
    found = connection_from(environ)
    assert (found.base_url, found.api_key) == ("http://relay:1/v1", "gs_env")
    assert "gs_env" not in repr(found)


def test_the_key_file_is_the_fallback(tmp_path: Path) -> None:
    """Without a key in the environment, the data directory's key file is read."""
    (tmp_path / "admin.key").write_text("gs_file\n")
    found = connection_from({}, data_dir=tmp_path)
    assert (found.base_url, found.api_key) == ("http://127.0.0.1:8400/v1", "gs_file")


def test_no_key_anywhere_says_what_to_do(tmp_path: Path) -> None:
    """A missing key names both places where it could be."""
    with pytest.raises(SettingsError, match=r"GRAYSCALE_API_KEY is not set and .*admin\.key"):
        connection_from({}, data_dir=tmp_path)


def test_a_url_without_scheme_is_refused() -> None:
    """A URL that cannot work is refused with an example."""
    with pytest.raises(SettingsError, match="'localhost:8400'; write it as http://"):
        connection_from({"GRAYSCALE_URL": "localhost:8400", "GRAYSCALE_API_KEY": "k"})
