"""The settings that `up` works with: the user's, or a sample when there are none."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from grayscale.settings import load_settings

_SAMPLE_MODELS = {
    "gpt-4.1": [],
    "claude-sonnet-4.5": ["claude-sonnet-4-5"],
    "gemini-2.5-flash": [],
    "deepseek-v3.2": [],
}


def sample_settings(*, upstream_port: int) -> dict[str, Any]:
    """Four models, all answered by the test upstream on that port."""
    return {
        "upstreams": {
            "local": {"kind": "openai", "base_url": f"http://127.0.0.1:{upstream_port}/v1"}
        },
        "models": {
            name: {"upstream": "local", "model": name, "aliases": aliases}
            for name, aliases in _SAMPLE_MODELS.items()
        },
    }


def user_settings(path: Path) -> dict[str, Any]:
    """The user's file as written; raises SettingsError if a relay could not use it."""
    load_settings(path)
    data: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    return data


def write_effective(settings: dict[str, Any], path: Path, *, prefect_port: int) -> None:
    """The settings of this run: as given, but with the Prefect that `up` itself runs."""
    ours = {
        "api_url": f"http://127.0.0.1:{prefect_port}/api",
        "ui_url": f"http://127.0.0.1:{prefect_port}",
    }
    effective = {
        **settings,
        "prefect": {**(settings.get("prefect") or {}), **ours, "enabled": True},
    }
    text = "# Written by `grayscale up` at each start; edit your grayscale.yaml instead.\n"
    text += yaml.safe_dump(effective, sort_keys=False, allow_unicode=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
