"""Users, their tokens, and objects."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the change."""
    _make_users()
    _make_tokens()
    _make_objects()
    _make_answers()


def _make_users() -> None:
    op.create_table(
        "users",
        sa.Column("id", _ID, nullable=False),
        sa.Column("username", sa.Text, nullable=False),
        sa.Column("email", sa.Text, nullable=False),
        sa.Column("project", sa.Text, nullable=False),
        sa.Column("password", sa.Text),
        sa.Column("created_on", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
        sa.UniqueConstraint("username", name="uq_users_username"),
        sqlite_autoincrement=True,
    )


def _make_tokens() -> None:
    op.create_table(
        "tokens",
        sa.Column("id", _ID, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("user", _ID, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("scope", sa.Text),
        sa.Column("client", sa.Text),
        sa.Column("expires", sa.BigInteger),
        sa.Column("created_on", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_tokens"),
        sa.UniqueConstraint("sha256", name="uq_tokens_sha256"),
        sa.ForeignKeyConstraint(["user"], ["users.id"], name="fk_tokens_user"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_tokens_user", "tokens", ["user"])


def _make_objects() -> None:
    op.create_table(
        "objects",
        sa.Column("id", _ID, nullable=False),
        sa.Column("owner", _ID, nullable=False),
        sa.Column("parent", _ID),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("size", sa.BigInteger),
        sa.Column("etag", sa.Text),
        sa.Column("sha256", sa.Text),
        sa.Column("metadata", sa.Text, nullable=False),
        sa.Column("metadata_size", sa.Integer, nullable=False),
        sa.Column("tags", sa.Text, nullable=False),
        sa.Column("versions", sa.Text, nullable=False),
        sa.Column("version_of", _ID),
        sa.Column("created_on", sa.Text, nullable=False),
        sa.Column("updated_on", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_objects"),
        sa.ForeignKeyConstraint(["owner"], ["users.id"], name="fk_objects_owner"),
        sa.ForeignKeyConstraint(["parent"], ["objects.id"], name="fk_objects_parent"),
        sa.ForeignKeyConstraint(["version_of"], ["objects.id"], name="fk_objects_version_of"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_objects_children", "objects", ["parent", "owner", "version_of", "id"])
    op.create_index("ix_objects_version_of", "objects", ["version_of"])
    op.create_index("ix_objects_sha256", "objects", ["sha256"])
    _make_unique("uq_objects_in_folder", ["owner", "parent", "name"], "version_of IS NULL")
    _make_unique("uq_objects_at_top", ["owner", "name"], "version_of IS NULL AND parent IS NULL")


def _make_unique(name: str, columns: list[str], where: str) -> None:
    condition = sa.text(where)
    op.create_index(name, "objects", columns, unique=True, sqlite_where=condition, postgresql_where=condition)


def _make_answers() -> None:
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


def downgrade() -> None:
    """Take the change back."""
    for table in ("answers", "objects", "tokens", "users"):
        op.drop_table(table)
