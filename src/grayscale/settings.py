"""`grayscale.yaml` and `GRAYSCALE_*`: what a server is told, read once at its entry point.

A variable wins over the file: `GRAYSCALE_PREFECT__API_URL` is `prefect.api_url`. Secrets are `${ENV}` or `file:PATH` references, expanded here and nowhere else.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as PydanticSettingsError

from grayscale.errors import SettingsError
from grayscale.notices.settings import NotificationSettings
from grayscale.traffic.versions import ModelTarget, VersionConfig, merge_patch

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_MAX_BYTES = 256 * 1024


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class UpstreamSettings(_Frozen):
    """A provider: where it is and with which key; versions name it, and never see this."""

    kind: Literal["openai"] = "openai"
    base_url: str = Field(pattern=r"^https?://")
    api_key: SecretStr | None = None
    headers: dict[str, SecretStr] = Field(default_factory=dict)


class PrefectSettings(_Frozen):
    """Where Prefect's API is; None of it is needed to serve traffic."""

    api_url: str = "http://127.0.0.1:4200/api"
    ui_url: str | None = None
    auth_string: SecretStr | None = None
    enabled: bool = True


class Limits(_Frozen):
    """Bounds on what callers and upstreams may do; seconds, MiB and KiB as named."""

    body_mib: float = Field(default=32, gt=0)
    header_kib: float = Field(default=64, gt=0)
    head_seconds: float = Field(default=10, gt=0)
    body_seconds: float = Field(default=30, gt=0)
    keep_alive_seconds: float = Field(default=75, gt=0)
    connect_seconds: float = Field(default=5, gt=0)
    first_byte_seconds: float = Field(default=120, gt=0)
    idle_seconds: float = Field(default=60, gt=0)
    total_seconds: float = Field(default=600, gt=0)
    drain_seconds: float = Field(default=600, gt=0)
    upstream_connections: int = Field(default=1000, gt=0)
    pool_wait_seconds: float = Field(default=5, gt=0)
    in_flight: int = Field(default=2000, gt=0)


class Settings(_Frozen):
    """The whole of `grayscale.yaml`."""

    upstreams: dict[str, UpstreamSettings] = Field(default_factory=dict)
    models: dict[str, ModelTarget] = Field(default_factory=dict)
    prefect: PrefectSettings = PrefectSettings()
    notifications: NotificationSettings = NotificationSettings()
    limits: Limits = Limits()
    metering: Literal["usage", "off"] = "usage"
    store_url: str | None = None

    @property
    def first_version(self) -> VersionConfig:
        """The configuration of the first stable version."""
        return VersionConfig(models=self.models)


def load_settings(path: Path, environ: Mapping[str, str] = os.environ) -> Settings:
    """Read `grayscale.yaml`; raises SettingsError naming file, field, value and remedy."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror}); see --config") from error
    if len(text) > _MAX_BYTES:
        raise SettingsError(f"{path}: {len(text)} characters; at most {_MAX_BYTES} are read")
    try:
        data = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise SettingsError(f"{path}: not YAML: {error}") from error
    if not isinstance(data, dict):
        raise SettingsError(f"{path}: must be a mapping with keys such as 'upstreams' and 'models'")
    expanded = _expand(data, environ=environ, where=str(path))
    return settings_from(merge_patch(expanded, _from_environment(environ)), source=str(path))


def settings_from(data: Mapping[str, Any], *, source: str) -> Settings:
    """Settings from a mapping; raises SettingsError listing every field at fault."""
    try:
        settings = Settings.model_validate(data)
    except ValidationError as error:
        problems = "\n".join(
            f"{source}: {'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"
            for problem in error.errors()
        )
        raise SettingsError(problems) from error
    for name, model in settings.models.items():
        if model.upstream not in settings.upstreams:
            known = ", ".join(sorted(settings.upstreams)) or "none"
            raise SettingsError(
                f"{source}: models.{name}.upstream: '{model.upstream}' is not defined "
                f"under upstreams (there: {known})"
            )
    return settings


class _Environment(Settings, BaseSettings):
    model_config = SettingsConfigDict(env_prefix="GRAYSCALE_", env_nested_delimiter="__")


class _EnvironSource(EnvSettingsSource):
    """pydantic-settings' reading of variables, from the mapping that it is given."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        super().__init__(_Environment)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {name.lower(): value for name, value in self._environ.items()}


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """What `GRAYSCALE_*` variables say, as far as they name settings."""
    try:
        return _EnvironSource(environ)()
    except PydanticSettingsError as error:
        raise SettingsError(f"environment: {error}; GRAYSCALE_* values are JSON") from error


def _expand(value: Any, *, environ: Mapping[str, str], where: str) -> Any:
    if isinstance(value, dict):
        return {
            key: _expand(item, environ=environ, where=f"{where}: {key}")
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_expand(item, environ=environ, where=where) for item in value]
    if not isinstance(value, str):
        return value
    if value.startswith("file:"):
        return _read_secret(Path(value.removeprefix("file:")).expanduser(), where)
    return _REFERENCE.sub(lambda match: _lookup(match, environ, where), value)


def _lookup(match: re.Match[str], environ: Mapping[str, str], where: str) -> str:
    name, default = match.group(1), match.group(2)
    found = environ.get(name, default)
    if found is None:
        raise SettingsError(f"{where}: environment variable {name} is not set; export {name}=…")
    return found


def _read_secret(path: Path, where: str) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SettingsError(f"{where}: secret file {path}: {error.strerror}") from error
