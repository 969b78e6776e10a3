"""The simulator's stand-in for SQLAlchemy's engine answers as the engine itself."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import Text, bindparam, delete, func, insert, select, update
from sqlalchemy import cast as cast_to
from sqlalchemy.ext.asyncio import AsyncConnection

from grayscale.errors import StoreUnavailable
from grayscale.store import schema
from grayscale.store.database import Database, Tx
from tests.survival.outside import survival
from tests.survival.store import Door, at_once, empty_store

_Deed = Callable[[Tx], Awaitable[Any]]
_meta, _versions, _judging = schema.meta.c, schema.versions.c, schema.judging.c
VERSION = {
    "name": "v1",
    "base_version": None,
    "config": {"models": {"gpt": None}, "note": 'é "\u2028" \\', "shares": [0.1, 1e300, -0.0, 7]},
    "config_hash": "h",
    "brake_slot": 8,
    "created_at": "2026-01-01T00:00:00Z",
    "created_by": "ann",
}
CELLS = {"at": "now", "worker_id": "w", "cells": [float("inf"), 2**70, True, None, ""]}


@pytest.mark.parametrize("seed", ["9", "17"])
def test_a_seeds_statements_are_answered_alike(seed: str) -> None:
    """Every statement of a release through bad luck has the same rows and types in both."""
    done = survival("--seed", seed, "--engine")
    assert done.returncode == 0, done.stdout + done.stderr
    assert " statements, 0 differ" in done.stdout


async def _rows(tx: Tx) -> Any:
    await tx.run(insert(schema.versions).values(**VERSION))
    await tx.run(insert(schema.versions), **{**VERSION, "name": "v2", "brake_slot": 9})
    found = await tx.all(select(schema.versions).order_by(_versions.name.desc()).limit(5))
    texts = await tx.all(select(cast_to(_versions.config, Text).label("text")))
    return found, texts, await tx.one(select(_versions.name).where(_versions.name == "none"))


async def _booleans(tx: Tx) -> Any:
    await tx.run(insert(schema.versions), **VERSION, withdrawn=True)
    barred = await tx.all(select(_versions.quarantined).where(_versions.withdrawn.is_(True)))
    barred += await tx.all(
        select(_versions.name).where(_versions.withdrawn == bindparam("so")), so=0
    )
    return barred, await tx.one(select(_versions.withdrawn))


async def _nothing(tx: Tx) -> Any:
    """SQL's NULL and JSON's null are two things, in a column as in a parameter."""
    for name in ("a", "b"):
        await tx.run(insert(schema.judging), release_id=name, cursor=1, state=None)
    await tx.run(update(schema.judging).where(_judging.release_id == "b").values(state={"x": None}))
    null = await tx.all(select(_judging.release_id).where(_judging.state.is_(None)))
    return null, await tx.all(select(schema.judging).order_by(_judging.release_id))


async def _lists(tx: Tx) -> Any:
    names = select(_meta.key).where(_meta.key.in_(bindparam("keys", expanding=True)))
    both = names.where(_meta.key.not_in(bindparam("but", expanding=True))).order_by(_meta.key)
    found = [await tx.all(names, keys=keys) for keys in (["writer"], [], ["writer", "state_seq"])]
    found.append(await tx.all(both, keys=["writer", "state_seq"], but=["writer"]))
    return [*found, await tx.all(select(_meta.key).where(_meta.key.in_(["writer", "none"])))]


async def _counts(tx: Tx) -> Any:
    """How many rows a write touches, and which number a new one gets."""
    numbers = [await tx.insert(insert(schema.counters), **CELLS) for _ in range(2)]
    changed = update(schema.counters).values(span_seconds=schema.counters.c.span_seconds + 1)
    gone = delete(schema.counters).where(schema.counters.c.seq == numbers[0])
    return (
        numbers, await tx.run(changed), await tx.run(gone), await tx.run(gone),
        await tx.insert(insert(schema.counters), **CELLS),
        await tx.all(select(schema.counters)),
        await tx.one(select(func.count().label("rows"), func.max(schema.counters.c.seq))),
    )  # fmt: skip


async def _returned(tx: Tx) -> Any:
    raised = update(schema.meta).where(_meta.key == "state_seq").values(number=_meta.number + 1)
    added = insert(schema.versions).returning(_versions.config, _versions.withdrawn)
    return await tx.one(raised.returning(_meta.number)), await tx.all(added, **VERSION)


async def _the_same_again(tx: Tx) -> Any:
    """One statement with other values, and one of its shape that is made anew."""
    of = select(_meta.number).where(_meta.key == bindparam("key"))
    found = [await tx.one(of, key=key) for key in ("writer", "none", "state_seq")]
    return [
        *found,
        *[await tx.one(select(_meta.text).where(_meta.key == k)) for k in ("writer", "no")],
    ]


async def _too_much(tx: Tx) -> Any:
    """A value that the statement does not ask for is nobody's."""
    await tx.run(insert(schema.meta), key="a", nowhere=1)
    return await tx.all(select(schema.meta).where(_meta.key == "a"), nothing=2)


@pytest.mark.parametrize(
    "deed", [_too_much, _rows, _booleans, _nothing, _lists, _counts, _returned, _the_same_again]
)
def test_rows_are_alike(deed: _Deed, tmp_path: Path) -> None:
    """Parameters, JSON, booleans, nothing, lists, counts and what a write returns: with types."""
    assert in_stand_in(deed) == asyncio.run(in_engine(tmp_path, deed))


async def _twice(tx: Tx) -> Any:
    for _ in range(2):
        await tx.run(insert(schema.versions), **VERSION)


async def _without_what_must_be(tx: Tx) -> Any:
    await tx.run(insert(schema.versions), **{**VERSION, "config_hash": None})


async def _without_a_value(tx: Tx) -> Any:
    await tx.one(select(_meta.text).where(_meta.key == bindparam("key")))


async def _for_no_column(tx: Tx) -> Any:
    await tx.run(insert(schema.meta).values(key="a", nowhere=1))


async def _what_json_cannot_say(tx: Tx) -> Any:
    await tx.run(insert(schema.versions), **{**VERSION, "config": object()})


@pytest.mark.parametrize(
    "deed",
    [_twice, _without_what_must_be, _without_a_value, _for_no_column, _what_json_cannot_say],
)
def test_mistakes_are_alike(deed: _Deed, tmp_path: Path) -> None:
    """A broken constraint or a wrong statement is the same error, which the store's door wraps.

    The simulator leaves it bare: there it is no bad luck, and no worker may carry on after it.
    """
    with pytest.raises(Exception, match=r".") as bare:
        in_stand_in(deed)
    with pytest.raises(StoreUnavailable) as wrapped:
        asyncio.run(in_engine(tmp_path, deed))
    cause = wrapped.value.__cause__
    engines = getattr(cause, "orig", None) or cause
    assert (type(bare.value), str(bare.value)) == (type(engines), str(engines))


def in_stand_in(deed: _Deed) -> str:
    """What comes of a deed in the simulator's store; outside of any loop, as it would block it."""
    tx = Tx(cast("AsyncConnection", Door(empty_store())))

    async def done() -> str:
        return _plain(await deed(tx))

    return at_once(done())


async def in_engine(folder: Path, deed: _Deed) -> str:
    """What comes of it in a store as people have it."""
    database = Database(folder)
    try:
        async with database.write() as tx:
            return _plain(await deed(tx))
    finally:
        await database.close()


def _plain(found: Any) -> str:
    """Values with their types; rows as what they hold."""
    if isinstance(found, list | tuple):
        return f"[{', '.join(map(_plain, found))}]"
    return repr(dict(found) if hasattr(found, "keys") else found)
