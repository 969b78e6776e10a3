"""What a relay worker runs on: one frozen picture of versions, split and keys, swapped whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from grayscale.traffic.versions import VersionConfig

SCOPES = ("invoke", "read", "operate", "approve", "conduct", "admin")


@dataclass(frozen=True, slots=True)
class Key:
    """A relay key as workers know it: only ever its SHA-256, never the key."""

    id: str
    name: str
    sha256: str
    scopes: frozenset[str]
    prefix: str = ""
    last4: str = ""
    models: frozenset[str] | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    expires_at: datetime | None = None

    def allows(self, scope: str) -> bool:
        """Whether the key carries `scope`; `admin` carries every one."""
        return scope in self.scopes or "admin" in self.scopes


@dataclass(frozen=True, slots=True)
class Version:
    """A version as workers know it."""

    name: str
    config: VersionConfig
    brake_slot: int
    withdrawn: bool = False
    quarantined: bool = False
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One consistent state of the control store (`config_id`, rising `config_seq`).

    `weights` are percent by version *name* and add up to 100; `aliases` maps `stable` (always
    there), `beta` and `previous` to names. `salt` is the release's, for sticky buckets.
    `affected` names the models that are split; None means all. `sticky_by` is the plan's
    `assignment.by` (`auto`, `request` or `key`); `failover_percent` is the failover budget in
    percent of the candidate's requests, 0 for none. `audit_head` is the event log's hash by then.
    """

    config_id: str
    config_seq: int
    weights: Mapping[str, float]
    aliases: Mapping[str, str]
    versions: Mapping[str, Version]
    keys: Mapping[str, Key] = field(default_factory=dict)
    salt: str = ""
    affected: frozenset[str] | None = None
    release_id: str | None = None
    release_version: str | None = None
    sticky_by: str = "auto"
    failover_percent: float = 20.0
    workers: int = 1
    audit_head: str = ""

    @property
    def stable(self) -> Version:
        """The version that owns the traffic."""
        return self.versions[self.aliases["stable"]]

    @property
    def previous(self) -> Version | None:
        """The stable before this one, if it may have traffic."""
        version = self.versions.get(self.aliases.get("previous", ""))
        return version if version and not (version.withdrawn or version.quarantined) else None

    def with_stable(self, version: Version) -> Snapshot:
        """All traffic to `version`, and no candidate."""
        weights, aliases = {version.name: 100.0}, {"stable": version.name}
        return replace(self, weights=weights, aliases=aliases, affected=None)

    @property
    def candidate(self) -> Version | None:
        """The version under release, if there is one."""
        name = self.aliases.get("beta")
        return self.versions.get(name) if name is not None else None

    def resolve(self, name: str) -> Version | None:
        """The version behind a name or an alias; `beta` without a candidate is stable."""
        if name == "beta" and "beta" not in self.aliases:
            return self.stable
        return self.versions.get(self.aliases.get(name, name))
