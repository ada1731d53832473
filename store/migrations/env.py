"""Alembic's entry: runs inside the transaction that `store.upgrade` has begun, so that an upgrade is whole or absent."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], transactional_ddl=True)
context.run_migrations()
