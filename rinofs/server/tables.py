"""The tables of the database, as `rinofs.server.migrations` makes them."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    text,
)

__all__ = ["BLOB_REFERENCES", "answers", "metadata", "objects", "tokens", "users"]

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite numbers only what is called INTEGER by itself.
_ID = BigInteger().with_variant(Integer(), "sqlite")

users = Table(
    "users",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("username", Text, nullable=False, unique=True),
    Column("email", Text, nullable=False),
    Column("project", Text, nullable=False),
    Column("password", Text),
    Column("created_on", Text, nullable=False),
    sqlite_autoincrement=True,
)
"""Who may sign in. ``password`` is an argon2 hash, or null where none opens the account."""

tokens = Table(
    "tokens",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("sha256", Text, nullable=False, unique=True),
    Column("user", _ID, ForeignKey("users.id"), nullable=False, index=True),
    Column("kind", Text, nullable=False),
    Column("scope", Text),
    Column("client", Text),
    Column("expires", BigInteger),
    Column("created_on", Text, nullable=False),
    sqlite_autoincrement=True,
)
"""What users sign in with: digests of tokens, with the second since 1970 from which each is void."""

objects = Table(
    "objects",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("owner", _ID, ForeignKey("users.id"), nullable=False),
    Column("parent", _ID, ForeignKey("objects.id")),
    Column("name", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("size", BigInteger),
    Column("etag", Text),
    Column("sha256", Text, index=True),
    Column("metadata", Text, nullable=False),
    Column("metadata_size", Integer, nullable=False),
    Column("tags", Text, nullable=False),
    Column("versions", Text, nullable=False),
    Column("version_of", _ID, ForeignKey("objects.id"), index=True),
    Column("created_on", Text, nullable=False),
    Column("updated_on", Text, nullable=False),
    Index("ix_objects_children", "parent", "owner", "version_of", "id"),
    # Two, since nulls are all different from each other: one below folders, one at the top level.
    Index(
        "uq_objects_in_folder",
        "owner",
        "parent",
        "name",
        unique=True,
        sqlite_where=text("version_of IS NULL"),
        postgresql_where=text("version_of IS NULL"),
    ),
    Index(
        "uq_objects_at_top",
        "owner",
        "name",
        unique=True,
        sqlite_where=text("version_of IS NULL AND parent IS NULL"),
        postgresql_where=text("version_of IS NULL AND parent IS NULL"),
    ),
    # Ids tell the newer of two versions, so none may be given twice.
    sqlite_autoincrement=True,
)
"""Files, folders and data-less objects.

``version_of`` names the current object in place of which an earlier one was; null: it is current itself.
``metadata``, ``tags`` and ``versions`` are JSON, ready to be put into answers, and ``metadata_size`` is the
length of the first, so that long lists can be cut into pieces of bounded size. Times are ISO 8601 in UTC, all
of one length, so that their order is that of time.
"""

answers = Table(
    "answers",
    metadata,
    Column("owner", _ID, ForeignKey("users.id"), primary_key=True),
    Column("key", Text, primary_key=True),
    Column("request", Text, nullable=False),
    Column("status", Integer, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("created", BigInteger, nullable=False, index=True),
)
"""Answers to requests that carried an idempotency key, with the second since 1970 of each."""

BLOB_REFERENCES = (objects.c.sha256,)
"""Every column that refers to a stored content. What none of them names is collected."""
