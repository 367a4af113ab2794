"""Digests of contents: BLAKE3 and SHA-256 by name, their headers (RFC 9530), and Rinocloud's etags.

Etags have the format of multipart etags of Amazon S3.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from functools import cache
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

__all__ = [
    "BLAKE3",
    "DIGESTS",
    "PART_SIZE",
    "SHA256",
    "EtagHasher",
    "Hasher",
    "best_digest",
    "etag_of_parts",
    "new_hasher",
    "parse_repr_digest",
    "parse_want_repr_digest",
    "repr_digest",
    "want_repr_digest",
]

Buffer = bytes | bytearray | memoryview

BLAKE3 = "blake3"
"""Name of the BLAKE3 digest (32 bytes, in hex) in records, and of the part of an upload that has it."""
SHA256 = "sha256"
"""Name of the SHA-256 digest in hex, likewise."""

DIGESTS = {BLAKE3: "blake3", SHA256: "sha-256"}
"""Digests by name, the best first, with their names in the headers of RFC 9530."""

_HEX = re.compile(r"[0-9a-f]{64}")
_REPR_DIGEST = re.compile(r"([a-z*][a-z0-9_.*-]*)=:([A-Za-z0-9+/=]{43,44}):")
_WANTED = re.compile(r"([a-z*][a-z0-9_.*-]*)=(\d{1,2})")

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


class Hasher(Protocol):
    """What hashlib's objects and BLAKE3's have in common."""

    def update(self, data: Buffer, /) -> object:
        """Add the next bytes of the content."""

    def digest(self) -> bytes:
        """Return the digest of the bytes so far."""

    def hexdigest(self) -> str:
        """Return the digest in hex."""


@cache
def _blake3() -> Callable[[], Hasher] | None:
    try:
        from blake3 import blake3
    except ImportError:
        return None
    return blake3


def new_hasher(name: str) -> Hasher:
    """Return a new hasher for one of `DIGESTS`.

    Raises
    ------
    ModuleNotFoundError
        If it is BLAKE3, and the module ``blake3`` is not installed.
    """
    if name != BLAKE3:
        return hashlib.new(name, usedforsecurity=False)
    new = _blake3()
    if new is None:
        raise ModuleNotFoundError("BLAKE3 needs the module blake3: pip install blake3", name="blake3")
    return new()


def best_digest(offered: Collection[str]) -> str | None:
    """Return the best of the offered digests that this process can compute, or None."""
    return next(
        (name for name in DIGESTS if name in offered and (name != BLAKE3 or _blake3() is not None)), None
    )


def repr_digest(digests: Mapping[str, str]) -> str:
    """Return the value of ``Repr-Digest`` for hex digests by name."""
    return ", ".join(
        f"{DIGESTS[name]}=:{base64.b64encode(bytes.fromhex(digest)).decode('ascii')}:"
        for name, digest in digests.items()
    )


def parse_repr_digest(value: str) -> dict[str, str]:
    """Return the known and well-formed digests in a ``Repr-Digest``, in hex by name, the best first."""
    found = {match[1]: match[2] for match in map(_REPR_DIGEST.fullmatch, _members(value)) if match}
    digests = {name: _hex(found[key]) for name, key in DIGESTS.items() if key in found}
    return {name: digest for name, digest in digests.items() if digest is not None}


def want_repr_digest(names: Collection[str]) -> str:
    """Return the value of ``Want-Repr-Digest`` for digests by name, the preferred first."""
    return ", ".join(f"{DIGESTS[name]}={10 - place}" for place, name in enumerate(names))


def parse_want_repr_digest(value: str) -> list[str]:
    """Return the known digests that a ``Want-Repr-Digest`` accepts, by name, the preferred first."""
    found = {match[1]: int(match[2]) for match in map(_WANTED.fullmatch, _members(value)) if match}
    wanted = [name for name, key in DIGESTS.items() if 0 < found.get(key, 0) <= 10]
    return sorted(wanted, key=lambda name: -found[DIGESTS[name]])


def _members(value: str) -> list[str]:
    return [member.partition(";")[0].strip() for member in value.split(",")]


def _hex(encoded: str) -> str | None:
    try:
        digest = base64.b64decode(encoded, validate=True).hex()
    except binascii.Error:
        return None
    return digest if _HEX.fullmatch(digest) else None
