"""A cycle knows when it ended: progress of a test is counted in days."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the column; it is empty for cycles that were recorded before."""
    op.add_column("cycling", sa.Column("ended_at", sa.Text))
    op.create_index("ix_result_observable", "result", ["observable"])
