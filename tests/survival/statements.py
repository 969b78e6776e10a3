"""The product's own statements on SQLite, without what SQLAlchemy's engine does around each.

SQLAlchemy compiles a statement once, and once more for each other shape of it; then values go in
and rows come out as its types say. Its pools, events and cursors, which nothing here looks at,
cost more than SQLite itself.
"""

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from pydantic_core import from_json
from sqlalchemy import BindParameter, ClauseElement
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.types import TypeEngine

from grayscale.store.database import json_text

_DIALECT = sqlite.dialect(
    paramstyle="qmark", json_serializer=json_text, json_deserializer=from_json
)
_Convert = Callable[[Any], Any]


class Rows:
    """What `grayscale.store.database.Tx` asks of an answer."""

    def __init__(self, found: list[dict[str, Any]], rowcount: int, new_seq: int | None) -> None:
        self._found = found
        self.rowcount = rowcount
        self.inserted_primary_key = (new_seq,)

    def mappings(self) -> "Rows":
        """The rows by name, as they are."""
        return self

    def first(self) -> dict[str, Any] | None:
        """The first one, or None."""
        return self._found[0] if self._found else None

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Each one."""
        return iter(self._found)


class Prepared:
    """A statement of one shape: the same SQL with other values."""

    def __init__(self, statement: Any, key: Any, given: Sequence[str]) -> None:
        compiled = statement.compile(dialect=_DIALECT, cache_key=key, column_keys=given or None)
        self._sql = str(compiled)
        order: list[str] = compiled.positiontup
        prefetched = getattr(compiled, "insert_prefetch", ())
        fixed = {column.key: _default(column) for column in prefetched}
        self._values: list[Any] = [fixed.get(name) for name in order]
        self._places: list[tuple[int, int, _Convert | None]] = []
        self._given: list[tuple[int, str, _Convert | None]] = []
        self._lists: list[tuple[int, str]] = []
        places = {} if key is None else {b.key: n for n, b in enumerate(compiled.cache_key[1])}
        names = {name: bind for bind, name in compiled.bind_names.items()}
        for at, name in enumerate(order):
            if name in names and name not in fixed:
                self._bind(at, names[name], given, places)
                if names[name].expanding:
                    self._lists.append((at, f"(__[POSTCOMPILE_{name}])"))
        self._spelled: dict[tuple[int, ...], str] = {}
        columns = compiled._result_columns  # a write's are those that it returns
        self._names = [column.keyname for column in columns]
        found = {
            column.keyname: _impl(column.type).result_processor(_DIALECT, None)
            for column in columns
        }
        self._read = [(name, convert) for name, convert in found.items() if convert is not None]

    def _bind(self, at: int, bind: Any, given: Sequence[str], places: Mapping[str, int]) -> None:
        """Where the value of one place comes from."""
        convert = _impl(bind.type).bind_processor(_DIALECT)
        if bind.key in given:
            self._given.append((at, bind.key, convert))
        elif bind.required:
            missing = f"A value is required for bind parameter {bind.key!r}"
            raise InvalidRequestError(missing, code="cd3x")
        elif bind.key in places:
            self._places.append((at, places[bind.key], convert))
        else:
            self._values[at] = _converted(bind.effective_value, convert)

    def run(
        self,
        connection: sqlite3.Connection,
        values: Sequence[BindParameter[Any]],
        given: Mapping[str, Any],
    ) -> Rows:
        """Carry it out with its own values, and with those that it left open."""
        bound = self._values.copy()
        for at, name, convert in self._given:
            bound[at] = given[name] if convert is None else convert(given[name])
        for at, place, convert in self._places:
            value = values[place].effective_value
            bound[at] = value if convert is None else convert(value)
        sql = self._spelled_out(bound) if self._lists else self._sql
        cursor = connection.execute(sql, bound)
        rows = [self._named(row) for row in cursor.fetchall()] if self._names else []
        return Rows(rows, cursor.rowcount, cursor.lastrowid)

    def _spelled_out(self, bound: list[Any]) -> str:
        """`IN` with as many places as there are values, which take the place of their list."""
        lengths = tuple(len(bound[at]) for at, _ in self._lists)
        for at, _ in reversed(self._lists):
            bound[at : at + 1] = bound[at]
        if lengths not in self._spelled:
            sql = self._sql
            for (_, mark), length in zip(self._lists, lengths, strict=True):
                listed = ", ".join("?" * length) or "SELECT 1 WHERE 1 = 0"
                sql = sql.replace(mark, f"({listed})", 1)
            self._spelled[lengths] = sql
        return self._spelled[lengths]

    def _named(self, row: Sequence[Any]) -> dict[str, Any]:
        named = dict(zip(self._names, row, strict=True))
        for name, convert in self._read:
            named[name] = convert(named[name])
        return named


_SHAPES: dict[Any, Prepared] = {}
_KNOWN: WeakKeyDictionary[ClauseElement, dict[Any, tuple[Prepared, Any]]] = WeakKeyDictionary()
"""What was found for statements that are carried out again: most are made only once."""


def run(connection: sqlite3.Connection, statement: ClauseElement, given: Mapping[str, Any]) -> Rows:
    """Carry out a statement."""
    names = tuple(given)
    known = _KNOWN.get(statement)
    if known is None or names not in known:
        known = _KNOWN.setdefault(statement, {})
        known[names] = _prepared(statement, names)
    prepared, values = known[names]
    return prepared.run(connection, values, given)


def _prepared(statement: ClauseElement, given: tuple[str, ...]) -> tuple[Prepared, Any]:
    key = statement._generate_cache_key()
    if key is None:
        return Prepared(statement, None, given), ()
    shape = (key.key, given)
    if shape not in _SHAPES:
        _SHAPES[shape] = Prepared(statement, key, given)
    return _SHAPES[shape], key.bindparams


def _default(column: Any) -> Any:
    """What an insert that leaves the column out puts there."""
    made = column.default.arg(None) if column.default.is_callable else column.default.arg
    return _converted(made, _impl(column.type).bind_processor(_DIALECT))


def _impl(kind: TypeEngine[Any]) -> TypeEngine[Any]:
    return kind.dialect_impl(_DIALECT)


def _converted(value: Any, convert: _Convert | None) -> Any:
    return value if convert is None else convert(value)
