"""Contents in memory: one slice, or several ranges in one response (RFC 9110, sections 14.2 and 14.6)."""

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

_TOO_MUCH = frozenset({400, 500, 501})  # the server does not understand a Range header with several ranges


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
        Range, as in a slice: negative numbers count from the end.
    verify : bool
        Whether to compare a whole content with the digest that the service sends.

    Raises
    ------
    ContentMismatchError
        If the digest differs.
    RinofsError
        As raised by `open_content`.
    """
    whole = start == 0 and stop is None
    for tries_left in reversed(range(MAX_TRIES)):
        try:
            with _open_slice(session, content, start, stop) as stream:
                return _read_all(stream, content, verify=verify and whole)
        except UnsizedError:
            return read_content(session, content, verify=verify)[start:stop]
        except BrokenReadError:
            # Nothing has been returned yet, so start again.
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
    stream = open_content(session, content)  # only to learn the size, and of which version it is
    try:
        stream.move(start, stop)
    except BaseException:
        stream.close()
        raise
    return stream


def _read_all(stream: ContentStream, content: Content, *, verify: bool) -> bytes:
    if not verify:
        return stream.read()
    # A hashing thread would reach a piece after it has left the processor's cache: a tenth slower.
    verifier = Verifier.for_response(
        stream.headers, stream.etag or content.etag, stream.size, label=content.label, passing=True
    )
    try:
        return stream.read_whole(lambda piece: verifier.feed(piece, stable=True), verifier.finish)
    finally:
        verifier.abandon()


def read_spans(session: HttpSession, content: Content, spans: Sequence[tuple[int, int]]) -> list[bytes]:
    """Read several ranges of one version of a content, with one request if the server supports it.

    Parameters
    ----------
    session : HttpSession
        Sends the requests.
    content : Content
        Content to read. One request for all ranges is tried only if the server binds ranges to a known
        version.
    spans : sequence of (int, int)
        Start and stop of each range, within the content and not empty.

    Returns
    -------
    list of bytes
        Bytes of each range.

    Raises
    ------
    ContentChangedError
        If the version no longer exists.
    RinofsError
        As raised by `read_content`, which requests the ranges one by one if the single response is not as
        expected.
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
    """The body of a response, as `io.BufferedReader` requires it."""

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
