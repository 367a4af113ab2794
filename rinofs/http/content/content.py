"""Reading content: pinned to one version, resumed where it breaks, never short."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rinofs.http.content.sources import BrokenReadError, Content, UnsizedError, etag_header
from rinofs.http.content.streams import ContentStream
from rinofs.http.content.verify import Verifier
from rinofs.http.session.retry import MAX_TRIES

if TYPE_CHECKING:
    from collections.abc import Callable

    from rinofs.http.session.session import HttpSession

__all__ = ["Content", "ContentStream", "etag_header", "open_content", "pour", "read_content"]


def open_content(
    session: HttpSession, content: Content, start: int = 0, stop: int | None = None
) -> ContentStream:
    """Start reading the bytes [start, stop) of `content`.

    The request is sent now, unless it is plain that there is nothing to read.

    Parameters
    ----------
    session : HttpSession
        Where to send it.
    content : Content
        What to read.
    start : int
        First byte; negative (with no `stop`): this many from the end.
    stop : int, optional
        Byte to end before; the end of the content where None or beyond it.

    Raises
    ------
    ContentChangedError
        If the version is not the one that `content` names.
    ProtocolError
        If the answer is not what was asked for: a web page, encoded, another range, another size.
    RinofsError
        And all that `HttpSession.request` raises.
    """
    stream = ContentStream(session, content, start, stop)
    stream.connect()
    return stream


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
            # Nothing was handed out yet, so here it can begin anew.
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
        raise UnsizedError("the service says no size to count from the end", content.label)
    start, stop, _ = slice(start, stop).indices(size)
    return open_content(session, content, start, max(start, stop))


def _read_all(stream: ContentStream, content: Content, *, verify: bool) -> bytes:
    if not verify:
        return stream.readall()
    verifier = Verifier.for_answer(
        stream.headers, stream.etag or content.etag, stream.size, label=content.label
    )
    try:
        return stream.read_whole(lambda piece: verifier.feed(piece, stable=True), verifier.finish)
    finally:
        verifier.abandon()


def pour(
    stream: ContentStream,
    write: Callable[[memoryview], object],
    verifier: Verifier,
    goes_on: Callable[[int, float], bool] | None = None,
) -> int:
    """Pass all that is left of a stream on, through a few reused buffers, and verify it.

    Parameters
    ----------
    stream : ContentStream
        What to read, from where it stands.
    write : callable
        Takes each piece, whole, before the next is read; must not keep it.
    verifier : Verifier
        Is fed each piece, and finished at the end of the stream.
    goes_on : callable, optional
        Takes the bytes of each piece and the seconds that were spent waiting for it; says whether to go on.
        If not, the rest is the caller's, and so is the verifier.

    Returns
    -------
    int
        Bytes passed on.
    """
    count = 0
    try:
        while True:
            buffer = verifier.buffer()
            began, computed = time.perf_counter(), time.thread_time()
            if not (got := stream.readinto(buffer)):
                break
            waited = time.perf_counter() - began - (time.thread_time() - computed)
            piece = buffer[:got]
            verifier.feed(piece)
            write(piece)
            count += got
            if goes_on is not None and not goes_on(got, waited):
                return count
        verifier.finish()
    except BaseException:
        verifier.abandon()
        raise
    return count
