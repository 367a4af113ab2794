"""Names and last use of tokens; sessions, throttles and the audit log; refresh tokens side by side."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the change. Every token so far but the first of a user came of a sign-in with the password."""
    op.add_column("tokens", sa.Column("name", sa.Text))
    op.add_column("tokens", sa.Column("used", sa.BigInteger))
    op.add_column("tokens", sa.Column("by_password", sa.Boolean, nullable=False, server_default=sa.false()))
    tokens = sa.table("tokens", sa.column("kind", sa.Text), sa.column("by_password", sa.Boolean))
    signed_in = tokens.c.kind.in_(["api", "access"])
    op.execute(tokens.update().where(signed_in).values(by_password=sa.true()))
    _make_tables()
    _divide_refresh_tokens()


def _make_tables() -> None:
    op.create_table(
        "sessions",
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("user", _ID, nullable=False),
        sa.Column("expires", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("sha256", name="pk_sessions"),
        sa.ForeignKeyConstraint(["user"], ["users.id"], name="fk_sessions_user"),
    )
    op.create_index("ix_sessions_user", "sessions", ["user"])
    op.create_index("ix_sessions_expires", "sessions", ["expires"])
    op.create_table(
        "sent_forms",
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("expires", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("sha256", name="pk_sent_forms"),
    )
    op.create_index("ix_sent_forms_expires", "sent_forms", ["expires"])
    op.create_table(
        "throttles",
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("wrong", sa.Integer, nullable=False),
        sa.Column("seen", sa.BigInteger, nullable=False),
        sa.Column("until", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("sha256", name="pk_throttles"),
    )
    op.create_index("ix_throttles_seen", "throttles", ["seen"])
    op.create_table(
        "audit",
        sa.Column("id", _ID, nullable=False),
        sa.Column("moment", sa.BigInteger, nullable=False),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("username", sa.Text),
        sa.Column("source", sa.Text),
        sa.Column("details", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_audit_moment", "audit", ["moment"])
    op.create_index("ix_audit_event", "audit", ["event"])


def _divide_refresh_tokens() -> None:
    op.create_table(
        "oauth_refresh_tokens",
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("grant", _ID, nullable=False),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("sha256", name="pk_oauth_refresh_tokens"),
        sa.ForeignKeyConstraint(["grant"], ["oauth_grants.id"], name="fk_oauth_refresh_tokens_grant"),
    )
    op.create_index("ix_oauth_refresh_tokens_grant", "oauth_refresh_tokens", ["grant"])
    for column, generation in (("refresh", 1), ("previous", 0)):
        op.execute(
            f'INSERT INTO oauth_refresh_tokens (sha256, "grant", generation) '  # noqa: S608
            f"SELECT {column}, id, {generation} FROM oauth_grants WHERE {column} IS NOT NULL"
        )
    op.add_column("oauth_grants", sa.Column("generation", sa.Integer, nullable=False, server_default="0"))
    op.execute("UPDATE oauth_grants SET generation = 1")
    op.drop_column("oauth_grants", "refresh")
    op.drop_column("oauth_grants", "previous")


def downgrade() -> None:
    """Take the change back; grants end, and who signed in with a browser has to again."""
    for table in ("oauth_refresh_tokens", "audit", "throttles", "sent_forms", "sessions"):
        op.drop_table(table)
    op.execute('DELETE FROM tokens WHERE "grant" IS NOT NULL')
    op.execute("DELETE FROM oauth_codes")
    op.execute("DELETE FROM oauth_grants")
    op.drop_column("oauth_grants", "generation")
    op.add_column("oauth_grants", sa.Column("refresh", sa.Text, nullable=False, server_default=""))
    op.add_column("oauth_grants", sa.Column("previous", sa.Text))
    # The version before knows no tokens that only read.
    op.execute("DELETE FROM tokens WHERE scope = 'read'")
    for column in ("by_password", "used", "name"):
        op.drop_column("tokens", column)
