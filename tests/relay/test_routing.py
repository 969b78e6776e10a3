"""Which version serves a request."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grayscale.errors import Refused
from grayscale.relay.routing import Ask, Choice, Routing, RoutingError
from grayscale.relay.targets import targets_from
from grayscale.settings import Limits, UpstreamSettings
from grayscale.traffic.counters import CALLER_BUCKETS
from grayscale.traffic.outcomes import Assignment
from grayscale.traffic.snapshot import Snapshot, Version
from grayscale.traffic.versions import VersionConfig
from tests.relay.harness import CANDIDATE, MODEL, STABLE, config, snapshot

_UPSTREAMS = {"main": UpstreamSettings(base_url="http://127.0.0.1:9/v1")}


def _routing(state: Snapshot) -> Routing:
    return Routing(state, targets_from(_UPSTREAMS), Limits(), asks_for_usage=True)


def _choose(state: Snapshot, *, banned: tuple[int, ...] = (), **fields: Any) -> Choice:
    ask = Ask(**({"model": MODEL, "key_id": "key_1"} | fields))
    return _routing(state).choose(ask, lambda slot: slot in banned)


def _split(weight: float, **fields: Any) -> Snapshot:
    return snapshot(candidate=config(model="gpt-4.1-2026"), weight=weight, salt="rel_1", **fields)


def _models(*names: str, aliases: tuple[str, ...] = ()) -> VersionConfig:
    models = {name: {"upstream": "main", "model": name, "aliases": aliases} for name in names}
    return VersionConfig.model_validate({"models": models})


def test_weights_are_kept() -> None:
    """Ten percent is ten percent, within what chance allows in 5,000 draws."""
    routing = _routing(_split(10))
    ask = Ask(model=MODEL, key_id="key_1")
    counts = Counter(routing.choose(ask, lambda _: False).route.version for _ in range(5000))
    assert 400 <= counts[CANDIDATE] <= 600


@pytest.mark.parametrize(("weight", "version"), [(0, STABLE), (100, CANDIDATE)])
def test_ends_of_the_scale_are_exact(weight: float, version: str) -> None:
    """Nobody gets a candidate at 0 %, everybody at 100 %."""
    routing = _routing(_split(weight))
    ask = Ask(model=MODEL, key_id="key_1")
    assert {routing.choose(ask, lambda _: False).route.version for _ in range(300)} == {version}


@given(
    sticky_key=st.text(min_size=1),
    key_id=st.text(alphabet="abcdef", min_size=1),
    weights=st.lists(st.floats(0, 100), min_size=2, max_size=5),
)
def test_rising_weight_only_moves_callers_forward(
    sticky_key: str, key_id: str, weights: list[float]
) -> None:
    """A sticky caller who has seen the candidate keeps it for as long as its weight rises."""
    seen = False
    for weight in sorted(weights):
        choice = _choose(_split(weight), key_id=key_id, sticky_key=sticky_key)
        assert choice.assignment is Assignment.STICKY
        is_candidate = choice.route.version == CANDIDATE
        assert is_candidate or not seen
        seen = is_candidate


def test_the_callers_bucket_is_handed_on() -> None:
    """Sticky requests that might have been drawn carry their bucket, whichever arm they got."""
    for weight, version in ((0.01, STABLE), (100, CANDIDATE)):
        choice = _choose(_split(weight), sticky_key="ann")
        assert (choice.route.version, choice.compared) == (version, True)
        assert choice.caller == _choose(_split(50), sticky_key="ann").caller
        assert choice.caller is not None
        assert 0 <= choice.caller < CALLER_BUCKETS
    weighted = _choose(_split(50))
    assert (weighted.compared, weighted.caller) == (True, None)


@pytest.mark.parametrize(
    "asked",
    [{"pinned": "beta"}, {"pinned": "stable"}, {"model": "other"}],
    ids=["pinned", "pinned to stable", "unaffected"],
)
def test_what_is_not_drawn_is_not_compared(asked: dict[str, Any]) -> None:
    """A pinned request, or one for a model that the release leaves alone, tells nothing."""
    both = _models(MODEL, "other")
    state = snapshot(both, both, weight=50, affected=frozenset({MODEL}))
    choice = _choose(state, sticky_key="ann", **asked)
    assert (choice.compared, choice.caller) == (False, None)
    assert not _choose(_split(0), sticky_key="ann").compared


def test_salt_draws_other_callers() -> None:
    """Another release's salt puts other callers first."""
    callers = [f"user-{number}" for number in range(300)]

    def early(salt: str) -> set[str]:
        state = replace(_split(10), salt=salt)
        routing = _routing(state)
        asks = {name: Ask(model=MODEL, key_id="k", sticky_key=name) for name in callers}
        return {
            name
            for name, ask in asks.items()
            if routing.choose(ask, lambda _: False).route.version == CANDIDATE
        }

    one, other = early("rel_1"), early("rel_2")
    assert one
    assert other
    assert len(one & other) < len(one) / 2


def test_assignment_by_key_or_request() -> None:
    """The plan may take the key as the unit, or each request by itself."""
    by_key = _split(50, sticky_by="key")
    assert _choose(by_key).assignment is Assignment.STICKY
    versions = {_choose(by_key, sticky_key=str(n)).route.version for n in range(50)}
    assert len(versions) == 1
    assert _choose(_split(50, sticky_by="request"), sticky_key="a").assignment == "weighted"


def test_unaffected_models_stay_on_stable() -> None:
    """A release of one model does not move the others, whatever its weight."""
    state = snapshot(
        _models(MODEL, "other"),
        _models(MODEL, "other"),
        weight=100,
        affected=frozenset({MODEL}),
    )
    assert _choose(state, model="other").route.version == STABLE
    assert _choose(state).route.version == CANDIDATE


def test_model_that_the_candidate_lacks_stays_on_stable() -> None:
    """A model that the candidate does not serve is stable's, and stable stands in for the rest."""
    state = snapshot(_models(MODEL, "old"), _models(MODEL), weight=100)
    assert _choose(state, model="old").route.version == STABLE
    choice = _choose(state)
    assert choice.stand_in is not None
    assert choice.stand_in.version == STABLE


def test_model_that_only_the_candidate_has_is_not_there() -> None:
    """A model that stable does not serve is released by promotion, not by the split."""
    state = snapshot(_models(MODEL), _models(MODEL, "new"), weight=100)
    with pytest.raises(Refused) as refused:
        _choose(state, model="new")
    assert refused.value.code == "model_not_found"
    assert _choose(state, model="new", pinned="beta").route.version == CANDIDATE


@pytest.mark.parametrize("name", ["claude-sonnet-4.5", "claude-sonnet-4-5", "sonnet"])
def test_model_names_and_aliases(name: str) -> None:
    """A model answers to its name, to the same with dots for dashes, and to its aliases."""
    state = snapshot(_models("claude-sonnet-4-5", aliases=("sonnet",)))
    assert _choose(state, model=name).route.model == "claude-sonnet-4-5"


def test_unknown_model_names_the_nearest() -> None:
    """An unknown model is 404 in the seed's words, with the name that was meant."""
    with pytest.raises(Refused, match=r"Model 'gpt-4\.l' is not available.*gpt-4\.1") as refused:
        _choose(snapshot(), model="gpt-4.l")
    assert refused.value.status == 404


def test_ban_takes_everything_away() -> None:
    """A banned candidate gets neither weighted nor sticky requests; stable cannot be banned."""
    state = _split(100)
    assert _choose(state, banned=(9,)).route.version == STABLE
    assert _choose(state, banned=(9,), sticky_key="a").route.version == STABLE
    assert _choose(state, banned=(8, 9)).route.version == STABLE


@pytest.mark.parametrize("flag", ["withdrawn", "quarantined"])
def test_withdrawn_versions_get_nothing(flag: str) -> None:
    """A withdrawn or quarantined version gets no traffic even if a split names it."""
    state = _split(100)
    gone = Version(
        CANDIDATE, config(), 9, withdrawn=flag == "withdrawn", quarantined=flag == "quarantined"
    )
    state = replace(state, versions={**state.versions, CANDIDATE: gone})
    assert _choose(state).route.version == STABLE
    with pytest.raises(Refused) as refused:
        _choose(state, pinned=CANDIDATE)
    assert (refused.value.status, refused.value.code) == (409, "version_withdrawn")
    assert _choose(state, pinned=CANDIDATE, may_operate=True).route.version == CANDIDATE
    assert _choose(state, pinned="beta").route.version == STABLE


def test_pinning() -> None:
    """Aliases and exact names pin, even at weight 0; nobody stands in for a pinned version."""
    state = _split(0)
    for name, version in {"stable": STABLE, "beta": CANDIDATE, CANDIDATE: CANDIDATE}.items():
        choice = _choose(state, pinned=name)
        assert (choice.route.version, choice.assignment) == (version, Assignment.PINNED)
        assert choice.stand_in is None
    assert _choose(snapshot(), pinned="beta").route.version == STABLE


def test_unknown_version_names_those_that_exist() -> None:
    """An unknown version is 404 in the seed's words, with the names that exist."""
    with pytest.raises(
        Refused, match=r"Target version 'v9' does not exist.*beta, stable"
    ) as refused:
        _choose(snapshot(), pinned="v9")
    assert (refused.value.status, refused.value.code) == (404, "version_not_found")


def test_more_than_two_versions() -> None:
    """A split made by hand may hold several versions, each with its share."""
    state = _split(20)
    third = Version("v3", config(model="third"), 10)
    state = replace(
        state,
        versions={**state.versions, "v3": third},
        weights={STABLE: 50.0, CANDIDATE: 20.0, "v3": 30.0},
    )
    routing = _routing(state)
    ask = Ask(model=MODEL, key_id="key_1")
    counts = Counter(routing.choose(ask, lambda _: False).route.version for _ in range(5000))
    assert 850 <= counts[CANDIDATE] <= 1150
    assert 1300 <= counts["v3"] <= 1700


@pytest.mark.parametrize(
    "broken",
    [
        {"aliases": {}},
        {"aliases": {"stable": "nobody"}},
        {"weights": {STABLE: 50.0, "nobody": 50.0}},
        {"weights": {STABLE: 50.0, CANDIDATE: float("nan")}},
        {"weights": {STABLE: 150.0, CANDIDATE: -50.0}},
    ],
)
def test_impossible_snapshot_is_refused_whole(broken: dict[str, Any]) -> None:
    """A snapshot that cannot be routed by is refused with a reason, not served in part."""
    with pytest.raises(RoutingError, match="config-1"):
        _routing(replace(_split(10), **broken))


def test_model_of_an_unknown_upstream_is_not_there() -> None:
    """A model whose upstream is gone from the settings is not available; the rest is."""
    state = snapshot(config(upstream="gone"))
    with pytest.raises(Refused) as refused:
        _choose(state)
    assert refused.value.code == "model_not_found"
