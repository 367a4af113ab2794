"""An answer whose body is read as it arrives."""

from __future__ import annotations

from collections.abc import Mapping


class RawAnswer:
    """An answer whose body is still on its way; a context manager.

    Attributes
    ----------
    status : int
        The HTTP status.
    headers : Mapping
        The headers; names in any case.
    url : str
        The URL that answered, after redirects.
    foreign : bool
        Whether another origin than the session's answered.
    """

    status: int
    headers: Mapping[str, str]
    url: str
    foreign: bool

    def readinto(self, buffer: memoryview) -> int:
        """Read into `buffer`; 0 only at the end of a complete body.

        Raises
        ------
        ConnectionFailedError
            If the body ended early.
        DeadlineError
            If it stopped coming.
        """
        raise NotImplementedError

    def read(self, size: int = -1) -> bytes:
        """Read up to `size` bytes, all that is left where negative."""
        raise NotImplementedError

    def close(self) -> None:
        """Give the connection back."""
        raise NotImplementedError

    def __enter__(self) -> RawAnswer:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
