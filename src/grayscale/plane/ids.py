"""Identifiers: a word for what it is, and enough randomness."""

from __future__ import annotations

import secrets


def new_id(prefix: str) -> str:
    """`rel_4f…`, `evt_…`, `config-…`: 80 random bits."""
    separator = "-" if prefix == "config" else "_"
    return f"{prefix}{separator}{secrets.token_hex(10)}"
