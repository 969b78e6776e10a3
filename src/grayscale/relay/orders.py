"""What the parent tells a worker."""

from __future__ import annotations

import signal
from typing import Any

import msgspec
from pydantic import BaseModel, SecretStr

REPLACED = signal.SIGUSR1
"""Tells a worker to leave at its ease: another one is there already."""


class Orders(msgspec.Struct):
    """One line of JSON on the worker's stdin; `sockets` are descriptors by listener."""

    settings: dict[str, Any]
    data_dir: str
    control: str
    sockets: dict[str, int]


def with_secrets(value: Any) -> Any:
    """A settings model as JSON values, its secrets spelled out: for a pipe, never for a log."""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, BaseModel):
        return {name: with_secrets(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, dict):
        return {key: with_secrets(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [with_secrets(item) for item in value]
    return value
