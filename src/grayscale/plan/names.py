"""Names of versions and rules."""

from __future__ import annotations

from datetime import date

from grayscale.plan.faults import fault
from grayscale.traffic.versions import NAME_PATTERN, RESERVED_NAMES


def check_name(name: str, *, reserved: bool = False) -> str:
    """`name` if it is one; with `reserved`, the names of aliases are refused."""
    if not NAME_PATTERN.fullmatch(name):
        raise fault("is no name: 1 to 64 letters, digits, '.', '_' or '-', a letter or digit first")
    if reserved and name.lower() in RESERVED_NAMES:
        raise fault(f"{name!r} is reserved for an alias; choose a name such as 'v2.1.0-beta'")
    return name


def resolve_date(name: str, today: date) -> str:
    """`name` with the day (2026-11-22) in place of `{date}`."""
    return name.replace("{date}", today.isoformat())
