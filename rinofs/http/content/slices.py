"""Contents in memory: a slice of one, or several parts in one response (RFC 9110, sections 14.2 and 14.6)."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from rinofs.errors import ConnectionFailedError, DeadlineError, ProtocolError, ServiceError
from rinofs.http.content.byteranges import Parts, boundary_of, parse_content_range
from rinofs.http.content.content import BrokenReadError, UnsizedError, Version, open_content
from rinofs.http.content.verify import Verifier
from rinofs.http.session.retry import MAX_TRIES
from rinofs.protocol.limits import MAX_RANGES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from _typeshed import WriteableBuffer

    from rinofs.http.connection.response import StreamedResponse
    from rinofs.http.content.content import Content, ContentStream
    from rinofs.http.session.session import HttpSession

__all__ = ["read_content", "read_spans"]

_TOO_MUCH = frozenset({400, 500, 501})  # of a server that cannot read such a header


def read_content(
    session: HttpSession,
    content: Content,
    start: int = 0,
    stop: int | None = None,
    *,
    verify: bool = False,
) -> bytes:
    """Read the bytes [start, stop) of `content` into one buffer.

    Parameters
    ----------
    session, content
        As for `open_content`.
    start, stop : int
        As for slices: negative numbers count from the end.
    verify : bool
        Whether a read of the whole content is checked against the digest that the service offers.

    Raises
    ------
    ContentMismatchError
        If the bytes are not those of the digest.
    RinofsError
        And all that `open_content` raises.
    """
    whole = start == 0 and stop is None
    for tries_left in reversed(range(MAX_TRIES)):
        try:
            with _open_slice(session, content, start, stop) as stream:
                return _read_all(stream, content, verify=verify and whole)
        except UnsizedError:
            return read_content(session, content, verify=verify)[start:stop]
        except BrokenReadError:
            # Nothing was returned yet, so this can start over.
            if not tries_left:
                raise
    raise AssertionError("unreachable")


def _open_slice(session: HttpSession, content: Content, start: int, stop: int | None) -> ContentStream:
    """Open [start, stop) as a slice: negative numbers count from the end."""
    if content.size is not None:
        start, stop, _ = slice(start, stop).indices(content.size)
        return open_content(session, content, start, max(start, stop))
    if stop is None or (start >= 0 and stop >= 0):
        return open_content(session, content, start, stop)
    with open_content(session, content) as stream:  # only to learn the size
        size = stream.size
    if size is None:
        raise UnsizedError("the service sent no size to count from", content.label)
    start, stop, _ = slice(start, stop).indices(size)
    return open_content(session, content, start, max(start, stop))


def _read_all(stream: ContentStream, content: Content, *, verify: bool) -> bytes:
    if not verify:
        return stream.read()
    verifier = Verifier.for_response(
        stream.headers, stream.etag or content.etag, stream.size, label=content.label
    )
    try:
        return stream.read_whole(lambda piece: verifier.feed(piece, stable=True), verifier.finish)
    finally:
        verifier.abandon()


def read_spans(session: HttpSession, content: Content, spans: Sequence[tuple[int, int]]) -> list[bytes]:
    """Read several parts of one version of a content, by one request where the server can.

    Parameters
    ----------
    session : HttpSession
        Where to send it.
    content : Content
        What to read. Only where a version is named, and the server keeps to it, one request is tried.
    spans : sequence of (int, int)
        First byte and byte to end before of each part, within the content and none empty.

    Returns
    -------
    list of bytes
        The parts.

    Raises
    ------
    ContentChangedError
        If the version is gone.
    RinofsError
        And all that `read_content` raises: the parts are requested one by one if the one response is not
        what it should be.
    """
    named = content.conditional and content.etag is not None
    if named and 1 < len(spans) <= MAX_RANGES and not (session.no_multiranges or session.no_ranges):
        parts = _read_together(session, content, spans)
        if parts is not None:
            return parts
    return [read_content(session, content, start, stop) for start, stop in spans]


def _read_together(
    session: HttpSession, content: Content, spans: Sequence[tuple[int, int]]
) -> list[bytes] | None:
    ranges = ", ".join(f"{start}-{stop - 1}" for start, stop in spans)
    try:
        response = session.stream(
            content.path,
            params=content.params,
            headers={"Range": f"bytes={ranges}", "If-Match": f'"{content.etag}"'},
            expect=(200, 206, 412, 416),
            label=content.label,
        )
    except ServiceError as error:
        if error.status not in _TOO_MUCH:
            raise
        session.no_multiranges = True
        return None
    with response:
        boundary = boundary_of(response.headers.get("content-type", ""), "byteranges")
        if response.status != 206 or boundary is None or response.foreign:
            session.no_multiranges = response.foreign or response.status in {200, 206}
            return None
        try:
            version = Version.of(content).accept(session, response, resumed=False)
            return _read_parts(response, boundary, spans, version)
        except (ConnectionFailedError, DeadlineError, ProtocolError, ValueError):
            return None


class _Body(io.RawIOBase):
    """The body of an response, as `io.BufferedReader` wants it."""

    def __init__(self, response: StreamedResponse) -> None:
        self._response = response

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        return self._response.readinto(memoryview(buffer).cast("B"))


def _read_parts(
    response: StreamedResponse, boundary: str, spans: Sequence[tuple[int, int]], version: Version
) -> list[bytes]:
    parts = Parts(io.BufferedReader(_Body(response)), boundary)
    found = []
    for start, stop in spans:
        came = parse_content_range(parts.begin().get("content-range"))
        if came is None or (came.start, came.stop) != (start, stop):
            raise version.protocol_error(f"the response does not have the bytes from {start} to {stop}")
        version = version.with_size(came.total)
        found.append(parts.read(stop - start))
    parts.end()
    return found
