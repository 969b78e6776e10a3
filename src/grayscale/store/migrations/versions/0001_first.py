"""The first tables, written out: a migration never follows later changes of the schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_SEQ = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Create every table."""
    _meta()
    _versions()
    _configs()
    _releases()
    _conductors()
    _judging()
    _intervals()
    _events()
    _outbox()
    _idempotency()
    _keys()
    _workers()
    _counters()
    _leader()
    _rollbacks()


def _meta() -> None:
    op.create_table(
        "meta",
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
    )


def _versions() -> None:
    op.create_table(
        "versions",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("base_version", sa.String(64)),
        sa.Column("config", sa.JSON, nullable=False),
        sa.Column("config_hash", sa.String(64), nullable=False),
        sa.Column("brake_slot", sa.Integer, unique=True, nullable=False),
        sa.Column("withdrawn", sa.Boolean, nullable=False),
        sa.Column("quarantined", sa.Boolean, nullable=False),
        sa.Column("promoted_at", sa.String(32)),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.Column("created_by", sa.String(128), nullable=False),
    )


def _configs() -> None:
    op.create_table(
        "configs",
        sa.Column("seq", _SEQ, primary_key=True, autoincrement=True),
        sa.Column("config_id", sa.String(40), unique=True, nullable=False),
        sa.Column("previous_config_id", sa.String(40)),
        sa.Column("state_seq", sa.BigInteger, nullable=False),
        sa.Column("weights", sa.JSON, nullable=False),
        sa.Column("aliases", sa.JSON, nullable=False),
        sa.Column("release_id", sa.String(40)),
        sa.Column("step", sa.Integer),
        sa.Column("salt", sa.String(64), nullable=False),
        sa.Column("affected", sa.JSON),
        sa.Column("sticky_by", sa.String(16), nullable=False),
        sa.Column("failover_percent", sa.Integer, nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.Column("actor", sa.JSON, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
    )


def _releases() -> None:
    op.create_table(
        "releases",
        sa.Column("seq", _SEQ, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(40), unique=True, nullable=False),
        sa.Column("version", sa.String(64), nullable=False),
        sa.Column("state", sa.String(24), nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("document", sa.JSON, nullable=False),
    )
    op.create_index("ix_releases_state", "releases", ["state"])
    op.create_index("ix_releases_version", "releases", ["version"])


def _conductors() -> None:
    op.create_table(
        "conductors",
        sa.Column("release_id", sa.String(40), primary_key=True),
        sa.Column("flow_run_id", sa.String(64)),
        sa.Column("fence", sa.Integer, nullable=False),
        sa.Column("lease_left_seconds", sa.Integer, nullable=False),
        sa.Column("silent_seconds", sa.Integer, nullable=False),
        sa.Column("wake_seq", sa.Integer, nullable=False),
        sa.Column("wake_run_id", sa.String(64)),
        sa.Column("report_due", sa.Boolean, nullable=False),
    )


def _judging() -> None:
    op.create_table(
        "judging",
        sa.Column("release_id", sa.String(40), primary_key=True),
        sa.Column("cursor", sa.BigInteger, nullable=False),
        sa.Column("interval_id", sa.Integer, nullable=False),
        sa.Column("state", sa.JSON),
    )


def _intervals() -> None:
    op.create_table(
        "intervals",
        sa.Column("release_id", sa.String(40), primary_key=True),
        sa.Column("interval_id", sa.Integer, primary_key=True),
        sa.Column("data", sa.JSON, nullable=False),
    )


def _events() -> None:
    op.create_table(
        "events",
        sa.Column("seq", _SEQ, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(40), unique=True, nullable=False),
        sa.Column("type", sa.String(40), nullable=False),
        sa.Column("timestamp", sa.String(32), nullable=False),
        sa.Column("release_id", sa.String(40)),
        sa.Column("envelope", sa.Text, nullable=False),
        sa.Column("previous_hash", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
    )
    op.create_index("ix_events_release_id", "events", ["release_id"])


def _outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("seq", _SEQ, primary_key=True, autoincrement=True),
        sa.Column("event_id", sa.String(40), nullable=False),
        sa.Column("release_id", sa.String(40)),
        sa.Column("channel", sa.String(16), nullable=False),
        sa.Column("hint", sa.String(128)),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("first_due_at", sa.String(32), nullable=False),
        sa.Column("next_at", sa.String(32), nullable=False),
        sa.Column("last_error", sa.Text),
    )
    op.create_index("outbox_due", "outbox", ["state", "next_at"])


def _idempotency() -> None:
    op.create_table(
        "idempotency",
        sa.Column("key", sa.String(255), primary_key=True),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("answer", sa.JSON, nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
    )


def _keys() -> None:
    op.create_table(
        "keys",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("sha256", sa.String(64), unique=True, nullable=False),
        sa.Column("prefix", sa.String(16), nullable=False),
        sa.Column("last4", sa.String(4), nullable=False),
        sa.Column("scopes", sa.JSON, nullable=False),
        sa.Column("models", sa.JSON),
        sa.Column("requests_per_minute", sa.Integer),
        sa.Column("tokens_per_minute", sa.Integer),
        sa.Column("expires_at", sa.String(32)),
        sa.Column("revoked_at", sa.String(32)),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.Column("created_by", sa.String(128), nullable=False),
    )


def _workers() -> None:
    op.create_table(
        "workers",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("flushes", sa.BigInteger, nullable=False),
        sa.Column("applied_seq", sa.BigInteger, nullable=False),
        sa.Column("in_flight", sa.JSON, nullable=False),
    )


def _counters() -> None:
    op.create_table(
        "counters",
        sa.Column("seq", _SEQ, primary_key=True, autoincrement=True),
        sa.Column("at", sa.String(32), nullable=False),
        sa.Column("span_seconds", sa.Integer, nullable=False),
        sa.Column("worker_id", sa.String(64), nullable=False),
        sa.Column("cells", sa.JSON, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_counters_at", "counters", ["at"])


def _leader() -> None:
    op.create_table(
        "leader",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("holder", sa.String(64)),
        sa.Column("fence", sa.Integer, nullable=False),
        sa.Column("beat", sa.BigInteger, nullable=False),
    )


def _rollbacks() -> None:
    op.create_table(
        "rollbacks",
        sa.Column("seq", _SEQ, primary_key=True, autoincrement=True),
        sa.Column("rollback_id", sa.String(40), unique=True, nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("document", sa.JSON, nullable=False),
    )
