"""A control plane on a real SQLite store, with a clock that jumps and a real brake page."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from grayscale.errors import Refused
from grayscale.plan import Plan, plan_from_mapping
from grayscale.plane import conduct, document, people, releases
from grayscale.plane.actor import Actor
from grayscale.plane.bootstrap import first_start, prepare_data_dir
from grayscale.plane.document import Document
from grayscale.plane.orders import Order
from grayscale.plane.plane import Plane
from grayscale.relay.brake import Brake
from grayscale.release.record import ReleaseRecord, VerdictView
from grayscale.settings import settings_from
from grayscale.store.database import Database
from grayscale.testing.clock import FakeClock
from tests.plane.watching import Watch

ANN = Actor("ann")
SETTINGS = {
    "upstreams": {"main": {"base_url": "http://127.0.0.1:9"}},
    "models": {
        "gpt-4.1": {"upstream": "main", "model": "gpt-4.1-2025-04-14"},
        "deepseek-v3.2": {"upstream": "main", "model": "deepseek-v3.2"},
    },
}


def plan(**changes: Any) -> Plan:
    """A plan that changes one of the two models."""
    data: dict[str, Any] = {
        "version_name": "v2",
        "config_overrides": {"models": {"gpt-4.1": {"model": "gpt-4.1-2026"}}},
        **changes,
    }
    return plan_from_mapping(data)


class Story:
    """A release told in the words of those who take part."""

    def __init__(self, plane: Plane) -> None:
        self.plane = plane
        self.release_id = ""
        self.fence = 0

    @staticmethod
    def plan(**changes: Any) -> Plan:
        return plan(**changes)

    async def create(self, the_plan: Plan | None = None) -> str:
        async with self.plane.write() as tx:
            release = await releases.create(self.plane, tx, the_plan or plan(), actor=ANN)
        self.release_id = release.id
        return release.id

    async def claim(self, run: str = "run-1") -> int:
        async with self.plane.write() as tx:
            release = await document.load(tx, self.release_id)
            self.fence = await conduct.claim(self.plane, tx, release, flow_run_id=run)
        return self.fence

    async def act(
        self, verb: str, step: int | None = None, *, fence: int | None = None, revision: int = -1
    ) -> None:
        async with self.plane.write() as tx:
            release = await document.load(tx, self.release_id)
            await conduct.act(
                self.plane,
                tx,
                release,
                Order(verb, step, "because"),
                fence=self.fence if fence is None else fence,
                revision=release.revision if revision < 0 else revision,
            )

    async def renew(self) -> None:
        async with self.plane.write() as tx:
            release = await document.load(tx, self.release_id)
            await conduct.renew(tx, release, fence=self.fence)

    async def resume(self) -> None:
        async with self.plane.write() as tx:
            release = await document.load(tx, self.release_id)
            await people.resume(self.plane, tx, release, actor=ANN, note="")

    async def record(self) -> ReleaseRecord:
        async with self.plane.read() as tx:
            release = await document.load(tx, self.release_id)
            return await releases.record(self.plane, tx, release)

    async def change(self, **changes: Any) -> None:
        """Set the running stage as the judge would."""
        async with self.plane.write() as tx:
            release: Document = await document.load(tx, self.release_id)
            if "verdict" in changes:
                changes["verdict"] = VerdictView.model_validate(changes["verdict"])
            release.put_stage(**changes)
            await document.save(tx, release, now=self.plane.clock.now())

    async def begin(self) -> None:
        """Create, claim, make the version, set the first split."""
        await self.create()
        await self.claim()
        await self.act("create_version")
        await self.act("set_split", 0)


def _stores() -> list[Any]:
    """SQLite always; PostgreSQL where one is given (an empty database, asyncpg's URL)."""
    given = os.environ.get("GRAYSCALE_TEST_POSTGRES_URL")
    return [
        pytest.param(None, id="sqlite"),
        *([pytest.param(given, id="postgresql")] if given else []),
    ]


@pytest.fixture(scope="session")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory after its first start, to be copied: that is quicker than another start."""
    folder = tmp_path_factory.mktemp("begun")
    prepare_data_dir(folder)

    async def begin() -> None:
        async with _opened(folder, None) as made:
            await first_start(made, folder, given_key=None)

    asyncio.run(begin())
    return folder


@pytest.fixture(params=_stores())
async def plane(
    tmp_path: Path, begun: Path, request: pytest.FixtureRequest
) -> AsyncIterator[Plane]:
    url: str | None = request.param
    if url is None:
        shutil.copytree(begun, tmp_path, dirs_exist_ok=True)
        async with _opened(tmp_path, None) as made:
            yield made
        return
    await _empty(url)
    prepare_data_dir(tmp_path)
    async with _opened(tmp_path, url) as made:
        await first_start(made, tmp_path, given_key=None)
        yield made


@asynccontextmanager
async def _opened(folder: Path, url: str | None) -> AsyncIterator[Plane]:
    brake = Brake.open(folder / "brake")
    database = Database(folder, url)
    yield Plane(database, brake, FakeClock(), settings_from(SETTINGS, source="test"))
    await database.close()
    brake.close()


async def _empty(url: str) -> None:
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.execute(text("DROP SCHEMA public CASCADE"))
        await connection.execute(text("CREATE SCHEMA public"))
    await engine.dispose()


@pytest.fixture
def story(plane: Plane) -> Story:
    return Story(plane)


@pytest.fixture
def watch(plane: Plane) -> Watch:
    assert isinstance(plane.clock, FakeClock)
    return Watch(plane, plane.clock)


@contextmanager
def _refused(code: str) -> Iterator[None]:
    with pytest.raises(Refused) as caught:
        yield
    assert caught.value.code == code, caught.value.message


@pytest.fixture
def refused() -> Callable[[str], AbstractContextManager[None]]:
    """A context in which every call must be refused with a code."""
    return _refused
