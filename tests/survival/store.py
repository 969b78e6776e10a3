"""The control store on SQLite in memory: the real tables, the real statements, no threads."""

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, cast

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.pool import StaticPool
from sqlalchemy.sql import Executable

from grayscale.errors import StoreUnavailable
from grayscale.store.database import Database, Tx, _first_rows
from grayscale.store.migrate import upgrade
from tests.survival.processes import PROCESS


class MemoryDatabase(Database):
    """A store that every process of a world shares; a killed process finds its door shut.

    A transaction never yields to other tasks, so that one is over before the next begins.
    """

    def __init__(self) -> None:
        super().__init__(Path("/nowhere"))
        self._connection = _connection()
        _driver(_template()).backup(_driver(self._connection))
        self.committed: Callable[[], None] = lambda: None

    def sql(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """What the tables hold, beside the code under test."""
        return _driver(self._connection).execute(statement, values).fetchall()

    def check_identity(self) -> None:
        """There is no file to lose."""

    async def close(self) -> None:
        """There is nothing to give back."""

    @asynccontextmanager
    async def _transaction(self, *, write: bool) -> AsyncIterator[Tx]:
        process = PROCESS.get(None)
        if process is not None and not process.alive:
            raise StoreUnavailable(f"{process.name} is dead")
        with self._connection.begin():
            yield Tx(cast("AsyncConnection", _Awaited(self._connection)))
            if write and process is not None and process.commits_fail:
                process.commits_fail -= 1
                raise StoreUnavailable(f"{process.name}: the store was gone at the commit")
        if write:
            self.committed()


class _Awaited:
    """A connection whose answers are there at once."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def execute(self, statement: Executable) -> Any:
        """Run a statement."""
        return self._connection.execute(statement)


@cache
def _connection() -> Connection:
    """One for all worlds, one after the other: SQLAlchemy's compiled statements are kept."""
    return _connect()


@cache
def _template() -> Connection:
    """An empty store with its tables."""
    connection = _connect()
    with connection.begin():
        upgrade(connection)
        first = _first_rows(Tx(cast("AsyncConnection", _Awaited(connection))))
        with suppress(StopIteration):
            first.send(None)
    return connection


def _connect() -> Connection:
    engine = create_engine(
        "sqlite://", poolclass=StaticPool, connect_args={"isolation_level": None}
    )

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine.connect()


def _driver(connection: Connection) -> sqlite3.Connection:
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver
