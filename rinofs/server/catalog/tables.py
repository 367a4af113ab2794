"""The tables of the database, as `rinofs.server.catalog.migrations` makes them."""

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

# SQLite numbers only what is called INTEGER by itself.
_ID = BigInteger().with_variant(Integer(), "sqlite")

# In the order of bytes, whatever language the database was made for: SQLite's order.
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
"""Who may sign in. ``password`` is an argon2 hash, or null where none opens the account."""

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
"""What users sign in with: digests of tokens, with the second since 1970 from which each is void.

``grant`` is what a token goes back to that a program was given in the name of the user, ``used`` the second
of its last use, to the hour, and ``by_password`` tells that it came of a sign-in with the password.
"""

sessions = Table(
    "sessions",
    metadata,
    Column("sha256", _TEXT, primary_key=True),
    Column("user", _ID, ForeignKey("users.id"), nullable=False, index=True),
    Column("expires", BigInteger, nullable=False, index=True),
)
"""Browsers that a user has signed in with, by the digest of a cookie."""

sent_forms = Table(
    "sent_forms",
    metadata,
    Column("sha256", _TEXT, primary_key=True),
    Column("expires", BigInteger, nullable=False, index=True),
)
"""Forms that were sent, of which each counts once."""

throttles = Table(
    "throttles",
    metadata,
    Column("sha256", _TEXT, primary_key=True),
    Column("wrong", Integer, nullable=False),
    Column("seen", BigInteger, nullable=False, index=True),
    Column("until", BigInteger, nullable=False),
)
"""Wrong passwords of late, by a digest of the account, the address, or both.

``seen`` is the second since 1970 of the last one, and ``until`` the one before which no other is looked at.
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
"""What happened to accounts and data, and from where. ``details`` is JSON; users are named: they may go."""

blobs = Table(
    "blobs",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("blake3", _TEXT, unique=True),
    Column("sha256", _TEXT, index=True),
    Column("size", BigInteger, nullable=False),
    Column("etag", _TEXT, nullable=False),
    Column("key", _TEXT, nullable=False, unique=True),
    # Appending compares numbers of contents, so none may be given twice.
    sqlite_autoincrement=True,
)
"""Contents that something refers to, by the key under which the store has each.

``blake3`` is null for what an earlier version stored, until ``rinofs admin fsck`` has read it. ``sha256`` is
null until it was taken, which for large contents is after the upload was answered.
"""

doomed = Table(
    "doomed",
    metadata,
    Column("key", _TEXT, primary_key=True),
    Column("moment", BigInteger, nullable=False, index=True),
)
"""Keys in an object store that had a row in `blobs`, with the second since 1970 in which they lost it."""

properties = Table(
    "properties",
    metadata,
    Column("name", _TEXT, primary_key=True),
    Column("value", _TEXT, nullable=False),
)
"""What there is one of in a database: the name of the installation, the address of its object store."""

workers = Table(
    "workers",
    metadata,
    Column("name", Text, primary_key=True),
    Column("host", Text),
    Column("expires", BigInteger, nullable=False),
    Column("fenced", BigInteger),
    Column("unlisted", Boolean, nullable=False, server_default=false()),
)
"""Processes that store contents on a database that they share; `rinofs.server.catalog.sharing.leases`.

``host`` is the machine of one that keeps contents in a folder there, ``expires`` the second since 1970 from
which on it is taken to be gone, and ``fenced`` the one since which it adds no contents any more. ``unlisted``
tells that it may have left objects that no collection has seen.
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

outcomes = Table(
    "outcomes",
    metadata,
    Column("owner", _ID, ForeignKey("users.id"), primary_key=True),
    Column("key", _TEXT, primary_key=True),
    Column("request", _TEXT, nullable=False),
    Column("outcome", _TEXT, nullable=False),
    Column("created", BigInteger, nullable=False, index=True),
)
"""What came of requests with an idempotency key, as JSON, with the second since 1970 of each."""

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
"""Datapacks: ``structure`` is the document, as JSON; ``etag`` names this very state of name and document."""

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
"""Contents of datapacks, with the second since 1970 from which on no node links to one any more."""

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
"""What users have granted to programs.

``family`` is the digest of the part which all refresh tokens of a grant share. ``generation`` is that of the
ones which are good; those before were exchanged for them, first in the second ``rotated``.
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
"""Every column that refers to a row of `blobs`. What none of them names is collected."""
