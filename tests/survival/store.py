"""The control store on SQLite in memory: the real tables, the real statements, no threads."""

import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

from sqlalchemy import ClauseElement, create_engine
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.pool import StaticPool

from grayscale.errors import StoreUnavailable
from grayscale.store.database import Database, Tx, _first_rows
from grayscale.store.migrate import upgrade
from tests.survival import statements
from tests.survival.processes import PROCESS

T = TypeVar("T")
_STATEMENTS = 512


class MemoryDatabase(Database):
    """A store that every process of a world shares; a killed process finds its door shut.

    A transaction never yields to other tasks, so that one is over before the next begins. All of
    a world happens within one that is never committed: the next world begins where this one did.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__(Path("/nowhere"))
        self.connection = connection
        self.door = Door(connection)
        self.committed: Callable[[], None] = lambda: None
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        connection.execute("BEGIN")

    def keep(self) -> None:
        """Let every later world begin with what is here now."""
        self.connection.execute("COMMIT")

    def sql(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """What the tables hold, beside the code under test."""
        return self.connection.execute(statement, values).fetchall()

    def check_identity(self) -> None:
        """There is no file to lose."""

    async def close(self) -> None:
        """There is nothing to give back."""

    @asynccontextmanager
    async def _transaction(self, *, write: bool) -> AsyncIterator[Tx]:
        process = PROCESS.get(None)
        if process is not None:
            await process.thawed()
        if process is not None and not process.alive:
            raise StoreUnavailable(f"{process.name} is dead")
        tx = Tx(cast("AsyncConnection", self.door))
        if not write:
            yield tx
            return
        self.connection.execute("SAVEPOINT tx")
        try:
            yield tx
            if process is not None:
                process.fail_a_commit()
        except BaseException:
            self.connection.execute("ROLLBACK TO tx")
            raise
        finally:
            self.connection.execute("RELEASE tx")
        self.committed()


class Door:
    """A connection whose answers are there at once."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    async def execute(
        self, statement: ClauseElement, given: Mapping[str, Any] | None = None
    ) -> statements.Rows:
        """Run a statement."""
        return statements.run(self._connection, statement, given or {})


def empty_store() -> sqlite3.Connection:
    """The tables, and nothing in them."""
    engine = create_engine("sqlite://", poolclass=StaticPool)
    with engine.begin() as connection:
        upgrade(connection)
    made = engine.raw_connection().driver_connection
    assert isinstance(made, sqlite3.Connection)
    store = sqlite3.connect(":memory:", isolation_level=None, cached_statements=_STATEMENTS)
    store.deserialize(made.serialize())
    at_once(_first_rows(Tx(cast("AsyncConnection", Door(store)))))
    return store


def at_once(deed: Coroutine[Any, Any, T]) -> T:
    """What comes of a deed that waits for nothing."""
    try:
        deed.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    raise RuntimeError(f"{deed} waits for something")
