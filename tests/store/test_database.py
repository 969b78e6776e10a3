"""The control store's door: what is lost is not written to, what fails says so, and comes back."""

import os
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import insert, select, text

from grayscale.errors import StoreLost, StoreUnavailable
from grayscale.store import schema
from grayscale.store.database import Database


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Database]:
    """A store that is open."""
    made = Database(tmp_path)
    await put(made, "first")
    yield made
    await made.close()


async def put(store: Database, key: str) -> None:
    """Write a row."""
    async with store.write() as tx:
        await tx.run(insert(schema.meta).values(key=key, text="", number=1))


async def has(store: Database, key: str) -> bool:
    """Look for a row."""
    async with store.read() as tx:
        return await tx.one(select(schema.meta).where(schema.meta.c.key == key)) is not None


def path_of(store: Database) -> Path:
    """SQLite's file."""
    assert store.path is not None
    return store.path


async def test_a_removed_file_is_lost_and_not_made_again(store: Database) -> None:
    """Neither a read nor a write nor a new start makes a store where one was."""
    path = path_of(store)
    kept = path.rename(path.with_name("kept"))
    for database in (store, Database(path.parent)):
        with pytest.raises(StoreLost, match=r"gone or was replaced|missing"):
            await put(database, "second")
        with pytest.raises(StoreLost):
            await has(database, "first")
    assert not path.exists()
    kept.rename(path)
    await put(store, "second")
    assert await has(store, "first")


@pytest.mark.parametrize("what", ["nothing", "other_tables", "other_store"])
async def test_another_file_in_its_place_is_not_touched(
    store: Database, tmp_path_factory: pytest.TempPathFactory, what: str
) -> None:
    """An empty file, somebody's database, another relay's store: lost, and left as it is."""
    path, other = path_of(store), tmp_path_factory.mktemp("other")
    if what == "nothing":
        (other / "grayscale.db").touch()
    elif what == "other_tables":
        with sqlite3.connect(other / "grayscale.db") as connection:
            connection.execute("CREATE TABLE mine (x)")
        connection.close()
    else:
        another = Database(other)
        await put(another, "another")
        await another.close()
    (other / "grayscale.db").replace(path)
    before = path.read_bytes()
    for database in (store, Database(path.parent)):
        with pytest.raises(StoreLost):
            await put(database, "second")
    assert path.read_bytes() == before


async def test_another_store_written_into_the_file_is_noticed(
    store: Database, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The same file with another store's contents has another id."""
    another = Database(tmp_path_factory.mktemp("other"))
    await put(another, "another")
    await another.close()
    with sqlite3.connect(path_of(another)) as source, sqlite3.connect(path_of(store)) as target:
        source.backup(target)
    source.close()
    target.close()
    with pytest.raises(StoreLost, match="is not the one of"):
        await put(store, "second")


async def test_a_store_that_vanishes_during_a_write_hears_nothing(store: Database) -> None:
    """What was begun before the loss is not said to be done."""

    async def vanish() -> None:
        async with store.write() as tx:
            await tx.run(insert(schema.meta).values(key="second", text="", number=1))
            path_of(store).rename(path_of(store).with_name("kept"))

    with pytest.raises(StoreLost):
        await vanish()
    path_of(store).with_name("kept").rename(path_of(store))
    assert not await has(store, "second")


async def test_a_full_disk_says_so_and_is_over_when_it_is_over(store: Database) -> None:
    """SQLite's own `full`: nothing is half written, and the next write succeeds."""

    async def fill() -> None:
        async with store.write() as tx:
            pages = await tx.one(text("PRAGMA page_count"))
            assert pages is not None
            await tx.one(text(f"PRAGMA max_page_count = {pages['page_count']}"))
            for number in range(200):
                row = {"key": f"big-{number}", "text": "x" * 4000, "number": 1}
                await tx.run(insert(schema.meta).values(**row))

    with pytest.raises(StoreUnavailable, match="disk is full; free some space"):
        await fill()
    assert not await has(store, "big-0")
    await put(store, "second")


async def test_a_damaged_file_is_unavailable(tmp_path: Path) -> None:
    """Rubbish in the file's place is refused in words and left as it is."""
    (tmp_path / "grayscale.db").write_bytes(b"rubbish" * 1000)
    with pytest.raises(StoreUnavailable, match="not a database"):
        await put(Database(tmp_path), "first")
    assert (tmp_path / "grayscale.db").read_bytes() == b"rubbish" * 1000


async def test_a_server_that_is_away_is_unavailable(tmp_path: Path) -> None:
    """PostgreSQL that does not answer is the store's error, not the program's."""
    nobody = Database(tmp_path, "postgresql+asyncpg://nobody:none@127.0.0.1:1/none")
    with pytest.raises(StoreUnavailable, match="at store_url cannot be opened"):
        await put(nobody, "first")


@pytest.mark.skipif("GRAYSCALE_TEST_POSTGRES_URL" not in os.environ, reason="needs PostgreSQL")
async def test_another_database_at_the_url_is_not_touched(tmp_path: Path) -> None:
    """A server's database that was emptied is lost for a data directory that knew another one."""
    url = os.environ["GRAYSCALE_TEST_POSTGRES_URL"]
    store = Database(tmp_path, url)
    await put(store, f"mine-{tmp_path.name}")
    async with store.write() as tx:
        await tx.run(text("UPDATE meta SET text = 'store_other' WHERE key = 'store_id'"))
    for database in (store, Database(tmp_path, url)):
        with pytest.raises(StoreLost, match="is not the one of"):
            await put(database, "second")
    (tmp_path / "store.id").unlink()
    await store.close()
