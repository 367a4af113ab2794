"""Etags of contents, as Rinocloud computes them: the format of multipart etags of Amazon S3."""

from __future__ import annotations

import hashlib

PART_SIZE = 6 * 1024 * 1024
"""Bytes of content behind each md5 in an etag."""


def etag_of_parts(digests: list[bytes]) -> str:
    """Return the etag of a content, given the MD5 digests of its parts.

    Parameters
    ----------
    digests : list of bytes
        Binary MD5 of each part of `PART_SIZE` bytes, in order; the last part may be shorter.

    Returns
    -------
    str
        Hex MD5 of the joined digests, a dash, and the number of parts.
    """
    joined = hashlib.md5(b"".join(digests), usedforsecurity=False)
    return f"{joined.hexdigest()}-{len(digests)}"


class EtagHasher:
    """Computes the etag of a content from pieces of any size.

    Attributes
    ----------
    size : int
        Number of bytes so far.
    """

    def __init__(self) -> None:
        self.size = 0
        self._digests: list[bytes] = []
        self._part = hashlib.md5(usedforsecurity=False)

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Add the next bytes of the content."""
        view = memoryview(data)
        while view:
            room = PART_SIZE - self.size % PART_SIZE
            self._part.update(view[:room])
            self.size += len(view[:room])
            view = view[room:]
            if self.size % PART_SIZE == 0:
                self._digests.append(self._part.digest())
                self._part = hashlib.md5(usedforsecurity=False)

    def etag(self) -> str:
        """Return the etag of the bytes so far."""
        rest = [self._part.digest()] if self.size % PART_SIZE else []
        return etag_of_parts(self._digests + rest)
