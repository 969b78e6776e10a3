"""Where the relay is and with which key to talk to it: from the environment or a key file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from grayscale.errors import SettingsError

DEFAULT_URL = "http://127.0.0.1:8400/v1"
DEFAULT_DATA_DIR = Path(".grayscale")
KEY_FILE = "admin.key"


@dataclass(frozen=True, slots=True)
class Connection:
    """Base URL (with `/v1`) and key; the key never shows."""

    base_url: str
    api_key: str = field(repr=False)


def connection_from(environ: Mapping[str, str], *, data_dir: Path | None = None) -> Connection:
    """GRAYSCALE_URL and GRAYSCALE_API_KEY, else the key file of the data directory."""
    where = data_dir or Path(environ.get("GRAYSCALE_DATA_DIR", DEFAULT_DATA_DIR))
    url = environ.get("GRAYSCALE_URL", DEFAULT_URL).rstrip("/")
    if not url.startswith(("http://", "https://")):
        raise SettingsError(f"GRAYSCALE_URL is {url!r}; write it as {DEFAULT_URL}")
    return Connection(url, environ.get("GRAYSCALE_API_KEY") or _key_in(where / KEY_FILE))


def _key_in(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SettingsError(
            f"no key: GRAYSCALE_API_KEY is not set and {path} cannot be read "
            f"({error.strerror}); set the one, or give the data directory of a running relay"
        ) from error
