"""What must hold after every transaction, read from the tables beside the code under test."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from pydantic_core import from_json

FINAL = {"rolled_back", "promoted", "rejected", "superseded", "failed"}
_LEAVING = {*FINAL - {"promoted"}, "rolling_back"}


class Tables(Protocol):
    """A store that can be asked beside the code."""

    def sql(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        ...


@dataclass(frozen=True, slots=True)
class Scene:
    """The config in force and every release, at one moment."""

    weights: dict[str, float]
    aliases: dict[str, str]
    releases: dict[str, dict[str, Any]]

    def weight(self, release: dict[str, Any]) -> float:
        """What a release's version has."""
        return self.weights.get(release["version"], 0.0)


class Broken(AssertionError):
    """An invariant does not hold."""


@dataclass(slots=True)
class Witness:
    """Looks after each commit and compares with what it saw before."""

    tables: Tables
    before: Scene | None = None
    commits: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    _rows: list[tuple[Any, ...]] = field(default_factory=list)

    def look(self) -> None:
        """Write down each rule that this commit has broken."""
        self.commits += 1
        rows = _rows(self.tables)
        if rows == self._rows:
            return  # what held of these rows holds
        scene = _scene(rows)
        self._rows = rows
        if self.before is None or scene.weights != self.before.weights:
            self.history.append(scene.weights)
        try:
            _check_scene(scene)
            if self.before is not None:
                _check_change(self.before, scene)
        except Broken as broken:
            self.broken.append(f"broken: {broken}")
        self.before = scene

    def outdated(self, headers: Mapping[str, str]) -> bool:
        """Whether a call claims a fence that nobody has, for what was not done already."""
        fence, key = headers.get("X-Relay-Fence"), headers.get("Idempotency-Key", "")
        if fence is None or self.tables.sql("SELECT 1 FROM idempotency WHERE key = ?", key):
            return False
        return not self.tables.sql("SELECT 1 FROM conductors WHERE fence = ?", int(fence))


def _rows(tables: Tables) -> list[tuple[Any, ...]]:
    """The config, and every release."""
    config = tables.sql("SELECT weights, aliases FROM configs ORDER BY seq DESC LIMIT 1")
    return [*config, *tables.sql("SELECT document FROM releases ORDER BY seq")]


def _scene(rows: list[tuple[Any, ...]]) -> Scene:
    (weights, aliases), *documents = rows
    releases = [from_json(text) for (text,) in documents]
    return Scene(
        weights=from_json(weights),
        aliases=from_json(aliases),
        releases={release["id"]: release for release in releases},
    )


def _check_scene(scene: Scene) -> None:
    _hold(abs(sum(scene.weights.values()) - 100) < 1e-6, f"split adds up to 100: {scene.weights}")
    _hold(scene.aliases.get("stable") is not None, "stable exists")
    active = [r for r in scene.releases.values() if r["state"] not in {*FINAL, "queued"}]
    _hold(len(active) <= 1, f"at most one release is active: {[r['id'] for r in active]}")
    for release in scene.releases.values():
        if release["state"] in _LEAVING and not _another(scene, release):
            _hold(
                scene.weight(release) == 0 or scene.aliases["stable"] == release["version"],
                f"after a rollback the candidate is at 0: {scene.weights}",
            )


def _another(scene: Scene, release: dict[str, Any]) -> bool:
    """Whether a later release is about the same version."""
    others = [r for r in scene.releases.values() if r["version"] == release["version"]]
    return others[-1] is not release


def _check_change(before: Scene, after: Scene) -> None:
    for release_id, now in after.releases.items():
        was = before.releases.get(release_id)
        if was is None:
            continue
        _hold(was["state"] not in FINAL or now["state"] == was["state"], "a final state stays")
        _hold(now["revision"] >= was["revision"], "revisions never fall")
        if after.weight(now) > before.weight(was) and not _another(after, now):
            _check_raise(was, now, weight=after.weight(now))


def _check_raise(was: dict[str, Any], now: dict[str, Any], *, weight: float) -> None:
    """A candidate's weight rose: back to what was judged, or by a verdict, approval or override."""
    _hold(was["state"] not in {*_LEAVING, "paused"}, f"no raise while {was['state']}")
    stage = _stage(was)
    if stage is not None and weight <= stage["weight_percent"] and now["state"] != "promoted":
        return
    approved = (was["gate"] or {}).get("state") == "approved"
    if approved or was["promote_full"]:
        return
    if stage is None:
        _hold(was["state"] == "preparing", "the first split comes from preparing")
        _hold(not _asks_first(was), f"no raise to {weight:g} % before a person has approved")
        return
    if was["bake"] is not None and not stage["required_seconds"]:
        stage = was["steps"][-1]  # without a bake, what permits it permits the promotion
    soaked = stage["watched_seconds"] >= stage["required_seconds"] or was["promote_now"]
    _hold(not _asks_first(was), f"no raise to {weight:g} % before a person has approved")
    healthy = (stage["verdict"] or {}).get("outcome") == "healthy"
    _hold(soaked and healthy, f"no raise to {weight:g} % without verdict or approval: {stage}")


def _asks_first(release: dict[str, Any]) -> bool:
    """Whether the plan wants a person asked before the step that comes next."""
    following = 0 if release["current_step"] is None else release["current_step"] + 1
    if release["bake"] is not None or following >= len(release["steps"]):
        return False
    asks: list[float] = release["plan"]["approval"]["before_steps"]
    return release["steps"][following]["step_percent"] in asks


def _stage(release: dict[str, Any]) -> dict[str, Any] | None:
    if release["bake"] is not None:
        stage: dict[str, Any] = release["bake"]
        return stage
    step = release["current_step"]
    return None if step is None else release["steps"][step]


def _hold(holds: bool, rule: str) -> None:  # noqa: FBT001 - reads like an assert
    if not holds:
        raise Broken(rule)
