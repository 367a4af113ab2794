"""Limits of the server, which clients observe; names and digests define their own."""

from __future__ import annotations

LARGEST_ID = 2**63 - 1
"""The largest id of an object: databases and other clients use signed 64-bit integers."""

# Lists

DEFAULT_PAGE = 20
"""Default number of records in a response."""
MAX_PAGE = 1_000_000
"""Maximum number of records in a response."""
MAX_IDS = 10_000
"""Maximum number of ids in a request to move, copy or delete objects."""
MAX_FIELDS = 10_000
"""Maximum number of fields in a request that makes or changes an object, beside those in ``metadata``."""
MAX_TAGS = 10_000
"""Maximum number of tags in a request."""
CLIENT_PAGE = 10_000
"""Number of records that a client requests at a time."""
NAMES_PAGE = 50_000
"""Number of names that a client requests at a time."""

# Metadata

MAX_METADATA = 4 * 1024 * 1024
"""Maximum size of the metadata of one object, in bytes of JSON."""
MAX_METADATA_DEPTH = 64
"""Maximum nesting of lists and objects in metadata, including the outermost object."""
TRUNCATED_FROM = 300_000
"""Size in bytes above which ``truncate_metadata`` omits the metadata."""

# Queries

MAX_GROUP_DEPTH = 16
"""Maximum nesting of ``$or``, ``$and`` and ``$nor`` in a query."""
MAX_CONDITIONS = 100
"""Maximum number of conditions in a query."""
MAX_GROUPED = 400
"""Maximum number of queries in all ``$or``, ``$and`` and ``$nor`` of a query."""
MAX_QUERY_VALUES = 10_000
"""Maximum number of values in all lists of a query."""
MAX_SEARCH_TEXT = 256
"""Maximum number of characters in a text to search for."""
MAX_SEARCH = 4096
"""Maximum number of characters in a search."""
MAX_SEARCH_DEPTH = 12
"""Maximum nesting of groups in a search and in its query, to which clients add more levels."""
MAX_SEARCH_CONDITIONS = 90
"""Maximum number of conditions in the query of a search."""
MAX_FIELD_LENGTH = 1024
"""Maximum number of characters in a field name."""
MAX_FIELD_PARTS = 16
"""Maximum number of nested keys in a field name."""

# Datapacks

MAX_NODES = 100_000
"""Maximum number of nodes in a datapack."""
MAX_KEYWORDS = 10_000
"""Maximum number of keywords in a datapack."""

# Contents

MAX_RANGES = 16
"""Maximum number of ranges in a request; the response to one with more is the whole content."""
MAX_BUNDLE_DOWNLOAD = 256
"""Maximum number of files in a download of several files."""
MAX_BUNDLE_UPLOAD = 64
"""Maximum number of files in an upload of several files; each uses one of often only 1024 descriptors."""
MAX_BUNDLED_FILE = 256 * 1024
"""Maximum size in bytes of a file in a bundle."""
MAX_BUNDLE = 2 * 1024 * 1024
"""Maximum size in bytes of all files in a bundle."""
MAX_JSON_BODY = 1024 * 1024
"""Maximum size in bytes of the JSON fields of a bundle."""
