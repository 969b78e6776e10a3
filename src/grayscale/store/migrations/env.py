"""Alembic's entry: migrations run on the connection that the relay hands over."""

from alembic import context

from grayscale.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=False,
)
context.run_migrations()
