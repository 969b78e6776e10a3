"""The tables of the control store (SQLite and PostgreSQL alike).

Documents that only one module reads are JSON text; what is searched, ordered or locked is a
column. Every change of this file needs a migration in store/migrations/versions.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

metadata = MetaData()
_SEQ = BigInteger().with_variant(Integer, "sqlite")

meta = Table(
    "meta",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("text", Text, nullable=False, default=""),
    Column("number", BigInteger, nullable=False, default=0),
)

versions = Table(
    "versions",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("base_version", String(64)),
    Column("config", JSON, nullable=False),
    Column("config_hash", String(64), nullable=False),
    Column("brake_slot", Integer, nullable=False, unique=True),
    Column("withdrawn", Boolean, nullable=False, default=False),
    Column("quarantined", Boolean, nullable=False, default=False),
    Column("promoted_at", String(32)),
    Column("created_at", String(32), nullable=False),
    Column("created_by", String(128), nullable=False),
)

configs = Table(
    "configs",
    metadata,
    Column("seq", _SEQ, primary_key=True, autoincrement=True),
    Column("config_id", String(40), nullable=False, unique=True),
    Column("previous_config_id", String(40)),
    Column("state_seq", BigInteger, nullable=False),
    Column("weights", JSON, nullable=False),
    Column("aliases", JSON, nullable=False),
    Column("release_id", String(40)),
    Column("step", Integer),
    Column("salt", String(64), nullable=False),
    Column("affected", JSON),
    Column("sticky_by", String(16), nullable=False, default="auto"),
    Column("failover_percent", Integer, nullable=False, default=20),
    Column("created_at", String(32), nullable=False),
    Column("actor", JSON, nullable=False),
    Column("reason", Text, nullable=False),
)

releases = Table(
    "releases",
    metadata,
    Column("seq", _SEQ, primary_key=True, autoincrement=True),
    Column("id", String(40), nullable=False, unique=True),
    Column("version", String(64), nullable=False, index=True),
    Column("state", String(24), nullable=False, index=True),
    Column("revision", Integer, nullable=False),
    Column("document", JSON, nullable=False),
)

conductors = Table(
    "conductors",
    metadata,
    Column("release_id", String(40), primary_key=True),
    Column("flow_run_id", String(64)),
    Column("fence", Integer, nullable=False, default=0),
    Column("lease_left_seconds", Integer, nullable=False, default=0),
    Column("silent_seconds", Integer, nullable=False, default=0),
    Column("wake_seq", Integer, nullable=False, default=1),
    Column("wake_run_id", String(64)),
    Column("report_due", Boolean, nullable=False, default=False),
)

judging = Table(
    "judging",
    metadata,
    Column("release_id", String(40), primary_key=True),
    Column("cursor", BigInteger, nullable=False),
    Column("interval_id", Integer, nullable=False, default=0),
    Column("state", JSON),
)

intervals = Table(
    "intervals",
    metadata,
    Column("release_id", String(40), primary_key=True),
    Column("interval_id", Integer, primary_key=True),
    Column("data", JSON, nullable=False),
)

events = Table(
    "events",
    metadata,
    Column("seq", _SEQ, primary_key=True, autoincrement=True),
    Column("id", String(40), nullable=False, unique=True),
    Column("type", String(40), nullable=False),
    Column("timestamp", String(32), nullable=False),
    Column("release_id", String(40), index=True),
    Column("envelope", Text, nullable=False),
    Column("previous_hash", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
)

outbox = Table(
    "outbox",
    metadata,
    Column("seq", _SEQ, primary_key=True, autoincrement=True),
    Column("event_id", String(40), nullable=False),
    Column("release_id", String(40)),
    Column("channel", String(16), nullable=False),
    Column("hint", String(128)),
    Column("state", String(12), nullable=False, default="pending"),
    Column("attempts", Integer, nullable=False, default=0),
    Column("first_due_at", String(32), nullable=False),
    Column("next_at", String(32), nullable=False),
    Column("last_error", Text),
    Index("outbox_due", "state", "next_at"),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("key", String(255), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("status", Integer, nullable=False),
    Column("answer", JSON, nullable=False),
    Column("created_at", String(32), nullable=False),
)

keys = Table(
    "keys",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("name", String(128), nullable=False),
    Column("sha256", String(64), nullable=False, unique=True),
    Column("prefix", String(16), nullable=False),
    Column("last4", String(4), nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("models", JSON),
    Column("requests_per_minute", Integer),
    Column("tokens_per_minute", Integer),
    Column("expires_at", String(32)),
    Column("revoked_at", String(32)),
    Column("created_at", String(32), nullable=False),
    Column("created_by", String(128), nullable=False),
)

workers = Table(
    "workers",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("pid", Integer, nullable=False),
    Column("flushes", BigInteger, nullable=False, default=0),
    Column("applied_seq", BigInteger, nullable=False, default=0),
    Column("in_flight", JSON, nullable=False, default=dict),
)

counters = Table(
    "counters",
    metadata,
    Column("seq", _SEQ, primary_key=True, autoincrement=True),
    Column("at", String(32), nullable=False, index=True),
    Column("span_seconds", Integer, nullable=False, default=1),
    Column("worker_id", String(64), nullable=False),
    Column("cells", JSON, nullable=False),
    sqlite_autoincrement=True,
)

leader = Table(
    "leader",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("holder", String(64)),
    Column("fence", Integer, nullable=False, default=0),
    Column("beat", BigInteger, nullable=False, default=0),
)

rollbacks = Table(
    "rollbacks",
    metadata,
    Column("seq", _SEQ, primary_key=True, autoincrement=True),
    Column("rollback_id", String(40), nullable=False, unique=True),
    Column("state", String(12), nullable=False),
    Column("document", JSON, nullable=False),
)
