"""What one Rinocloud endpoint can do, learnt from its answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rinofs.protocol.extensions import RINOCLOUD_EXTENSIONS, RinocloudExtension, extensions_in

if TYPE_CHECKING:
    from collections.abc import Mapping

# A refusal without the header tells just as an answer does. What a proxy or a limiter may have said in the
# server's place tells nothing.
_TELLING = frozenset(range(200, 500)) - {401, 407, 408, 421, 425, 429}


NO_SUCH_ENDPOINT = frozenset({404, 405, 501})
"""Statuses of the answer to a request for an endpoint that a server does not have."""


class Features:
    """What is known of an endpoint; shared by all filesystem objects that use it.

    Each attribute is replaced as a whole, so that no lock is needed.

    Attributes
    ----------
    extensions : frozenset of str or None
        What the server adds to the published API; None until it has answered.
    lacking : frozenset of str
        Endpoints of the published API that this server turned out not to have.
    """

    def __init__(self) -> None:
        self.extensions: frozenset[str] | None = None
        self.lacking: frozenset[str] = frozenset()
        self._said: tuple[str, frozenset[str]] = "", frozenset()

    def observe(self, status: int, headers: Mapping[str, str]) -> None:
        """Take note of what an answer says of the server's extensions."""
        named = headers.get(RINOCLOUD_EXTENSIONS)
        if named is not None:
            said, extensions = self._said
            if named != said:
                extensions = extensions_in(named)
                self._said = named, extensions
            self.extensions = extensions
        elif status in _TELLING:
            # Also where it was known to have some: another server may have taken its place.
            self.extensions = frozenset()

    def has(self, extension: RinocloudExtension) -> bool:
        """Tell whether the server is known to have an extension."""
        return self.extensions is not None and extension in self.extensions

    def may_have(self, extension: RinocloudExtension) -> bool:
        """Tell whether it is worth asking the server in the extended way."""
        return self.extensions is None or extension in self.extensions

    def lacks(self, endpoint: str) -> None:
        """Take note that the server has no such endpoint."""
        self.lacking |= {endpoint}
