"""A content and what is known of it: asked for, checked against the version that was seen first."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rinofs.errors import ConnectionFailedError, ContentChangedError, ProtocolError
from rinofs.http.connection.response import is_web_page, web_page_message
from rinofs.http.content.byteranges import parse_content_range, range_header

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rinofs.http.connection.response import StreamedResponse
    from rinofs.http.session.session import HttpSession

PIECE = 1024 * 1024
"""Bytes that are read at a time."""


def etag_header(headers: Mapping[str, str]) -> str | None:
    """Return the strong etag that an answer names, without its quotes, or None."""
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
        Names the version that an answer's headers speak of; None if they do not say.
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


class Source:
    """One content of one session, as its answers show it.

    Attributes
    ----------
    size : int or None
        Bytes of the whole content, where anyone said.
    etag : str or None
        The version, where anyone said.
    pin : str or None
        The version that every further answer must be of; None while none was named.
    """

    def __init__(self, session: HttpSession, content: Content) -> None:
        self.session = session
        self.content = content
        self.size = content.size
        self.etag = content.etag
        self.pin: str | None = None
        self._splits = content.conditional

    @property
    def in_parts(self) -> Content | None:
        """The pinned version, where the service brings parts of it and of no other; else None."""
        if not self._splits or self.pin is None or self.size is None or self.session.no_ranges:
            return None
        return replace(self.content, etag=self.pin, size=self.size)

    def ask(self, start: int, stop: int | None) -> tuple[StreamedResponse, bool]:
        """Ask for [start, stop); return the answer, and whether a range was asked for."""
        headers: dict[str, str] = {}
        whole = start == 0 and (stop is None or stop == self.size)
        if not whole and not self.session.no_ranges:
            headers["Range"] = range_header(start, stop)
        if self.content.conditional and self.content.etag is not None:
            headers["If-Match"] = f'"{self.content.etag}"'
        answer = self.session.stream(
            self.content.path,
            params=self.content.params,
            headers=headers,
            expect=(200, 206, 412, 416),
            label=self.content.label,
        )
        return answer, "Range" in headers

    def check(self, raw: StreamedResponse, *, resumed: bool) -> None:
        """Refuse an answer that is encoded, a web page, or not (known to be) of the pinned version.

        Parameters
        ----------
        raw : StreamedResponse
            The answer.
        resumed : bool
            Whether its bytes are to follow bytes of an earlier one.
        """
        content = self.content
        encoding = raw.headers.get("content-encoding", "identity")
        if encoding.lower() != "identity":
            shown = self.session.shown(encoding)
            raise self.misfit(f"the content came encoded ({shown}), which was not asked for")
        named = content.version_of(raw.headers)
        if raw.foreign:
            # An object store names its own versions: they can be compared with each other only.
            named = named or etag_header(raw.headers)
        if is_web_page(raw.headers) and not self._is_vouched_for(raw, named):
            raise self.misfit(web_page_message(raw.status))
        expected = self.pin or (None if raw.foreign else content.etag)
        if named is not None and expected is not None and named != expected:
            shown = self.session.shown(named)
            raise self.changed(f"it is version {shown} now, not {self.session.shown(expected)}")
        asked_for = content.conditional and content.etag is not None and not raw.foreign
        if named is None and resumed and not asked_for:
            raise self.not_resumable("")
        self.pin = self.pin or named or (content.etag if asked_for else None)
        self.etag = self.etag or named
        self._splits &= not raw.foreign and raw.headers.get("accept-ranges", "").lower() == "bytes"

    def part_of(self, raw: StreamedResponse) -> tuple[int, int]:
        """Return what a 206 brings as [start, stop), its size being that of the content."""
        value = raw.headers.get("content-range", "")
        part = parse_content_range(value)
        if part is None or part.start is None or part.stop is None:
            shown = self.session.shown(value)
            raise self.misfit(f"a partial answer without a usable Content-Range ({shown})")
        self.set_size(part.total)
        return part.start, part.stop

    def set_size(self, size: int | None) -> None:
        """Take what an answer says, unless it is something else than before."""
        if size is None:
            return
        if self.size is not None and self.size != size:
            raise self.misfit(f"the answer is of {size} bytes, the record says {self.size}; look again")
        self.size = size

    def nothing_at(self, position: int, raw: StreamedResponse) -> None:
        """Take a 416: there is nothing at the position."""
        part = parse_content_range(raw.headers.get("content-range"))
        raw.read_start(PIECE)
        total = None if part is None else part.total
        known = self.size
        if known is not None and total != known and (total is not None or position < known):
            raise self.changed(f"it has {total} bytes now, not {known}")
        if total is not None and max(position, 0) < total:
            raise self.misfit(f"the service refused the bytes from {position} of {total}")
        self.size = total if total is not None else max(position, 0)

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

    def misfit(self, reason: str) -> ProtocolError:
        """Return the error for an answer that is not what was asked for."""
        return ProtocolError(reason, self.content.label)

    def _is_vouched_for(self, raw: StreamedResponse, named: str | None) -> bool:
        """Return whether anything says that a web page is the content, and not in its place."""
        sized = self.content.size is not None and raw.length == self.content.size
        return named is not None or raw.status == 206 or sized or "content-disposition" in raw.headers
