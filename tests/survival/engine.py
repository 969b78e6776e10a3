"""A seed's statements once more, on the store that people run: SQLAlchemy's engine over a file.

The simulator's stand-in (tests.survival.statements) must have given the same rows, of the same
types, and must have touched as many.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import ClauseElement, Insert

from grayscale.store.database import Database, Tx
from tests.survival.simulator import Simulation
from tests.survival.statements import Rows
from tests.survival.store import Door, MemoryDatabase
from tests.survival.virtual import run_virtually


class _Undone(Exception):
    """A transaction that came to nothing comes to nothing again."""


@dataclass(slots=True)
class Said:
    """One statement, its values, and what the stand-in answered."""

    statement: Any
    values: Mapping[str, Any]
    answer: str


@dataclass(slots=True)
class Transaction:
    """What was said in it."""

    write: bool
    said: list[Said] = field(default_factory=list)
    committed: bool = False


class _Ear(Door):
    """Writes down what passes."""

    transaction: Transaction

    async def execute(
        self, statement: ClauseElement, given: Mapping[str, Any] | None = None
    ) -> Rows:
        """Run a statement; its values are kept as they are now."""
        values = deepcopy(dict(given or {}))
        rows = await super().execute(statement, given)
        self.transaction.said.append(Said(statement, values, _shown(statement, rows)))
        return rows


class OverheardDatabase(MemoryDatabase):
    """The simulator's store, every transaction of which is kept."""

    def __init__(self, connection: Any) -> None:
        super().__init__(connection)
        self.began_as: bytes = connection.serialize()
        self.transactions: list[Transaction] = []
        self.door = self._ear = _Ear(connection)

    @asynccontextmanager
    async def _transaction(self, *, write: bool) -> AsyncIterator[Tx]:
        transaction = self._ear.transaction = Transaction(write)
        self.transactions.append(transaction)
        async with super()._transaction(write=write) as tx:
            yield tx
        transaction.committed = True


def differences(seed: int) -> tuple[int, list[str]]:
    """How many statements a seed says, and which of them the engine answers otherwise."""
    simulation = Simulation(seed, database=OverheardDatabase)
    store = simulation.world.store
    assert isinstance(store, OverheardDatabase)
    run_virtually(simulation.run())
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "grayscale.db").write_bytes(store.began_as)
        found = asyncio.run(_said_again(Path(folder), store.transactions))
    return sum(len(each.said) for each in store.transactions), found


async def _said_again(folder: Path, transactions: list[Transaction]) -> list[str]:
    database = Database(folder)
    found: list[str] = []
    for transaction in transactions:
        with suppress(_Undone):
            async with database.write() if transaction.write else database.read() as tx:
                for said in transaction.said:
                    found += await _compared(tx, said)
                if not transaction.committed:
                    raise _Undone
    await database.close()
    return found


async def _compared(tx: Tx, said: Said) -> list[str]:
    answer = _shown(said.statement, await tx._execute(said.statement, dict(said.values)))
    return [] if answer == said.answer else [f"{said.statement}: {answer}, not {said.answer}"]


def _shown(statement: Any, answer: Any) -> str:
    """All that `Tx` looks at, with its types: rows, how many were touched, the new row's number."""
    if statement.is_select:
        return repr([dict(row) for row in answer.mappings()])
    numbered = isinstance(statement, Insert) and "seq" in statement.table.c
    return repr((answer.rowcount, answer.inserted_primary_key[0] if numbered else None))
