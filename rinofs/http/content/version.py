"""A content to read, and what the responses say of its version: validated, and returned."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rinofs.errors import ConnectionFailedError, ContentChangedError, ProtocolError
from rinofs.http.connection.response import is_web_page, web_page_message

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rinofs.http.connection.response import StreamedResponse
    from rinofs.http.session.session import HttpSession


def etag_header(headers: Mapping[str, str]) -> str | None:
    """Return the strong etag in a response's headers, without its quotes, or None."""
    value = headers.get("etag", "").strip()
    if len(value) < 3 or value[0] != '"' or value[-1] != '"':
        return None
    return value[1:-1]


@dataclass(frozen=True, slots=True)
class Content:
    """What is to be read.

    Attributes
    ----------
    path : str
        Path below the endpoint, percent-encoded.
    params : tuple of (str, str)
        The query.
    label : str
        What it is called in messages, such as ``rino://exp1/a.csv``.
    size : int, optional
        Bytes, where known.
    etag : str, optional
        The version to read, where known.
    conditional : bool
        Whether the server honours ``If-Match`` with this etag.
    version_of : callable
        Takes a response's headers and returns the version that they name; None if they name none.
    """

    path: str
    params: tuple[tuple[str, str], ...]
    label: str
    size: int | None = None
    etag: str | None = None
    conditional: bool = False
    version_of: Callable[[Mapping[str, str]], str | None] = etag_header


class BrokenReadError(ConnectionFailedError):
    """A read broke, and nothing tells whether its rest would be of the same version."""


class UnsizedError(ProtocolError):
    """Nothing says how large the content is whose end was to be counted from."""


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a content, as the responses so far describe it; never changed, only replaced.

    Attributes
    ----------
    content : Content
        What is read.
    size : int or None
        Bytes of the whole content, where known.
    etag : str or None
        The version, where a response named it.
    pin : str or None
        The version that every further response must be of; None while none was named.
    has_ranges : bool
        Whether the service says that it sends ranges, of this version and of no other.
    """

    content: Content
    size: int | None
    etag: str | None
    pin: str | None
    has_ranges: bool

    @classmethod
    def of(cls, content: Content) -> Version:
        """Return what is known before the first response."""
        return cls(content, content.size, content.etag, None, content.conditional)

    def accept(self, session: HttpSession, response: StreamedResponse, *, resumed: bool) -> Version:
        """Return the version after a response.

        Refuses a response that is encoded, a web page, or of another version.

        Parameters
        ----------
        session : HttpSession
            Redacts what is quoted.
        response : StreamedResponse
            The response.
        resumed : bool
            Whether its bytes are to follow bytes of an earlier one.
        """
        content = self.content
        encoding = response.headers.get("content-encoding", "identity")
        if encoding.lower() != "identity":
            shown = session.shown(encoding)
            raise self.protocol_error(f"the content came encoded ({shown}), which was not requested")
        named = content.version_of(response.headers)
        if response.foreign:
            # An object store names its own versions: they can be compared with each other only.
            named = named or etag_header(response.headers)
        if is_web_page(response.headers) and not self._is_vouched_for(response, named):
            raise self.protocol_error(web_page_message(response.status))
        expected = self.pin or (None if response.foreign else content.etag)
        if named is not None and expected is not None and named != expected:
            raise self.changed(f"it is version {session.shown(named)} now, not {session.shown(expected)}")
        requested = content.conditional and content.etag is not None and not response.foreign
        if named is None and resumed and not requested:
            raise self.not_resumable("")
        pin = self.pin or named or (content.etag if requested else None)
        serves = not response.foreign and response.headers.get("accept-ranges", "").lower() == "bytes"
        return Version(content, self.size, self.etag or named, pin, self.has_ranges and serves)

    def with_size(self, size: int | None) -> Version:
        """Return the version with the size that a response says, unless it contradicts what is known."""
        if size is None or size == self.size:
            return self
        if self.size is not None:
            raise self.protocol_error(
                f"the response is of {size} bytes, the record says {self.size}; look again"
            )
        return replace(self, size=size)

    def ends_at(self, position: int, total: int | None) -> Version:
        """Return the version after a 416: there is nothing at `position`, and `total` bytes in all."""
        known = self.size
        if known is not None and total != known and (total is not None or position < known):
            raise self.changed(f"it has {total} bytes now, not {known}")
        if total is not None and max(position, 0) < total:
            raise self.protocol_error(f"the service refused the bytes from {position} of {total}")
        return replace(self, size=total if total is not None else max(position, 0))

    def changed(self, reason: str) -> ContentChangedError:
        """Return the error for another version."""
        message = f"the content was replaced while it was read: {reason}; open it again"
        return ContentChangedError(message, self.content.label)

    def not_resumable(self, where: str) -> BrokenReadError:
        """Return the error for a break after which nothing can be trusted to be the rest."""
        message = f"the connection broke{where}, and the service names no version by which the rest"
        return BrokenReadError(
            f"{message} could be trusted to belong to it; read it again", self.content.label
        )

    def protocol_error(self, reason: str) -> ProtocolError:
        """Return the error for a response that does not match the request."""
        return ProtocolError(reason, self.content.label)

    def _is_vouched_for(self, response: StreamedResponse, named: str | None) -> bool:
        """Return whether anything says that a web page is the content, and not in its place."""
        sized = self.content.size is not None and response.length == self.content.size
        return (
            named is not None or response.status == 206 or sized or "content-disposition" in response.headers
        )
