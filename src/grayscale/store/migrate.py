"""Bring a control store to this release's tables (Alembic, run by the relay at start)."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect, text

_SCRIPTS = Path(__file__).parent / "migrations"


def upgrade(connection: Connection) -> None:
    """Run every migration that this store has not seen, in the connection's transaction."""
    if _revision(connection) == newest():
        return
    from alembic import command  # noqa: PLC0415 - 0.2 s, only needed here
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def newest() -> str:
    """The last migration's revision, which its file's name begins with."""
    return max(path.name for path in (_SCRIPTS / "versions").glob("[0-9]*.py")).partition("_")[0]


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
