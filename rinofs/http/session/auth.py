"""Who is asking: the value of the ``Authorization`` header."""

from __future__ import annotations

from typing import NoReturn, Protocol

from rinofs.errors import CredentialsError


class Auth(Protocol):
    """Gives a session its ``Authorization`` header; thread-safe."""

    def header(self) -> str:
        """Return the value of the header for the next request; empty to send none."""
        ...

    def renew(self, refused: str) -> bool:
        """Get a new value after a refusal (401).

        Parameters
        ----------
        refused : str
            The header value that was refused; another thread may have renewed it already.

        Returns
        -------
        bool
            Whether `header` now gives something else, so that trying once more makes sense.
        """
        ...


class StaticAuth:
    """A token that does not change.

    Parameters
    ----------
    scheme : str
        The word before the token: ``Token`` or ``Bearer``.
    token : str
        The secret.

    Raises
    ------
    CredentialsError
        If the token is empty or holds characters that no header can carry.
    """

    __slots__ = ("_header", "scheme")

    def __init__(self, scheme: str, token: str) -> None:
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            raise CredentialsError(
                "the token is empty or holds spaces, line ends or characters beyond ASCII: copy it again"
            )
        self.scheme = scheme
        self._header = f"{scheme} {token}"

    def header(self) -> str:
        """Return the scheme and the token."""
        return self._header

    def renew(self, refused: str) -> bool:  # noqa: ARG002 - the protocol's signature
        """Return False: there is no other token."""
        return False

    def __repr__(self) -> str:
        return f"StaticAuth({self.scheme!r}, '***')"

    def __reduce__(self) -> NoReturn:
        raise TypeError("credentials are not pickled: make them anew from the options")
