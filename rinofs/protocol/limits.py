"""What the server takes at most, and so what a client may send; names and digests have theirs beside them."""

from __future__ import annotations

LARGEST_ID = 2**63 - 1
"""The largest id of an object; databases and other clients have 64 bits for it."""

# Lists

DEFAULT_PAGE = 20
"""Records in an answer to a request that does not say how many."""
MAX_PAGE = 1_000_000
"""Records in one answer."""
CLIENT_PAGE = 10_000
"""Records that a client asks for at once."""

# Metadata

MAX_METADATA = 4 * 1024 * 1024
"""Bytes of the metadata of one object, as JSON."""
MAX_METADATA_DEPTH = 64
"""Levels of lists and objects in metadata, the outermost included."""
TRUNCATED_FROM = 300_000
"""Bytes of metadata above which ``truncate_metadata`` leaves them out."""

# Queries

MAX_GROUP_DEPTH = 16
"""Levels of ``$or``, ``$and`` and ``$nor`` in a query."""
MAX_CONDITIONS = 100
"""Conditions in one query."""
MAX_QUERY_VALUES = 10_000
"""Values in all lists of one query."""
MAX_SEARCH_TEXT = 256
"""Characters of a text that is looked for inside others."""
MAX_SEARCH = 4096
"""Characters of a search."""
MAX_SEARCH_DEPTH = 12
"""Levels of groups in a search, and of the query that it becomes: clients put others around that."""
MAX_SEARCH_CONDITIONS = 90
"""Conditions in the query that a search becomes."""
MAX_FIELD_LENGTH = 1024
"""Characters of the name of a field."""
MAX_FIELD_PARTS = 16
"""Levels of metadata that the name of a field reaches down."""

# Contents

MAX_RANGES = 16
"""Ranges of bytes in one request; one that asks for more gets the whole content."""
MAX_BUNDLE_DOWNLOAD = 256
"""Files in one request for the contents of many."""
MAX_BUNDLE_UPLOAD = 64
"""Files in one request that stores many. Each takes a file descriptor, and processes often have 1024."""
MAX_BUNDLED_FILE = 256 * 1024
"""Bytes of a file that comes along with others."""
MAX_BUNDLE = 2 * 1024 * 1024
"""Bytes of all files in one bundle."""
MAX_JSON_BODY = 1024 * 1024
"""Bytes of the JSON fields of a bundle."""
