"""What a takeaway may wait for: nothing where memory suffices, and never a store that hangs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from grayscale.errors import StoreUnavailable
from grayscale.plane import snapshots
from grayscale.plane.plane import Plane
from grayscale.plane.rollbacks import Wanted
from grayscale.relay.admin import takeaways
from grayscale.store.database import Database, Tx


class HangingStore(Database):
    """A store that takes every question and answers none, as a server that was stopped does."""

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Tx]:
        """Never comes to an answer."""
        await asyncio.Event().wait()
        yield Tx(None)  # type: ignore[arg-type]  # never reached


@pytest.fixture
def hung(plane: Plane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plane:
    """The same control plane, its store not answering any more."""
    monkeypatch.setattr(takeaways, "_LOOK_WITHIN_SECONDS", 0.02)
    return replace(plane, database=HangingStore(tmp_path))


@pytest.mark.parametrize("by_name", [True, False])
async def test_an_abort_brakes_while_the_store_hangs(
    plane: Plane, story: Any, hung: Plane, *, by_name: bool
) -> None:
    """Whether the release is asked for by its id or its version's name, the store is not."""
    await story.begin()
    snapshot = await snapshots.load(plane)
    asked = "v2" if by_name else story.release_id
    pulling = takeaways.pull_for_release(hung, snapshot, asked, cut=False)
    with pytest.raises(StopIteration):  # it never waits, not even once
        pulling.send(None)
    assert plane.brake.banned(snapshot.versions["v2"].brake_slot)
    assert plane.brake.ended(story.release_id)


async def test_an_abort_of_what_memory_does_not_know(plane: Plane, story: Any, hung: Plane) -> None:
    """A store that hangs cannot say which release that is: "later", and nothing is braked."""
    await story.create()
    with pytest.raises(StoreUnavailable, match="did not answer within"):
        await takeaways.pull_for_release(hung, await snapshots.load(plane), "v2", cut=False)


async def test_a_rollback_does_not_wait_for_a_store_that_hangs(
    plane: Plane, story: Any, hung: Plane
) -> None:
    """What memory knows is braked, and the answer is not kept back until the store gives up."""
    await story.begin()
    snapshot = await snapshots.load(plane)
    await asyncio.wait_for(takeaways.pull_for_rollback(hung, snapshot, Wanted()), timeout=5)
    assert plane.brake.banned(snapshot.versions["v2"].brake_slot)
