"""The control store's door: one way to read, one way to write.

A write is one transaction that holds the store's write lock from its first statement
(`BEGIN IMMEDIATE` on SQLite, the `writer` row `FOR UPDATE` on PostgreSQL), so that what it reads
is still true when it commits. Foreign exceptions end here: StoreUnavailable or StoreLost.

A store has an id, which the data directory remembers: one that vanished, or another one in its
place, is never written to, not even created again.
"""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from pydantic_core import from_json, to_json
from sqlalchemy import CursorResult, event, inspect, select, update
from sqlalchemy.engine import RowMapping
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.sql import Executable

from grayscale.errors import StoreLost, StoreUnavailable
from grayscale.store import log_heads, schema
from grayscale.store.migrate import upgrade

_BUSY_SECONDS = 5.0
_HUNG_SECONDS = 10.0
_MARKER = "store.id"
_ID_PREFIX = "store_"
_FOREIGN = (SQLAlchemyError, OSError, sqlite3.Error)
"""What a store raises; time-outs are OSErrors, and a server's own errors are added to these."""

_HELP = {
    "disk is full": "free some space: traffic goes on, and writes will too",
    "disk I/O error": "is the disk full? Traffic goes on, and writes will too",
    "database is locked": "another process holds its lock; try again",
}


def json_text(value: object) -> str:
    """What a JSON column keeps of a value, or of a model, which need not be dumped before."""
    return to_json(value).decode()


_STATE_SEQ = select(schema.meta.c.number).where(schema.meta.c.key == "state_seq")
_BUMP = (
    update(schema.meta)
    .where(schema.meta.c.key == "state_seq")
    .values(number=schema.meta.c.number + 1)
)


class Tx:
    """One transaction; `bumped` is the state sequence that it raised, if it did."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection
        self.bumped: int | None = None
        self.head: log_heads.Head | None = None

    async def one(self, statement: Executable, **values: object) -> RowMapping | None:
        """The first row, or None; `values` are those that the statement leaves open."""
        return (await self._execute(statement, values)).mappings().first()

    async def all(self, statement: Executable, **values: object) -> list[RowMapping]:
        """Every row."""
        return list((await self._execute(statement, values)).mappings())

    async def run(self, statement: Executable, **values: object) -> int:
        """Carry out a write; returns how many rows it touched."""
        return int((await self._execute(statement, values)).rowcount)

    async def insert(self, statement: Executable, **values: object) -> Any:
        """Insert one row; returns its primary key."""
        key = (await self._execute(statement, values)).inserted_primary_key
        return key[0] if key else None

    async def _execute(self, statement: Executable, values: dict[str, object]) -> CursorResult[Any]:
        return await self._connection.execute(statement, values or None)

    async def bump(self) -> int:
        """Raise the state sequence: every worker will load a new snapshot."""
        if self.bumped is None:
            await self.run(_BUMP)
            row = await self.one(_STATE_SEQ)
            if row is None:
                raise StoreLost("the control store has no state_seq; restore it from a backup")
            self.bumped = int(row["number"])
        return self.bumped


class Database:
    """A control store, opened at its first use: a relay starts, and serves, without one.

    Raises StoreLost if the data directory had a store that is gone or was replaced,
    StoreUnavailable if it cannot be opened or does not answer.
    """

    def __init__(self, data_dir: Path, url: str | None = None) -> None:
        self._data_dir = data_dir
        self._url = url
        self._path = None if url else data_dir / "grayscale.db"
        self._marker = data_dir / _MARKER
        self._engine: AsyncEngine | None = None
        self._identity: tuple[int, int] | None = None
        self._store_id: str | None = None
        self._foreign: tuple[type[Exception], ...] = _FOREIGN
        self._opening = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<Database {self._path or 'at store_url'} {'open' if self._engine else 'closed'}>"

    @property
    def path(self) -> Path | None:
        """SQLite's file; None elsewhere."""
        return self._path

    def read(self) -> AbstractAsyncContextManager[Tx]:
        """A consistent look; nothing is written."""
        return self._transaction(write=False)

    def write(self) -> AbstractAsyncContextManager[Tx]:
        """A transaction that holds the write lock; commits at the end, or does nothing."""
        return self._transaction(write=True)

    @asynccontextmanager
    async def _transaction(self, *, write: bool) -> AsyncIterator[Tx]:
        engine = await self._opened()
        self.check_identity()
        try:
            async with engine.connect() as raw:
                connection = await raw.execution_options(grayscale_write=write)
                async with connection.begin():
                    tx = Tx(connection)
                    if write and self._path is None:
                        lock = select(schema.meta).where(schema.meta.c.key == "writer")
                        await tx.one(lock.with_for_update())
                    await self._check_store_id(tx)
                    yield tx
                    self.check_identity()
            if tx.head is not None:
                await asyncio.to_thread(log_heads.note, self._data_dir, tx.head)
        except self._foreign as error:
            self.check_identity()
            raise StoreUnavailable(f"the control store did not answer: {_short(error)}") from error

    def check_identity(self) -> None:
        """Raises StoreLost if SQLite's file is gone or is another one."""
        if self._path is not None and _identity(self._path) != self._identity:
            raise StoreLost(
                f"the control store {self._path} is gone or was replaced; stop the relay and put "
                "the file back (or start with an empty data directory)"
            )

    async def close(self) -> None:
        """Give back every connection."""
        if self._engine is not None:
            await self._engine.dispose()
            self._engine = None

    async def _check_store_id(self, tx: Tx) -> None:
        """Raises StoreLost if another store is in the place of the one that was opened."""
        row = await tx.one(select(schema.meta.c.text).where(schema.meta.c.key == "store_id"))
        found = str(row["text"]) if row else None
        if self._store_id is None:
            self._store_id = found
        elif found != self._store_id:
            raise self._lost(found)

    async def _opened(self) -> AsyncEngine:
        async with self._opening:
            if self._engine is None:
                self._store_id = _known_id(self._marker)
                if self._path is not None:
                    _create_once(self._path, self._marker)
                engine = _engine(self._path, self._url)
                if self._url is not None:
                    self._foreign = (*_FOREIGN, *_errors_of(engine))
                try:
                    await self._set_up(engine)
                except self._foreign as error:
                    await engine.dispose()
                    where = self._path or "at store_url"
                    raise StoreUnavailable(
                        f"the control store {where} cannot be opened: {_short(error)}"
                    ) from error
                except StoreLost:
                    await engine.dispose()
                    raise
                self._engine, self._identity = engine, _identity(self._path)
            return self._engine

    async def _set_up(self, engine: AsyncEngine) -> None:
        if self._store_id is not None:
            await self._check_known(engine)
        await _on_sqlite(self._path, engine, "PRAGMA journal_mode=WAL")
        async with engine.connect() as raw_connection:
            connection = await raw_connection.execution_options(grayscale_write=True)
            async with connection.begin():
                await connection.run_sync(upgrade)
                tx = Tx(connection)
                await _first_rows(tx)
                await self._check_store_id(tx)
        if self._store_id != _known_id(self._marker):
            await _on_sqlite(self._path, engine, "PRAGMA wal_checkpoint(TRUNCATE)")
            self._marker.write_text(f"{self._store_id}\n", encoding="utf-8")

    async def _check_known(self, engine: AsyncEngine) -> None:
        """Before anything is written: raises StoreLost for another store than the known one."""
        if self._path is not None:
            found = await asyncio.to_thread(_id_in_file, self._path)
        else:
            found = await _id_at_server(engine)
        if found != self._store_id:
            raise self._lost(found)

    def _lost(self, found: str | None) -> StoreLost:
        return StoreLost(
            f"the control store {self._path or 'at store_url'} is not the one of {self._marker} "
            f"({found or 'without an id'}, not {self._store_id}); put that one back, or start with "
            "an empty data directory"
        )


def _engine(path: Path | None, url: str | None) -> AsyncEngine:
    if path is None:
        limits = {"lock_timeout": _BUSY_SECONDS, "idle_in_transaction_session_timeout": 10.0}
        return create_async_engine(
            str(url),
            pool_size=4,
            pool_timeout=_BUSY_SECONDS,
            pool_pre_ping=True,
            json_serializer=json_text,
            json_deserializer=from_json,
            connect_args={
                "timeout": _BUSY_SECONDS,
                "command_timeout": _HUNG_SECONDS,
                "server_settings": {k: str(int(v * 1000)) for k, v in limits.items()},
            },
        )
    engine = create_async_engine(
        f"sqlite+aiosqlite:///file:{path.resolve()}?mode=rw&uri=true",
        json_serializer=json_text,
        json_deserializer=from_json,
        connect_args={"timeout": _BUSY_SECONDS},
        pool_size=4,
        pool_timeout=_BUSY_SECONDS,
    )

    @event.listens_for(engine.sync_engine, "connect")
    def _on_connect(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # we begin transactions ourselves, below
        cursor = connection.cursor()
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def _on_begin(connection: Any) -> None:
        write = connection.get_execution_options().get("grayscale_write", True)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


def _errors_of(engine: AsyncEngine) -> tuple[type[Exception], ...]:
    """A driver's own errors, which SQLAlchemy does not translate while it connects."""
    driver = import_module(engine.dialect.driver)
    return driver.PostgresError, driver.InterfaceError


async def _on_sqlite(path: Path | None, engine: AsyncEngine, pragma: str) -> None:
    """A pragma that must be outside of any transaction."""
    if path is None:
        return
    async with engine.connect() as connection:
        raw = await connection.get_raw_connection()
        await cast("Any", raw.driver_connection).execute(pragma)


def _id_in_file(path: Path) -> str | None:
    """The id in SQLite's file itself, without the log beside it, which may be another file's."""
    with closing(sqlite3.connect(f"file:{path.resolve()}?immutable=1", uri=True)) as connection:
        try:
            row = connection.execute("SELECT text FROM meta WHERE key = 'store_id'").fetchone()
        except sqlite3.OperationalError:
            return None
    return str(row[0]) if row else None


async def _id_at_server(engine: AsyncEngine) -> str | None:
    async with engine.connect() as connection:
        if not await connection.run_sync(lambda sync: inspect(sync).has_table("meta")):
            return None
        row = await Tx(connection).one(
            select(schema.meta.c.text).where(schema.meta.c.key == "store_id")
        )
    return str(row["text"]) if row else None


def _known_id(marker: Path) -> str | None:
    """The id of the store that belongs to this data directory; None before there is one."""
    try:
        text = marker.read_text(encoding="utf-8").strip()
    except OSError:
        return None
    return text if text.startswith(_ID_PREFIX) else None


def _create_once(path: Path, marker: Path) -> None:
    if path.exists():
        return
    if marker.exists():
        raise StoreLost(
            f"{path} is missing, but {marker} says that there was a store here; put the file "
            "back, or start with an empty data directory"
        )
    try:
        path.touch(mode=0o600, exist_ok=False)
    except OSError as error:
        raise StoreUnavailable(f"{path} cannot be created: {error.strerror}") from error


async def _first_rows(tx: Tx) -> None:
    if await tx.one(select(schema.meta).where(schema.meta.c.key == "store_id")):
        return
    await tx.run(
        schema.meta.insert().values(
            [
                {"key": "store_id", "text": f"{_ID_PREFIX}{secrets.token_hex(8)}", "number": 0},
                {"key": "writer", "text": "", "number": 0},
                {"key": "state_seq", "text": "", "number": 0},
            ]
        )
    )
    await tx.run(schema.leader.insert().values(id=1, holder=None, fence=0, beat=0))


def _identity(path: Path | None) -> tuple[int, int] | None:
    if path is None:
        return None
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino


def _short(error: Exception) -> str:
    lines = str(getattr(error, "orig", None) or error).splitlines()
    said = lines[0][:200] if lines else type(error).__name__
    found = (help_ for symptom, help_ in _HELP.items() if symptom in said)
    return "; ".join((said, *found))
