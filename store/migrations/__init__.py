"""Alembic migrations of the ledger; run by `store.upgrade`, never by hand."""
