"""The tables of a store are brought up to date once, by Alembic, and then left alone."""

from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, event, inspect

from grayscale.store import migrate, schema


def test_the_newest_migration_is_the_one_that_alembic_ends_at() -> None:
    """Migrations are named by their revisions, in order: no store is taken for up to date early."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrate.__file__).parent / "migrations"))
    assert ScriptDirectory.from_config(config).get_heads() == [migrate.newest()]


def test_a_store_that_is_up_to_date_is_not_written_to() -> None:
    """A worker that starts only looks; an empty store has every table afterwards."""
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        migrate.upgrade(connection)
        assert set(schema.metadata.tables) <= set(inspect(connection).get_table_names())
        statements: list[str] = []

        @event.listens_for(connection, "before_cursor_execute")
        def _note(_c: object, _cursor: object, statement: str, *_rest: object) -> None:
            statements.append(statement)

        migrate.upgrade(connection)
    engine.dispose()
    assert {statement.split()[0] for statement in statements} == {"PRAGMA", "SELECT"}
