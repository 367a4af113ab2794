"""What came of requests that may be repeated, as data in place of rendered answers."""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the change; answers of the last day stay, each as an outcome that is sent as it is."""
    table = op.create_table(
        "outcomes",
        sa.Column("owner", _ID, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("request", sa.Text, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("owner", "key", name="pk_outcomes"),
        sa.ForeignKeyConstraint(["owner"], ["users.id"], name="fk_outcomes_owner"),
    )
    op.create_index("ix_outcomes_created", "outcomes", ["created"])
    assert table is not None
    kept = sa.text("SELECT owner, key, request, status, body, created FROM answers")
    connection = op.get_bind()
    for owner, key, request, status, body, created in connection.execute(kept):
        outcome = json.dumps({"status": status, "body": bytes(body).decode()})
        row = {"owner": owner, "key": key, "request": request, "outcome": outcome, "created": created}
        connection.execute(table.insert(), row)
    op.drop_index("ix_answers_created", "answers")
    op.drop_table("answers")


def downgrade() -> None:
    """Take the change back; requests of the last day are not known any more."""
    op.drop_index("ix_outcomes_created", "outcomes")
    op.drop_table("outcomes")
    op.create_table(
        "answers",
        sa.Column("owner", _ID, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("request", sa.Text, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("owner", "key", name="pk_answers"),
        sa.ForeignKeyConstraint(["owner"], ["users.id"], name="fk_answers_owner"),
    )
    op.create_index("ix_answers_created", "answers", ["created"])
