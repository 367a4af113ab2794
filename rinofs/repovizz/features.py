"""What one repovizz2 endpoint can do, learnt from its answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rinofs.protocol.extensions import REPOVIZZ_EXTENSIONS, RepovizzExtension, extensions_in

if TYPE_CHECKING:
    from collections.abc import Mapping

MISSING = frozenset({404, 405, 501})
"""What a server answers that has no such endpoint."""


class Features:
    """What is known of an endpoint; shared by all filesystem objects that use it.

    Each attribute is replaced as a whole, so that no lock is needed.

    Attributes
    ----------
    extensions : frozenset of str
        What the server adds to the published API, as its last answer named it.
    lacking : frozenset of str
        What this server turned out not to have: ``list``, ``sizes``, ``delete``.
    sha1 : bool
        Whether the server was seen to name contents by their sha1.
    """

    def __init__(self) -> None:
        self.extensions: frozenset[str] = frozenset()
        self.lacking: frozenset[str] = frozenset()
        self.sha1 = False

    def observe(self, status: int, headers: Mapping[str, str]) -> None:  # noqa: ARG002 - as sessions call it
        """Take note of what an answer says of the server's extensions."""
        named = headers.get(REPOVIZZ_EXTENSIONS)
        if named is not None:
            self.extensions = extensions_in(named)
            self.sha1 = self.sha1 or RepovizzExtension.SHA1 in self.extensions

    @property
    def repeats(self) -> bool:
        """Whether the server carries out a request with an ``Idempotency-Key`` once."""
        return RepovizzExtension.IDEMPOTENCY in self.extensions

    @property
    def stores(self) -> bool:
        """Whether the server takes contents that no node links to yet."""
        return RepovizzExtension.STORE in self.extensions

    def lacks(self, what: str) -> None:
        """Take note that the server has no such thing."""
        self.lacking |= {what}
