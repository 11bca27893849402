"""Alembic's entry: the connection comes from the caller, so that no address is kept in a file."""

from alembic import context

from modelyard.adapters.db.tables import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
