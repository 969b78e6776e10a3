"""A worker's duties, one at a time: following the store, counting, watching, the brake."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.types import ASGIApp

from grayscale.errors import StoreError, StoreLost, StoreUnavailable
from grayscale.relay import snapshot_file
from grayscale.relay.brake import Brake, is_trip
from grayscale.relay.breaker import Trip
from grayscale.relay.control import Beat, Flush
from grayscale.relay.runtime import Runtime
from grayscale.relay.worker import Leave, Worker
from grayscale.testing.clock import FakeClock
from grayscale.traffic.counters import CellKey, Cells
from grayscale.traffic.outcomes import Outcome
from grayscale.traffic.snapshot import Snapshot
from tests.relay.harness import (
    CANDIDATE,
    SECRET,
    STABLE,
    config,
    control_app,
    key,
    settings,
    snapshot,
)

_KEY = CellKey("config-1", STABLE, "gpt-4.1", "main", "weighted", stream=False)


class Store:
    """A control plane whose store is a field; told to fail, it fails."""

    def __init__(self, state: Snapshot, clock: FakeClock) -> None:
        self.state = state
        self.failure: StoreError | None = None
        self.clock = clock
        self.slow_seconds = 0.0
        self.beat = 1
        self.flushed: list[tuple[Cells, int, dict[str, int]]] = []
        self.goodbyes = 0
        self.trips: list[Trip] = []

    def _check(self) -> None:
        if self.failure is not None:
            raise self.failure

    async def load_snapshot(self) -> Snapshot:
        """The state."""
        self._check()
        return self.state

    async def flush(self, *, cells: Cells, applied_seq: int, in_flight: Mapping[str, int]) -> Beat:
        """Keep what was flushed."""
        self._check()
        self.clock.advance(self.slow_seconds)
        self.flushed.append((cells, applied_seq, dict(in_flight)))
        return Beat(config_seq=self.state.config_seq, beat=self.beat, workers=3)

    async def record_trip(self, trip: Trip) -> None:
        """Keep what tripped."""
        self._check()
        self.trips.append(trip)

    def control_app(self, flush: Flush) -> ASGIApp:
        """An app that says what it was asked."""
        return control_app

    async def run_leader(self) -> None:
        """Lead for ever."""
        await asyncio.Event().wait()

    async def close(self) -> None:
        """Remember that the goodbye was said."""
        self.goodbyes += 1


class Bench:
    """A worker on the bench, with everything it touches."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = FakeClock()
        self.brake = Brake.open(folder / "brake")
        self.runtime = Runtime(settings({"main": "http://127.0.0.1:9/v1"}), self.brake, self.clock)
        self.store = Store(snapshot(candidate=config(model="new"), weight=100), self.clock)
        self.worker = Worker(self.runtime, self.store, {}, folder)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """A worker that has not begun yet."""
    made = Bench(tmp_path)
    yield made
    made.brake.close()


async def test_new_state_is_taken_whole(bench: Bench) -> None:
    """A refresh swaps the state, acknowledges it with the next flush, and keeps it as a file."""
    await bench.worker.refresh()
    assert bench.runtime.snapshot is bench.store.state
    await bench.worker.flush()
    assert bench.store.flushed[-1][1] == 1
    assert bench.runtime.workers == 3
    bench.store.state = replace(bench.store.state, config_seq=2, config_id="config-2")
    await bench.worker.flush()  # hears of it, and reads it
    assert bench.runtime.snapshot is not None
    assert bench.runtime.snapshot.config_id == "config-2"
    saved = snapshot_file.load(bench.folder)
    assert saved is not None
    assert saved.config_id == "config-2"


async def test_unusable_state_is_refused_whole(bench: Bench) -> None:
    """A state that cannot be routed by changes nothing, and readiness says why."""
    await bench.worker.refresh()
    bench.store.state = replace(bench.store.state, config_seq=2, aliases={})
    await bench.worker.refresh()
    assert bench.runtime.snapshot is not None
    assert bench.runtime.snapshot.config_seq == 1
    assert "no stable version" in bench.runtime.health.reasons["snapshot"]
    bench.store.state = replace(snapshot(), config_seq=3)
    await bench.worker.refresh()
    assert bench.runtime.health.reasons == {}


@pytest.mark.parametrize("failure", [StoreUnavailable("busy"), StoreLost("gone")])
async def test_counters_outlive_a_store_that_is_away(bench: Bench, failure: StoreError) -> None:
    """What cannot be written is kept and written later; traffic goes on meanwhile."""
    await bench.worker.refresh()
    bench.runtime.meter.start(_KEY, None)
    bench.store.failure = failure
    await bench.worker.flush()
    await bench.worker.refresh()
    assert bench.runtime.ready
    assert bench.runtime.health.reasons["store"] == str(failure)
    bench.runtime.meter.start(_KEY, None)
    bench.store.failure = None
    await bench.worker.flush()
    assert bench.store.flushed[-1][0][_KEY].started == 2
    assert "store" not in bench.runtime.health.reasons


async def test_without_a_beat_only_stable_is_served(bench: Bench) -> None:
    """Thirty seconds without a rising beat: nobody watches, so the candidate gets nothing."""
    await bench.worker.refresh()
    await bench.worker.flush()
    bench.clock.advance(29)
    assert not bench.runtime.is_banned(9)
    bench.clock.advance(2)
    await bench.worker.flush()  # the beat stands still: the store answers, the leader does not
    assert bench.runtime.is_banned(9)
    bench.store.beat += 1
    await bench.worker.flush()
    assert not bench.runtime.is_banned(9)


async def test_wall_clock_does_not_matter_to_the_watch(bench: Bench) -> None:
    """Somebody who sets the clock takes no candidate away."""
    await bench.worker.refresh()
    await bench.worker.flush()
    bench.clock.shift_wall(86_400)
    assert bench.runtime.watched


async def test_cutting_ban_is_carried_out_once(bench: Bench) -> None:
    """A ban that cuts ends the version's running requests once, and never stable's."""
    await bench.worker.refresh()
    cut: list[str] = []

    class _Watch:
        def __init__(self, name: str) -> None:
            self.name = name

        def interrupt(self, cause: object) -> None:
            del cause
            cut.append(self.name)

    for name in (STABLE, CANDIDATE):
        bench.runtime.in_flight.add(name, _Watch(name))  # type: ignore[arg-type]
    bench.brake.ban(9)
    bench.worker.cut_banned()
    assert cut == []
    bench.brake.ban(9, cut=True)
    bench.brake.ban(8, cut=True)
    bench.worker.cut_banned()
    bench.worker.cut_banned()
    assert cut == [CANDIDATE]
    bench.brake.ban(9, cut=True)
    bench.worker.cut_banned()
    assert cut == [CANDIDATE, CANDIDATE]


async def test_a_trip_bans_at_once_and_is_written_down_when_it_can(bench: Bench) -> None:
    """The brake page comes first; the store hears of it then, or when it is back, and once."""
    await bench.worker.refresh()
    trip = _trip_the_breaker(bench)
    assert is_trip(bench.brake.value(9))
    assert bench.runtime.flush_wanted.is_set()
    bench.store.failure = StoreUnavailable("away")
    await bench.worker.report_trips()
    assert bench.runtime.health.reasons["store"] == "away"
    bench.store.failure = None
    await bench.worker.report_trips()
    await bench.worker.report_trips()
    assert bench.store.trips == [trip]


async def test_a_banned_version_does_not_trip(bench: Bench) -> None:
    """Whoever took the candidate away was first: the breaker has nothing to add."""
    await bench.worker.refresh()
    ban = bench.brake.ban(9)
    _trip_the_breaker(bench)
    assert bench.brake.value(9) == ban
    assert bench.runtime.trips == []


def _trip_the_breaker(bench: Bench) -> Trip:
    for _ in range(6):
        for _ in range(2):
            bench.runtime.breaker.start(STABLE, None).settle(Outcome.OK)
        bench.runtime.breaker.start(CANDIDATE, None).settle(Outcome.UPSTREAM_ERROR)
    return Trip(CANDIDATE, failures=6, requests=6, stable_failures=0, stable_requests=12)


async def test_starts_from_the_file_when_the_store_is_away(bench: Bench) -> None:
    """The file serves the stable version alone, and any state of the store is newer than it."""
    snapshot_file.save(bench.store.state, bench.folder)
    bench.store.failure = StoreUnavailable("away")
    await bench.worker.start_state()
    current = bench.runtime.snapshot
    assert current is not None
    assert (dict(current.weights), dict(current.aliases)) == ({STABLE: 100.0}, {"stable": STABLE})
    assert key().sha256 in current.keys
    bench.store.failure = None
    await bench.worker.flush()
    assert bench.runtime.snapshot is bench.store.state


async def test_without_store_and_file_it_waits(bench: Bench) -> None:
    """A relay that never had a state is not ready, and says so."""
    bench.store.failure = StoreUnavailable("away")
    (bench.folder / snapshot_file.NAME).write_text('{"config_id": 7}')
    await bench.worker.start_state()
    assert bench.runtime.snapshot is None
    assert not bench.runtime.ready


async def test_a_banned_stable_gives_way_to_previous(bench: Bench) -> None:
    """A promotion is taken away without the store: previous serves until the ban is lifted."""
    promoted = replace(
        bench.store.state,
        weights={CANDIDATE: 100.0},
        aliases={"stable": CANDIDATE, "previous": STABLE},
    )
    bench.store.state = promoted
    await bench.worker.refresh()
    ban = bench.brake.ban(9)
    bench.worker.obey_brake()
    current = bench.runtime.snapshot
    assert current is not None
    assert (current.stable.name, dict(current.weights)) == (STABLE, {STABLE: 100.0})
    assert CANDIDATE in bench.runtime.health.reasons["stable"]
    saved = snapshot_file.load(bench.folder)
    assert saved is not None
    assert saved.previous is not None
    bench.brake.lift(9, ban)
    bench.worker.obey_brake()
    assert bench.runtime.snapshot is promoted
    assert "stable" not in bench.runtime.health.reasons


async def test_stable_always_exists(bench: Bench) -> None:
    """Without a previous that may serve, a ban on stable is no reason to serve nobody."""
    await bench.worker.refresh()
    bench.brake.ban(8)
    bench.worker.obey_brake()
    assert bench.runtime.snapshot is bench.store.state
    banned_too = replace(bench.store.state, aliases={"stable": STABLE, "previous": CANDIDATE})
    bench.store.state = replace(banned_too, config_seq=5)
    bench.brake.ban(9)
    await bench.worker.refresh()
    bench.worker.obey_brake()
    assert bench.runtime.snapshot is bench.store.state


async def test_a_beat_that_was_long_on_its_way_is_no_news(bench: Bench) -> None:
    """Its age counts from when it was asked for, so that a worker that stood still knows it."""
    await bench.worker.refresh()
    await bench.worker.flush()
    bench.clock.advance(20)
    bench.store.beat += 1
    bench.store.slow_seconds = 40
    await bench.worker.flush()
    assert not bench.runtime.watched
    assert bench.runtime.is_banned(9)


@pytest.mark.parametrize("spoilt", [b"", b"\0\0", b'{"sha256": "0", "snapshot": {"config_id": 7}}'])
async def test_a_spoilt_file_is_not_served_by(bench: Bench, spoilt: bytes) -> None:
    """One copy may be spoilt, or changed by a hand; the other serves. With both there is none."""
    snapshot_file.save(bench.store.state, bench.folder)
    whole = (bench.folder / snapshot_file.NAME).read_bytes()
    for text in (spoilt, whole.replace(STABLE.encode(), b"other")):
        (bench.folder / snapshot_file.NAME).write_bytes(text)
        served = snapshot_file.load(bench.folder)
        assert served is not None
        assert served.stable.name == STABLE
    (bench.folder / snapshot_file.COPY).write_bytes(spoilt)
    assert snapshot_file.load(bench.folder) is None


async def test_file_holds_no_secret(bench: Bench) -> None:
    """The file has keys as hashes only, no upstream's address or key, and is for its owner."""
    snapshot_file.save(bench.store.state, bench.folder)
    path = bench.folder / snapshot_file.NAME
    text = path.read_text()
    assert SECRET not in text
    assert "sk-upstream" not in text
    assert "127.0.0.1" not in text
    assert path.stat().st_mode & 0o777 == 0o600


def test_only_who_is_waited_for_hurries() -> None:
    """A second signal hurries a worker; being replaced, before or after, does not."""
    leave, heard = Leave(), []
    for at_ease in (True, False, True, False):
        leave.ask(at_ease=at_ease)
        heard.append((leave.asked.is_set(), leave.at_ease, leave.hurried.is_set()))
    at_ease_then_not = [(True, True, False), (True, False, False)]
    assert heard == [*at_ease_then_not, (True, False, False), (True, False, True)]
