"""Where the bytes of an open file come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from rinofs.fs.files.sequential import Sequential
from rinofs.http.content.content import open_content, read_content

if TYPE_CHECKING:
    from collections.abc import Callable

    from rinofs.http.content.content import Content
    from rinofs.http.session.session import HttpSession


class Source(Protocol):
    """Where the bytes of one version of a content come from."""

    key: str
    size: int

    def load(self, start: int, stop: int) -> bytes:
        """Download the bytes [start, stop)."""
        ...

    def stream(self) -> Sequential | None:
        """Begin to download everything, in order; None where that is not possible."""
        ...


@dataclass(slots=True)
class RemoteSource:
    """A pinned content of a service.

    Attributes
    ----------
    session : HttpSession
        Sends the requests.
    content : Content
        What to read, with size and version.
    key : str
        Names the version among all contents of all endpoints and users.
    size : int
        Bytes.
    verify : bool
        Whether a content that is read in order from its first to its last byte is checked.
    """

    session: HttpSession
    content: Content
    key: str
    size: int
    verify: bool

    def load(self, start: int, stop: int) -> bytes:
        """Download the bytes [start, stop)."""
        return read_content(self.session, self.content, start, stop)

    def stream(self) -> Sequential:
        """Begin to download everything, in order."""
        return Sequential(open_content(self.session, self.content), self.content, self.size, self.verify)


@dataclass(slots=True)
class FetcherSource:
    """What a file of another filesystem can offer: ranges only, shared with no one."""

    load: Callable[[int, int], bytes]
    size: int
    key: str

    def stream(self) -> None:
        """Return None: there is nothing but ranges."""
