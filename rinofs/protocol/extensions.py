"""What this project's server adds to the published APIs, and the headers that carry it.

An answer of a server with extensions names them in a header. A client may send an extended request first: an
answer without the header means that the server has no extensions.
"""

from __future__ import annotations

from enum import StrEnum

__all__ = [
    "IDEMPOTENCY_KEY",
    "IDEMPOTENCY_REPLAYED",
    "REPOVIZZ_EXTENSIONS",
    "REPR_DIGEST",
    "REQUESTED_WITH",
    "RINOCLOUD_ALONE",
    "RINOCLOUD_EXTENSIONS",
    "RINOCLOUD_PAYLOAD",
    "RINOCLOUD_RESULT",
    "RepovizzExtension",
    "RinocloudExtension",
    "extensions_in",
    "repr_digest",
]

RINOCLOUD_EXTENSIONS = "rinocloud-api-extensions"
"""Names the extensions of a Rinocloud server, in each of its answers."""
REPOVIZZ_EXTENSIONS = "repovizz-api-extensions"
"""Names the extensions of a repovizz2 server, in each of its answers."""
RINOCLOUD_PAYLOAD = "rinocloud-api-payload"
"""The fields of an object, as JSON, in a request whose body is the content."""
RINOCLOUD_RESULT = "rinocloud-api-result"
"""The record of an object, as JSON, in an answer whose body is the content."""
RINOCLOUD_ALONE = "rinocloud-api-alone"
"""In a part of a bundle: this file was not sent along and has to be asked for alone."""

IDEMPOTENCY_KEY = "Idempotency-Key"
"""Has a server carry a request out once, however often it is sent."""
IDEMPOTENCY_REPLAYED = "idempotency-replayed"
"""Whether an answer was given before, to a request of the same key."""
REPR_DIGEST = "repr-digest"
"""The digest of a whole content (RFC 9530)."""
REQUESTED_WITH = "X-Requested-With"
"""Rinocloud takes requests for those of a program, and not of a page, if this is ``XMLHttpRequest``."""


class RinocloudExtension(StrEnum):
    """An extension of the Rinocloud API, in the order in which the server names them."""

    PATH = "path"
    """Objects are found by a list of names."""
    RECURSIVE = "recursive"
    """`children` lists all that is below a folder."""
    AFTER = "after"
    """`children` goes on after an id."""
    DIGEST = "digest"
    """Records have ``sha256``; requests may be conditional; uploads may end with their digest."""
    RENAME = "rename"
    """`move` takes a name."""
    IDEMPOTENCY = "idempotency"
    """Creating requests take `IDEMPOTENCY_KEY`."""
    BUNDLE = "bundle"
    """Many small files go in one request or one answer."""
    VERSIONS = "versions"
    """`copy` and `move` replace a file, whose versions stay; `delete` removes one earlier version; uploads
    can force a new one."""
    CONDITIONS = "conditions"
    """Uploads take ``If-Match``: the content is stored only in place of the one that it names."""
    EXACT = "exact"
    """Changes take ``exact``: the id of an earlier version means that one, which is read-only."""
    SEARCH = "search"
    """`query` takes what searches are made of: ``$matches``, ``$nor`` and the field ``*``."""


class RepovizzExtension(StrEnum):
    """An extension of the repovizz2 API, in the order in which the server names them."""

    LIST = "list"
    """The datapacks of a user can be listed."""
    DELETE = "delete"
    """Datapacks can be deleted."""
    SIZES = "sizes"
    """The sizes of contents can be asked for."""
    ETAG = "etag"
    """Changes of a document may depend on its state."""
    DIGEST = "digest"
    """Contents come with their digest."""
    SHA1 = "sha1"
    """Contents are named by their sha1."""
    IDEMPOTENCY = "idempotency"
    """Creating requests take `IDEMPOTENCY_KEY`."""
    STORE = "store"
    """Contents can be sent before a node links to them."""


def extensions_in(header: str) -> frozenset[str]:
    """Return the extensions that a header names; those that this version does not know are kept."""
    return frozenset(part.strip() for part in header.split(",") if part.strip())


def repr_digest(sha256: str) -> str:
    """Return the value of `REPR_DIGEST` for a SHA-256, given in base64."""
    return f"sha-256=:{sha256}:"
