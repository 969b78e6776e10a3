"""The data plane alone: whatever becomes of the store, stable is served, and nothing is hidden."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conducting import Conductor
from tests.e2e.conftest import settings
from tests.e2e.faults import (
    callers,
    full,
    locked,
    ready_state,
    relay_of_two,
    remove_store,
    row,
    stopped,
)
from tests.e2e.processes import Provider, Relay, await_ready, begin, end, eventually
from tests.e2e.shapes import make_candidate, refused

LEASE_SECONDS = 5.0


@pytest.fixture(scope="module")
def shared(
    the_provider: Provider,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Relay]:
    folder = tmp_path_factory.mktemp("alone")
    with relay_of_two(folder, the_provider) as relay:
        make_candidate(relay, percent=50)
        yield relay


def store_files(relay: Relay) -> dict[str, bytes]:
    """The store's files, whole."""
    return {path.name: path.read_bytes() for path in relay.data_dir.glob("grayscale.db*")}


def write(relay: Relay, name: str = "a key") -> tuple[int, str]:
    """Try to write something: status and error code."""
    with relay.client() as admin:
        answer = admin.post("/admin/keys", json={"name": name, "scopes": ["invoke"]})
    if answer.status_code == 201:
        return 201, ""
    code = str(answer.json()["error"]["code"])
    assert refused(answer, 503, code)["message"]
    assert answer.headers["retry-after"] == "1"
    return 503, code


def test_the_store_is_lost(the_provider: Provider, tmp_path: Path) -> None:
    """No caller notices; the relay does within a second, and writes nothing in the store's place.

    An abort takes the candidate away and says that it is not on record. Begun again without it, it serves the stable part of its last good snapshot and says so, also
    with one copy of that spoilt; another store in its place is not taken for it.
    """
    with relay_of_two(tmp_path, the_provider) as relay:
        conductor = Conductor(
            relay.client(),
            auto_promote={"promotion_steps": [50, 100], "step_duration_seconds": 60},
        )
        conductor.begin()
        name = conductor.plan["version_name"]
        with callers(relay, per_second=120) as calling:
            assert eventually(lambda: name in calling.versions_after(0), seconds=10)
            remove_store(relay)
            lost_at = time.monotonic()
            assert eventually(lambda: "store" in ready_state(relay)["reasons"], seconds=1)
            assert write(relay) == (503, "store_lost")
            assert ready_state(relay)["status"] == "degraded"
            aborted_at = time.monotonic()
            aborted = conductor.say("abort")
            assert (aborted.status_code, aborted.json()["recorded"]) == (202, False)
            assert eventually(lambda: len(calling.versions_of(aborted_at + 1)) > 60, seconds=10)
        assert calling.versions_after(aborted_at + 1) == {"v1"}
        assert calling.failed() == []
        assert aborted_at - lost_at < 2
        assert store_files(relay) == {}
    other = b"not the store that was here"
    (relay.data_dir / "snapshot.json").write_bytes(b"\0spoilt")
    (relay.data_dir / "grayscale.db").write_bytes(other)
    again = begin(tmp_path, settings(the_provider.base_url), workers=2)
    try:
        await_ready(again)
        with callers(again) as calling:
            assert eventually(lambda: len(calling.answers) > 40, seconds=10)
        assert calling.failed() == []
        assert calling.versions_after(0) == {"v1"}
        assert ready_state(again)["status"] == "degraded"
        assert write(again)[0] == 503
    finally:
        again.hang_up()
        end(again.process)
    assert store_files(again) == {"grayscale.db": other}


def test_the_store_is_locked(shared: Relay) -> None:
    """Traffic goes on, a write is refused in words, and succeeds afterwards without a restart."""
    with callers(shared) as calling:
        with locked(shared):
            assert write(shared) == (503, "store_unavailable")
            assert ready_state(shared)["code"] == 200
        assert eventually(lambda: write(shared)[0] == 201, seconds=5)
        assert eventually(lambda: ready_state(shared)["status"] == "ok", seconds=10)
    assert calling.failed() == []
    assert len(calling.answers) > 50


def test_the_disk_is_full(shared: Relay) -> None:
    """Traffic goes on, a write is refused in words, and succeeds afterwards without a restart."""
    with callers(shared) as calling:
        with full(shared):
            assert eventually(lambda: write(shared)[0] == 503, seconds=5)
            assert write(shared) == (503, "store_unavailable")
            assert eventually(lambda: ready_state(shared)["status"] == "degraded", seconds=3)
        assert eventually(lambda: write(shared)[0] == 201, seconds=5)
        assert eventually(lambda: ready_state(shared)["status"] == "ok", seconds=10)
    assert calling.failed() == []
    assert row(shared, "PRAGMA integrity_check") == ("ok",)


def test_a_leader_that_stood_still_has_no_say(shared: Relay) -> None:
    """Stopped for twice its lease, it finds another leader, does nothing more, and serves on."""
    assert eventually(lambda: row(shared, "SELECT holder FROM leader") != (None,), seconds=10)
    query = "SELECT pid, fence FROM leader JOIN workers ON workers.id = leader.holder"
    pid, fence = row(shared, query)
    with stopped(shared, pid):
        began = time.monotonic()
        assert eventually(lambda: row(shared, "SELECT fence FROM leader")[0] > fence, seconds=20)
        assert eventually(lambda: time.monotonic() - began > 2 * LEASE_SECONDS, seconds=15)
    new_leader = row(shared, query)
    assert new_leader[0] != pid
    beat = row(shared, "SELECT beat FROM leader")[0]
    assert eventually(lambda: row(shared, "SELECT beat FROM leader")[0] >= beat + 3, seconds=10)
    assert row(shared, query) == new_leader
    os.kill(pid, 0)
    assert eventually(lambda: ready_state(shared)["status"] == "ok", seconds=10)
