"""The control store on SQLite in memory: the real tables, the real statements, no threads."""

import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, cast

from sqlalchemy import ClauseElement, create_engine
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.pool import StaticPool

from grayscale.errors import StoreUnavailable
from grayscale.store.database import Database, Tx, _first_rows
from grayscale.store.migrate import upgrade
from tests.survival import statements
from tests.survival.processes import PROCESS


class MemoryDatabase(Database):
    """A store that every process of a world shares; a killed process finds its door shut.

    A transaction never yields to other tasks, so that one is over before the next begins.
    """

    def __init__(self, begun: bytes | None = None) -> None:
        super().__init__(Path("/nowhere"))
        self._connection = _connection()
        self._connection.deserialize(begun or _empty())
        self.committed: Callable[[], None] = lambda: None

    def sql(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """What the tables hold, beside the code under test."""
        return self._connection.execute(statement, values).fetchall()

    def bytes(self) -> bytes:
        """All of it, for another store to begin with."""
        return self._connection.serialize()

    def check_identity(self) -> None:
        """There is no file to lose."""

    async def close(self) -> None:
        """There is nothing to give back."""

    @asynccontextmanager
    async def _transaction(self, *, write: bool) -> AsyncIterator[Tx]:
        process = PROCESS.get(None)
        if process is not None and not process.alive:
            raise StoreUnavailable(f"{process.name} is dead")
        tx = Tx(cast("AsyncConnection", _Awaited(self._connection)))
        if not write:
            yield tx
            return
        with self._committed_or_nothing():
            yield tx
            if process is not None:
                process.fail_a_commit()
        self.committed()

    @contextmanager
    def _committed_or_nothing(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")


class _Awaited:
    """A connection whose answers are there at once."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    async def execute(
        self, statement: ClauseElement, given: Mapping[str, Any] | None = None
    ) -> statements.Rows:
        """Run a statement."""
        return statements.run(self._connection, statement, given or {})


@cache
def _connection() -> sqlite3.Connection:
    """One for all worlds, one after the other: SQLite's prepared statements are kept."""
    return sqlite3.connect(":memory:", isolation_level=None, cached_statements=512)


@cache
def _empty() -> bytes:
    """An empty store with its tables."""
    engine = create_engine("sqlite://", poolclass=StaticPool)
    with engine.begin() as connection:
        upgrade(connection)
    driver = engine.raw_connection().driver_connection
    assert isinstance(driver, sqlite3.Connection)
    driver.isolation_level = None
    done_at_once(_first_rows(Tx(cast("AsyncConnection", _Awaited(driver)))))
    return driver.serialize()


def done_at_once(deed: Coroutine[Any, Any, object]) -> None:
    """Carry out what waits for nothing."""
    with suppress(StopIteration):
        deed.send(None)
        raise RuntimeError(f"{deed} waits for something")
