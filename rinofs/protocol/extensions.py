"""Extensions of the published APIs, and the headers for them.

Every response of a server with extensions lists them in a header. A client may try an extended request first:
a response without the header means that the server has no extensions.
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
    "WANT_REPR_DIGEST",
    "RepovizzExtension",
    "RinocloudExtension",
    "extensions_in",
]

RINOCLOUD_EXTENSIONS = "rinocloud-api-extensions"
"""Lists the extensions of a Rinocloud server, in each response."""
REPOVIZZ_EXTENSIONS = "repovizz-api-extensions"
"""Lists the extensions of a repovizz2 server, in each response."""
RINOCLOUD_PAYLOAD = "rinocloud-api-payload"
"""The fields of an object, as JSON, in a request whose body is the content."""
RINOCLOUD_RESULT = "rinocloud-api-result"
"""The record of an object, as JSON, in a response whose body is the content."""
RINOCLOUD_ALONE = "rinocloud-api-alone"
"""In a part of a bundle: the file is not included and must be requested on its own."""

IDEMPOTENCY_KEY = "Idempotency-Key"
"""Makes a server carry out a request once, however often it is sent."""
IDEMPOTENCY_REPLAYED = "idempotency-replayed"
"""Present in the response to a repeated request with the same key."""
REPR_DIGEST = "repr-digest"
"""The digest of a whole content (RFC 9530)."""
WANT_REPR_DIGEST = "want-repr-digest"
"""In a request: the digests that the response should have, with preferences (RFC 9530)."""
REQUESTED_WITH = "X-Requested-With"
"""Must be ``XMLHttpRequest`` for Rinocloud to treat a request as one of a program, not of a browser page."""


class RinocloudExtension(StrEnum):
    """An extension of the Rinocloud API, in the order in which the server names them."""

    PATH = "path"
    """Objects can be addressed by a list of names."""
    RECURSIVE = "recursive"
    """`children` can list everything below a folder."""
    AFTER = "after"
    """`children` can continue after an id."""
    DIGEST = "digest"
    """Records have ``sha256``; requests can be conditional; uploads can end with their digest."""
    RENAME = "rename"
    """`move` accepts a name."""
    IDEMPOTENCY = "idempotency"
    """Requests that create something accept `IDEMPOTENCY_KEY`."""
    BUNDLE = "bundle"
    """Many small files fit into one request or response."""
    VERSIONS = "versions"
    """`copy` and `move` replace a file and keep its versions; `delete` removes a single version; uploads
    can force a new version."""
    CONDITIONS = "conditions"
    """Uploads accept ``If-Match``: the content is stored only if it replaces the named one."""
    EXACT = "exact"
    """Changes accept ``exact``: the id of an earlier version then means that version, which is read-only."""
    SEARCH = "search"
    """`query` accepts the parts of searches: ``$matches``, ``$nor`` and the field ``*``."""
    TOKENS = "tokens"
    """Users list, create and revoke their tokens, and change their password."""
    BLAKE3 = "blake3"
    """As `DIGEST`, with ``blake3``: records have it, responses offer it, uploads can end with it. A record's
    ``sha256`` may be filled in later."""
    NAMES = "names"
    """`children` can leave out everything but ids, names, types and parents."""
    EMPTY = "empty"
    """`delete` accepts ``empty``: a folder is deleted only if nothing is in it."""
    PLACES = "places"
    """`delete`, `move` and `copy` accept ``paths``, one for each id: they do nothing if one of the objects is
    elsewhere."""
    DIRECT = "direct"
    """`direct` answers where in an object store a content can be read for some minutes. Named only by servers
    that keep contents in one."""


class RepovizzExtension(StrEnum):
    """An extension of the repovizz2 API, in the order in which the server names them."""

    LIST = "list"
    """The datapacks of a user can be listed."""
    DELETE = "delete"
    """Datapacks can be deleted."""
    SIZES = "sizes"
    """The sizes of contents can be requested."""
    ETAG = "etag"
    """Changes of a document can be conditional on its etag."""
    DIGEST = "digest"
    """Responses with contents include their digest."""
    SHA1 = "sha1"
    """Contents are addressed by their SHA-1."""
    IDEMPOTENCY = "idempotency"
    """Requests that create something accept `IDEMPOTENCY_KEY`."""
    STORE = "store"
    """Contents can be uploaded before a node links to them."""
    BLAKE3 = "blake3"
    """As `DIGEST`, with BLAKE3."""


def extensions_in(header: str) -> frozenset[str]:
    """Return the extensions that a header lists, including unknown ones."""
    return frozenset(part.strip() for part in header.split(",") if part.strip())
