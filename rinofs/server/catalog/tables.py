"""The tables of the database, as created by `rinofs.server.catalog.migrations`."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

__all__ = [
    "BLOB_REFERENCES",
    "audit",
    "blobs",
    "datapack_contents",
    "datapacks",
    "doomed",
    "metadata",
    "oauth_clients",
    "oauth_codes",
    "oauth_grants",
    "oauth_refresh_tokens",
    "objects",
    "outcomes",
    "properties",
    "sent_forms",
    "sessions",
    "throttles",
    "tokens",
    "users",
    "workers",
]

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite assigns numbers only to primary keys whose type is exactly INTEGER.
_ID = BigInteger().with_variant(Integer(), "sqlite")

# Sorted by bytes, as in SQLite, whatever the locale of the database.
_TEXT = Text().with_variant(Text(collation="C"), "postgresql")

users = Table(
    "users",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("username", _TEXT, nullable=False, unique=True),
    Column("email", _TEXT, nullable=False),
    Column("project", _TEXT, nullable=False),
    Column("password", _TEXT),
    Column("created_on", _TEXT, nullable=False),
    sqlite_autoincrement=True,
)
"""Users. ``password`` is an argon2 hash; null if no password opens the account."""

tokens = Table(
    "tokens",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("sha256", _TEXT, nullable=False, unique=True),
    Column("user", _ID, ForeignKey("users.id"), nullable=False, index=True),
    Column("kind", _TEXT, nullable=False),
    Column("scope", _TEXT),
    Column("client", _TEXT),
    Column("expires", BigInteger),
    Column("created_on", _TEXT, nullable=False),
    Column("grant", _ID, ForeignKey("oauth_grants.id"), index=True),
    Column("name", _TEXT),
    Column("used", BigInteger),
    Column("by_password", Boolean, nullable=False, server_default=false()),
    sqlite_autoincrement=True,
)
"""Digests of tokens, with the second since 1970 at which each expires.

``grant`` is the grant of a token that was issued to a program, ``used`` the second of its last use, to the
hour, and ``by_password`` whether it comes from a sign-in with the password.
"""

sessions = Table(
    "sessions",
    metadata,
    Column("sha256", _TEXT, primary_key=True),
    Column("user", _ID, ForeignKey("users.id"), nullable=False, index=True),
    Column("expires", BigInteger, nullable=False, index=True),
)
"""Browser sessions of users, by the digest of a cookie."""

sent_forms = Table(
    "sent_forms",
    metadata,
    Column("sha256", _TEXT, primary_key=True),
    Column("expires", BigInteger, nullable=False, index=True),
)
"""Submitted forms, each of which is valid once."""

throttles = Table(
    "throttles",
    metadata,
    Column("sha256", _TEXT, primary_key=True),
    Column("wrong", Integer, nullable=False),
    Column("seen", BigInteger, nullable=False, index=True),
    Column("until", BigInteger, nullable=False),
)
"""Recent wrong passwords, by a digest of the account, the address, or both.

``seen`` is the second since 1970 of the last one, and ``until`` the one before which no further password is
checked.
"""

audit = Table(
    "audit",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("moment", BigInteger, nullable=False, index=True),
    Column("event", _TEXT, nullable=False, index=True),
    Column("username", _TEXT),
    Column("source", _TEXT),
    Column("details", _TEXT, nullable=False),
    sqlite_autoincrement=True,
)
"""Events of accounts and data, with their source. ``details`` is JSON; users are named: they may go."""

blobs = Table(
    "blobs",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("blake3", _TEXT, unique=True),
    Column("sha256", _TEXT, index=True),
    Column("size", BigInteger, nullable=False),
    Column("etag", _TEXT, nullable=False),
    Column("key", _TEXT, nullable=False, unique=True),
    # Appending compares numbers of contents, so none may be reused.
    sqlite_autoincrement=True,
)
"""Referenced contents, by their key in the blob store.

``blake3`` is null for contents stored by an earlier version, until ``rinofs admin fsck`` has read them.
``sha256`` is null until computed; for large contents, that is after the response to the upload.
"""

doomed = Table(
    "doomed",
    metadata,
    Column("key", _TEXT, primary_key=True),
    Column("moment", BigInteger, nullable=False, index=True),
)
"""Keys in an object store that had a row in `blobs`, with the second since 1970 when they lost it."""

properties = Table(
    "properties",
    metadata,
    Column("name", _TEXT, primary_key=True),
    Column("value", _TEXT, nullable=False),
)
"""Single values of a database: the name of the installation, the address of its object store."""

workers = Table(
    "workers",
    metadata,
    Column("name", Text, primary_key=True),
    Column("host", Text),
    Column("expires", BigInteger, nullable=False),
    Column("fenced", BigInteger),
    Column("unlisted", Boolean, nullable=False, server_default=false()),
)
"""Processes that store contents and share the database; see `rinofs.server.catalog.sharing.leases`.

``host`` is the machine of a process that keeps contents in a folder there, ``expires`` the second since 1970
at which it counts as gone, and ``fenced`` the one since which it no longer adds contents. ``unlisted`` means
that it may have left objects that no collection has seen.
"""

objects = Table(
    "objects",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("owner", _ID, ForeignKey("users.id"), nullable=False),
    Column("parent", _ID, ForeignKey("objects.id")),
    Column("name", _TEXT, nullable=False),
    Column("type", _TEXT, nullable=False),
    Column("size", BigInteger),
    Column("etag", _TEXT),
    Column("blob", _ID, ForeignKey("blobs.id"), index=True),
    Column("metadata", _TEXT, nullable=False),
    Column("metadata_size", Integer, nullable=False),
    Column("tags", _TEXT, nullable=False),
    Column("versions", _TEXT, nullable=False),
    Column("version_of", _ID, ForeignKey("objects.id"), index=True),
    Column("created_on", _TEXT, nullable=False),
    Column("updated_on", _TEXT, nullable=False),
    Index("ix_objects_children", "parent", "owner", "version_of", "id"),
    # Two indexes, one for folders and one for the top level, since nulls are never equal.
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
    # The newer of two versions has the larger id, so none may be reused.
    sqlite_autoincrement=True,
)
"""Files, folders and data-less objects.

``version_of`` is the current object of an earlier version; null for a current object. ``metadata``, ``tags``
and ``versions`` are JSON, ready for responses, and ``metadata_size`` is the length of the first, so that long
lists can be split into pieces of bounded size. Times are ISO 8601 in UTC, all of the same length, so that
they sort by time.
"""

outcomes = Table(
    "outcomes",
    metadata,
    Column("owner", _ID, ForeignKey("users.id"), primary_key=True),
    Column("key", _TEXT, primary_key=True),
    Column("request", _TEXT, nullable=False),
    Column("outcome", _TEXT, nullable=False),
    Column("created", BigInteger, nullable=False, index=True),
)
"""Results of requests with an idempotency key, as JSON, with the second since 1970 of each."""

datapacks = Table(
    "datapacks",
    metadata,
    Column("id", _TEXT, primary_key=True),
    Column("owner", _ID, ForeignKey("users.id"), nullable=False),
    Column("name", _TEXT, nullable=False),
    Column("structure", _TEXT, nullable=False),
    Column("etag", _TEXT, nullable=False),
    Column("created_on", _TEXT, nullable=False),
    Column("updated_on", _TEXT, nullable=False),
    UniqueConstraint("owner", "name"),
)
"""Datapacks: ``structure`` is the document, as JSON; ``etag`` identifies this state of name and document."""

datapack_contents = Table(
    "datapack_contents",
    metadata,
    Column("datapack", _TEXT, ForeignKey("datapacks.id"), primary_key=True),
    Column("sha1", _TEXT, primary_key=True),
    Column("blob", _ID, ForeignKey("blobs.id"), nullable=False, index=True),
    Column("size", BigInteger, nullable=False),
    Column("etag", _TEXT, nullable=False),
    Column("filename", _TEXT, nullable=False),
    Column("created_on", _TEXT, nullable=False),
    Column("unlinked", BigInteger, index=True),
)
"""Contents of datapacks, with the second since 1970 at which the last node unlinked one."""

oauth_clients = Table(
    "oauth_clients",
    metadata,
    Column("id", _TEXT, primary_key=True),
    Column("name", _TEXT, nullable=False),
    Column("secret", _TEXT),
    Column("redirect_uris", _TEXT, nullable=False),
    Column("created_on", _TEXT, nullable=False),
)
"""Programs that may ask users for access.

``secret`` is a digest, null for programs without one; ``redirect_uris`` is a JSON list.
"""

oauth_grants = Table(
    "oauth_grants",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("user", _ID, ForeignKey("users.id"), nullable=False),
    Column("client", _TEXT, ForeignKey("oauth_clients.id"), nullable=False, index=True),
    Column("scope", _TEXT, nullable=False),
    Column("family", _TEXT, nullable=False, unique=True),
    Column("generation", Integer, nullable=False, server_default=text("0")),
    Column("rotated", BigInteger),
    Column("expires", BigInteger, nullable=False),
    Column("created_on", _TEXT, nullable=False),
    sqlite_autoincrement=True,
)
"""Access that users have granted to programs.

``family`` is the digest of the part that all refresh tokens of a grant share. ``generation`` is that of the
valid ones; their predecessors were exchanged for them, first in the second ``rotated``.
"""

oauth_refresh_tokens = Table(
    "oauth_refresh_tokens",
    metadata,
    Column("sha256", _TEXT, primary_key=True),
    Column("grant", _ID, ForeignKey("oauth_grants.id"), nullable=False, index=True),
    Column("generation", Integer, nullable=False),
)
"""Refresh tokens of the last two generations of each grant, by digest."""

oauth_codes = Table(
    "oauth_codes",
    metadata,
    Column("sha256", _TEXT, primary_key=True),
    Column("user", _ID, ForeignKey("users.id"), nullable=False),
    Column("client", _TEXT, ForeignKey("oauth_clients.id"), nullable=False, index=True),
    Column("redirect_uri", _TEXT, nullable=False),
    Column("scope", _TEXT, nullable=False),
    Column("challenge", _TEXT),
    Column("expires", BigInteger, nullable=False, index=True),
    Column("grant", _ID, ForeignKey("oauth_grants.id"), index=True),
)
"""Authorization codes, by digest, each with the grant that it was exchanged for."""

BLOB_REFERENCES = (objects.c.blob, datapack_contents.c.blob)
"""Every column that refers to a row of `blobs`. Contents that none of them refers to are collected."""
