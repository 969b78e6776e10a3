"""What the nightly canary releases: the newest version that never became stable."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from grayscale.plan import load_plan
from grayscale.plan.models import Plan
from tasks.house import relay, relay_task

APP_DIR = Path(__file__).resolve().parent.parent


@relay_task("pick version")
async def pick_version() -> str | None:
    """The version to release tonight; None if there is nothing new."""
    async with relay() as control:
        return newest_unpromoted(await control.versions())


def newest_unpromoted(versions: Iterable[Mapping[str, Any]]) -> str | None:
    """The newest version that may have traffic and has never been stable."""
    open_ones = [version for version in versions if _is_new(version)]
    newest = max(open_ones, key=lambda version: str(version["created_at"]), default=None)
    return None if newest is None else str(newest["name"])


def nightly_plan(plan_file: str, version_name: str) -> Plan:
    """The plan for a version that exists; relative paths begin at the application directory."""
    plan = load_plan(APP_DIR / plan_file)
    tonight: dict[str, Any] = {
        "version_name": version_name,
        "config_overrides": {},
        "traffic_split": None,
    }
    return plan.model_copy(update=tonight)


def _is_new(version: Mapping[str, Any]) -> bool:
    if version["status"] == "candidate":
        return True
    return version["status"] == "retired" and version.get("promoted_at", "unknown") is None
