"""Which version serves a request, and how: built once per snapshot, asked once per request."""

from __future__ import annotations

import difflib
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from grayscale.errors import GrayscaleError, Refused
from grayscale.relay.deadlines import Deadlines, deadlines_of
from grayscale.relay.rewrite import Rewrite, plan_rewrite
from grayscale.relay.targets import Target
from grayscale.settings import Limits
from grayscale.traffic.counters import CALLER_BUCKETS
from grayscale.traffic.outcomes import Assignment
from grayscale.traffic.snapshot import Snapshot, Version
from grayscale.traffic.versions import Price


class RoutingError(GrayscaleError):
    """A snapshot that no request can be routed by; the relay keeps the one before."""


@dataclass(frozen=True, slots=True)
class Route:
    """How one version serves one model."""

    version: str
    brake_slot: int
    model: str
    target: Target
    target_model: msgspec.Raw
    rewrite: Rewrite
    deadlines: Deadlines
    price: Price | None


@dataclass(frozen=True, slots=True)
class Ask:
    """What a request brings to the choice of its version."""

    model: str
    key_id: str
    sticky_key: str | None = None
    pinned: str | None = None
    may_operate: bool = False


class Choice(NamedTuple):
    """The version that serves a request, why, and who stands in if it fails.

    `compared`: any version in traffic might have been drawn, so that the request tells something
    about the candidate, or about stable beside it. `caller` is the bucket of a sticky one's caller.
    """

    route: Route
    assignment: Assignment
    stand_in: Route | None = None
    compared: bool = False
    caller: int | None = None


class _Table:
    """The routes of one version, by every name that its models answer to."""

    def __init__(self, version: Version, routes: Iterable[tuple[Route, tuple[str, ...]]]) -> None:
        self.version = version
        self.names: dict[str, Route] = {}
        self._alike: dict[str, Route] = {}
        for route, aliases in routes:
            self.names[route.model] = route
            for alias in aliases:
                self.names.setdefault(alias, route)
        for name, route in self.names.items():
            self._alike.setdefault(name.replace(".", "-"), route)

    def find(self, model: str) -> Route | None:
        """The route of `model`; '.' and '-' are alike where the exact name is not there."""
        return self.names.get(model) or self._alike.get(model.replace(".", "-"))


class Routing:
    """Every choice that a snapshot allows."""

    def __init__(
        self,
        snapshot: Snapshot,
        targets: dict[str, Target],
        limits: Limits,
        *,
        asks_for_usage: bool,
    ) -> None:
        self.snapshot = snapshot
        self._tables = {
            name: _Table(version, _routes(version, targets, limits, asks_for_usage=asks_for_usage))
            for name, version in snapshot.versions.items()
        }
        stable_name = snapshot.aliases.get("stable")
        if stable_name is None or stable_name not in self._tables:
            raise RoutingError(f"the snapshot {snapshot.config_id} has no stable version")
        self._stable = self._tables[stable_name]
        self._shares = _shares(snapshot, self._tables)
        self._salt = snapshot.salt.encode()

    def choose(self, ask: Ask, is_banned: Callable[[int], bool]) -> Choice:
        """The version that serves `ask`; raises Refused (404, 409) if none may."""
        if ask.pinned is not None:
            return self._pinned(ask, ask.pinned, is_banned)
        stable = self._stable.find(ask.model)
        if stable is None:
            raise self._unknown_model(ask.model, self._stable)
        sticky_key = self._sticky_unit(ask)
        assignment = Assignment.WEIGHTED if sticky_key is None else Assignment.STICKY
        affected = self.snapshot.affected
        if not self._shares or (affected is not None and stable.model not in affected):
            return Choice(stable, assignment)
        caller = None if sticky_key is None else self._bucket(ask.key_id, sticky_key)
        table = self._drawn(caller)
        if table is None or not self._may_serve(table.version, is_banned):
            return Choice(stable, assignment, compared=True, caller=caller)
        route = table.find(ask.model)
        if route is None:
            return Choice(stable, assignment)
        return Choice(route, assignment, stable, compared=True, caller=caller)

    @property
    def candidates(self) -> list[str]:
        """The versions beside stable that requests may be drawn for."""
        return [table.version.name for _, table in self._shares]

    def models(self, pinned: str | None) -> tuple[Version, dict[str, Route]]:
        """What `GET /models` lists: a version, and its routes by every model name."""
        table = self._stable if pinned is None else self._table(pinned)
        return table.version, table.names

    def _sticky_unit(self, ask: Ask) -> str | None:
        if self.snapshot.sticky_by == "request":
            return None
        return "" if self.snapshot.sticky_by == "key" else ask.sticky_key

    def _bucket(self, key_id: str, sticky_key: str) -> int:
        text = b"\0".join((self._salt, key_id.encode(), sticky_key.encode("utf-8", "replace")))
        return int.from_bytes(blake2b(text, digest_size=8).digest(), "big") % CALLER_BUCKETS

    def _drawn(self, caller: int | None) -> _Table | None:
        """The version of a caller, or of a lot; None for stable."""
        ticket = random.random() * CALLER_BUCKETS if caller is None else caller  # noqa: S311
        for below, table in self._shares:
            if ticket < below:
                return table
        return None

    @staticmethod
    def _may_serve(version: Version, is_banned: Callable[[int], bool]) -> bool:
        return not (version.withdrawn or version.quarantined or is_banned(version.brake_slot))

    def _pinned(self, ask: Ask, name: str, is_banned: Callable[[int], bool]) -> Choice:
        table = self._table(name)
        may_serve = ask.may_operate or self._may_serve(table.version, is_banned)
        if table is not self._stable and not may_serve:
            if name != "beta":
                raise _taken_out(name)
            table = self._stable  # beta always resolves
        route = table.find(ask.model)
        if route is None:
            raise self._unknown_model(ask.model, table)
        return Choice(route, Assignment.PINNED)

    def _table(self, name: str) -> _Table:
        version = self.snapshot.resolve(name)
        if version is None:
            raise self._unknown_version(name)
        return self._tables[version.name]

    def _unknown_version(self, name: str) -> Refused:
        known = ", ".join(sorted({*self.snapshot.aliases, "beta"} | self._tables.keys()))
        return Refused(
            404,
            "version_not_found",
            f"Target version '{name[:64]}' does not exist; there are: {known[:1000]}",
            param="X-Relay-Version",
        )

    @staticmethod
    def _unknown_model(model: str, table: _Table) -> Refused:
        return unknown_model(model, table.names)


def unknown_model(model: str, known: Iterable[str]) -> Refused:
    """The 404 for a model that is not there (or not for this key), with the nearest names."""
    names = sorted(known)
    shown = difflib.get_close_matches(model[:100], names, n=3, cutoff=0.5) or names[:10]
    nearest = f"; did you mean {' or '.join(shown)}?" if shown else ""
    return Refused(
        404,
        "model_not_found",
        f"Model '{model[:100]}' is not available{nearest}",
        param="model",
    )


def _taken_out(name: str) -> Refused:
    return Refused(
        409,
        "version_withdrawn",
        f"Version '{name[:64]}' was taken out of traffic; a key with scope 'operate' may pin it",
        param="X-Relay-Version",
    )


def _routes(
    version: Version, targets: dict[str, Target], limits: Limits, *, asks_for_usage: bool
) -> Iterable[tuple[Route, tuple[str, ...]]]:
    config = version.config
    rewrite = plan_rewrite(config, asks_for_usage=asks_for_usage)
    deadlines = deadlines_of(config.timeouts, limits)
    for model, settings in config.models.items():
        target = targets.get(settings.upstream)
        if target is None:
            continue  # removed from grayscale.yaml: the model is not available
        route = Route(
            version=version.name,
            brake_slot=version.brake_slot,
            model=model,
            target=target,
            target_model=msgspec.Raw(msgspec.json.encode(settings.model)),
            rewrite=rewrite,
            deadlines=deadlines,
            price=settings.price,
        )
        yield route, settings.aliases


def _shares(snapshot: Snapshot, tables: dict[str, _Table]) -> list[tuple[float, _Table]]:
    """Upper bucket bounds of all versions but stable, which gets the rest.

    The candidate comes first and begins at bucket 0: a rising weight only adds callers to it.
    """
    stable, candidate = snapshot.aliases["stable"], snapshot.aliases.get("beta")
    shares: list[tuple[float, _Table]] = []
    below = 0.0
    for name in sorted(snapshot.weights, key=lambda name: (name != candidate, name)):
        weight = snapshot.weights[name]
        if name == stable or weight == 0:
            continue
        if name not in tables or not 0 < weight <= 100:
            raise RoutingError(f"the snapshot {snapshot.config_id} gives {name!r} {weight} %")
        below += weight * CALLER_BUCKETS / 100
        shares.append((below, tables[name]))
    return shares
