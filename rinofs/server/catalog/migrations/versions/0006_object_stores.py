"""Contents in an object store: whose it is, and what is to be deleted from it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Make the change."""
    op.create_table(
        "doomed",
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("moment", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_doomed"),
    )
    op.create_index("ix_doomed_moment", "doomed", ["moment"])
    op.create_table(
        "properties",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_properties"),
    )


def downgrade() -> None:
    """Take the change back, unless contents are where the version before would not find them."""
    if op.get_bind().scalar(sa.text("SELECT count(*) FROM blobs WHERE key LIKE 'c/%'")):
        raise RuntimeError("contents are in an object store; `rinofs admin copy-blobs` brings them back")
    op.drop_table("properties")
    op.drop_table("doomed")
