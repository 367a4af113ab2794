"""Processes that share a database, and until when each is taken to live."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Make the change."""
    op.create_table(
        "workers",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("host", sa.Text),
        sa.Column("expires", sa.BigInteger, nullable=False),
        sa.Column("fenced", sa.BigInteger),
        sa.Column("unlisted", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.PrimaryKeyConstraint("name", name="pk_workers"),
    )


def downgrade() -> None:
    """Take the change back."""
    op.drop_table("workers")
