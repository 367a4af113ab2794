"""Datapacks, and what programs may do in the name of users."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa
from alembic import op

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from alembic.operations import BatchOperations

revision = "0002"
down_revision = "0001"

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the change."""
    _make_datapacks()
    _make_clients()
    _make_grants()
    _make_codes()
    with _tokens() as tokens:
        tokens.add_column(sa.Column("grant", _ID))
        tokens.create_foreign_key("fk_tokens_grant", "oauth_grants", ["grant"], ["id"])
        tokens.create_index("ix_tokens_grant", ["grant"])


def _make_datapacks() -> None:
    op.create_table(
        "datapacks",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("owner", _ID, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("structure", sa.Text, nullable=False),
        sa.Column("etag", sa.Text, nullable=False),
        sa.Column("created_on", sa.Text, nullable=False),
        sa.Column("updated_on", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_datapacks"),
        sa.ForeignKeyConstraint(["owner"], ["users.id"], name="fk_datapacks_owner"),
        sa.UniqueConstraint("owner", "name", name="uq_datapacks_owner_name"),
    )
    op.create_table(
        "datapack_contents",
        sa.Column("datapack", sa.Text, nullable=False),
        sa.Column("sha1", sa.Text, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("etag", sa.Text, nullable=False),
        sa.Column("filename", sa.Text, nullable=False),
        sa.Column("created_on", sa.Text, nullable=False),
        sa.Column("unlinked", sa.BigInteger),
        sa.PrimaryKeyConstraint("datapack", "sha1", name="pk_datapack_contents"),
        sa.ForeignKeyConstraint(["datapack"], ["datapacks.id"], name="fk_datapack_contents_datapack"),
    )
    op.create_index("ix_datapack_contents_sha256", "datapack_contents", ["sha256"])
    op.create_index("ix_datapack_contents_unlinked", "datapack_contents", ["unlinked"])


def _make_clients() -> None:
    op.create_table(
        "oauth_clients",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("secret", sa.Text),
        sa.Column("redirect_uris", sa.Text, nullable=False),
        sa.Column("created_on", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_oauth_clients"),
    )


def _make_grants() -> None:
    op.create_table(
        "oauth_grants",
        sa.Column("id", _ID, nullable=False),
        sa.Column("user", _ID, nullable=False),
        sa.Column("client", sa.Text, nullable=False),
        sa.Column("scope", sa.Text, nullable=False),
        sa.Column("family", sa.Text, nullable=False),
        sa.Column("refresh", sa.Text, nullable=False),
        sa.Column("previous", sa.Text),
        sa.Column("rotated", sa.BigInteger),
        sa.Column("expires", sa.BigInteger, nullable=False),
        sa.Column("created_on", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_oauth_grants"),
        sa.ForeignKeyConstraint(["user"], ["users.id"], name="fk_oauth_grants_user"),
        sa.ForeignKeyConstraint(["client"], ["oauth_clients.id"], name="fk_oauth_grants_client"),
        sa.UniqueConstraint("family", name="uq_oauth_grants_family"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_oauth_grants_client", "oauth_grants", ["client"])


def _make_codes() -> None:
    op.create_table(
        "oauth_codes",
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("user", _ID, nullable=False),
        sa.Column("client", sa.Text, nullable=False),
        sa.Column("redirect_uri", sa.Text, nullable=False),
        sa.Column("scope", sa.Text, nullable=False),
        sa.Column("challenge", sa.Text),
        sa.Column("expires", sa.BigInteger, nullable=False),
        sa.Column("grant", _ID),
        sa.PrimaryKeyConstraint("sha256", name="pk_oauth_codes"),
        sa.ForeignKeyConstraint(["user"], ["users.id"], name="fk_oauth_codes_user"),
        sa.ForeignKeyConstraint(["client"], ["oauth_clients.id"], name="fk_oauth_codes_client"),
        sa.ForeignKeyConstraint(["grant"], ["oauth_grants.id"], name="fk_oauth_codes_grant"),
    )
    for column in ("client", "expires", "grant"):
        op.create_index(f"ix_oauth_codes_{column}", "oauth_codes", [column])


def downgrade() -> None:
    """Take the change back."""
    op.execute(sa.text('DELETE FROM tokens WHERE "grant" IS NOT NULL'))
    with _tokens() as tokens:
        tokens.drop_index("ix_tokens_grant")
        tokens.drop_constraint("fk_tokens_grant", type_="foreignkey")
        tokens.drop_column("grant")
    for table in ("oauth_codes", "oauth_grants", "oauth_clients", "datapack_contents", "datapacks"):
        op.drop_table(table)


def _tokens() -> AbstractContextManager[BatchOperations]:
    # SQLite cannot add a foreign key to a table; the table is made anew, with what it has.
    return op.batch_alter_table("tokens", table_kwargs={"sqlite_autoincrement": True})
