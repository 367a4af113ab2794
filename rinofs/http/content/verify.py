"""Checking what is transferred, beside the transfer."""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING

from rinofs.errors import ContentMismatchError
from rinofs.http.content.hashing import SideDigests
from rinofs.protocol.digests import PART_SIZE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rinofs.http.content.hashing import Buffer

_REPR_SHA256 = re.compile(r"(?:^|,)\s*sha-256=:([A-Za-z0-9+/=]{43,44}):")
_ETAG = re.compile(r"[0-9a-f]{32}-(\d{1,9})")


class Verifier:
    """Hashes a content on other threads while it is transferred, and compares at the end.

    A loop that reuses buffers takes them from `buffer`, fills one, feeds the filled part, and takes the
    next: no byte is copied, and there are never more than a few buffers::

        while count := stream.readinto(view := verifier.buffer()):
            verifier.feed(view[:count])
            file.write(view[:count])
        verifier.finish()

    Parameters
    ----------
    sha256 : str, optional
        The hex digest to be found.
    etag : str, optional
        The etag to be found; not taken where there is a `sha256`.
    size : int, optional
        The bytes to be found.
    label : str
        What is checked, for messages.

    Attributes
    ----------
    checks : str or None
        ``"sha256"``, ``"etag"``, or None where only the size is compared.
    """

    def __init__(
        self, *, sha256: str | None = None, etag: str | None = None, size: int | None = None, label: str = ""
    ) -> None:
        self.checks = "sha256" if sha256 is not None else "etag" if etag is not None else None
        self._expected = sha256 if sha256 is not None else etag
        self._size = size
        self._label = label
        self._count = 0
        self._digests = SideDigests(sha256=self.checks == "sha256", etag=self.checks == "etag", size=size)

    @classmethod
    def for_answer(
        cls, headers: Mapping[str, str], etag: str | None, size: int | None, *, label: str = ""
    ) -> Verifier:
        """Choose the cheapest digest that is offered.

        Parameters
        ----------
        headers : Mapping
            Of the answer that brings the content; a ``Repr-Digest`` with sha-256 is taken first.
        etag : str, optional
            Of the content; taken where it is made of parts of 6 MiB.
        size : int, optional
            Bytes of the content, where known.
        label : str
            What is checked, for messages.
        """
        sha256 = repr_sha256(headers)
        if sha256 is None and etag is not None and _is_of_parts(etag, size):
            return cls(etag=etag, size=size, label=label)
        return cls(sha256=sha256, size=size, label=label)

    def buffer(self) -> memoryview:
        """Return a buffer to read into; waits while all are being hashed."""
        return self._digests.buffer()

    def feed(self, data: Buffer, *, stable: bool = False) -> None:
        """Hash the next bytes.

        Immutable bytes, and filled parts of `buffer`, are not copied. Nor is anything that is `stable`:
        the caller does not change it before `finish`.
        """
        self._count += len(data)
        self._digests.feed(data, stable=stable)

    def finish(self) -> None:
        """Wait for the digest and compare.

        Raises
        ------
        ContentMismatchError
            If the size or the digest is another.
        """
        sha256, etag = self._digests.finish()
        if self._size is not None and self._count != self._size:
            raise ContentMismatchError(
                f"{self._count} bytes came where there are {self._size}; read it again", self._label
            )
        found = sha256 if sha256 is not None else etag
        if found != self._expected:
            raise ContentMismatchError(
                f"the bytes that came have the {self.checks} {found}, the service says {self._expected}:"
                " damaged on the way or in the store; read it again",
                self._label,
            )

    def abandon(self) -> None:
        """Stop without comparing; may be called at any time, also after `finish`."""
        self._digests.abandon()


def repr_sha256(headers: Mapping[str, str]) -> str | None:
    """Return the hex sha-256 in an answer's ``Repr-Digest`` header (RFC 9530), or None."""
    match = _REPR_SHA256.search(headers.get("repr-digest", ""))
    if match is None:
        return None
    try:
        digest = base64.b64decode(match[1], validate=True)
    except binascii.Error:
        return None
    return digest.hex() if len(digest) == 32 else None


def _is_of_parts(etag: str, size: int | None) -> bool:
    """Return whether an etag is made of parts of 6 MiB, as far as can be seen."""
    match = _ETAG.fullmatch(etag)
    return match is not None and size is not None and int(match[1]) == -(-size // PART_SIZE)
