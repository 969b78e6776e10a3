"""A version: a named, immutable configuration of how requests are served."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from grayscale.errors import Refused

NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
RESERVED_NAMES = frozenset({"stable", "beta", "previous", "list"})


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Price(_Frozen):
    """Prices in US dollars per million tokens."""

    input_usd_per_mtok: float = Field(default=0.0, ge=0)
    output_usd_per_mtok: float = Field(default=0.0, ge=0)
    cached_input_usd_per_mtok: float | None = Field(default=None, ge=0)


class ModelTarget(_Frozen):
    """Where the requests for one model name go."""

    upstream: str
    model: str
    aliases: tuple[str, ...] = ()
    price: Price | None = None


class SystemPrompt(_Frozen):
    """A system prompt that is put before the caller's messages, or instead of his own."""

    text: str
    mode: Literal["prepend", "replace"] = "prepend"


class Timeouts(_Frozen):
    """Time limits of one upstream call, in seconds; None leaves the relay's own limit."""

    connect_seconds: float | None = Field(default=None, gt=0)
    first_byte_seconds: float | None = Field(default=None, gt=0)
    idle_seconds: float | None = Field(default=None, gt=0)
    total_seconds: float | None = Field(default=None, gt=0)


class VersionConfig(_Frozen):
    """What a version consists of (API.md, Versions)."""

    models: dict[str, ModelTarget] = Field(default_factory=dict)
    defaults: dict[str, JsonValue] = Field(default_factory=dict)
    parameters: dict[str, JsonValue] = Field(default_factory=dict)
    remove_parameters: tuple[str, ...] = ()
    system_prompt: SystemPrompt | None = None
    timeouts: Timeouts = Timeouts()

    def canonical(self) -> str:
        """The one JSON text of this configuration, whatever order its keys came in."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))

    @property
    def config_hash(self) -> str:
        """SHA-256 of the canonical text: what quarantine and "same again" go by."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()

    def behaviour(self, model: str) -> str | None:
        """All that decides how `model` is served, as text; None if it is not served at all."""
        target = self.models.get(model)
        if target is None:
            return None
        rest = self.model_dump(mode="json", exclude={"models"})
        served = target.model_dump(mode="json", include={"upstream", "model"})
        return json.dumps([served, rest], sort_keys=True)


def affected_models(base: VersionConfig, candidate: VersionConfig) -> frozenset[str]:
    """The models of `base` that `candidate` serves differently.

    Where the two differ in nothing the release is an A/A test, and every model is affected.
    """
    shared = base.models.keys() & candidate.models.keys()
    changed = {name for name in shared if base.behaviour(name) != candidate.behaviour(name)}
    return frozenset(changed or shared)


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7396: objects merge, null removes, everything else replaces."""
    if not isinstance(patch, Mapping):
        return patch
    merged = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def apply_overrides(base: VersionConfig, overrides: Mapping[str, Any]) -> VersionConfig:
    """`base` with a merge patch on it; raises Refused (422) naming the field at fault."""
    patch = dict(overrides)
    if isinstance(patch.get("system_prompt"), str):
        patch["system_prompt"] = {"text": patch["system_prompt"], "mode": "prepend"}
    merged = merge_patch(base.model_dump(mode="json"), patch)
    for key in ("system_prompt", "timeouts"):  # a null removes the key: back to the default
        if merged.get(key) is None:
            merged.pop(key, None)
    try:
        return VersionConfig.model_validate(merged)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in ("config_overrides", *first["loc"]))
        raise Refused(
            422,
            "invalid_config",
            f"{where}: {first['msg']} (got {_short(first.get('input'))})",
            param=where,
        ) from error


def check_version_name(name: str, *, param: str = "name") -> str:
    """`name` if it may name a version; raises Refused (422) otherwise."""
    if name.lower() in RESERVED_NAMES:
        raise Refused(
            422,
            "reserved_name",
            f"{param}: '{name}' is reserved for an alias; choose a name such as 'v2.1.0-beta'",
            param=param,
        )
    if not NAME_PATTERN.fullmatch(name):
        raise Refused(
            422,
            "invalid_name",
            f"{param}: {name!r} is not a version name; use 1-64 letters, digits, '.', '_' or "
            "'-', beginning with a letter or digit",
            param=param,
        )
    return name


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
