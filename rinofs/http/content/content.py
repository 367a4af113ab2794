"""Reading content: pinned to one version, resumed after a lost connection, never truncated."""

from __future__ import annotations

import io
import os
import time
import traceback
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from rinofs.errors import (
    ConnectionFailedError,
    ContentChangedError,
    DeadlineError,
    ProtocolError,
    ServiceError,
)
from rinofs.http.connection.response import etag_header, is_web_page, web_page_message
from rinofs.http.content.byteranges import parse_content_range, range_header
from rinofs.http.session.retry import MAX_TRIES, pause_after

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from _typeshed import WriteableBuffer

    from rinofs.errors import RinofsError
    from rinofs.http.connection.response import StreamedResponse
    from rinofs.http.session.session import HttpSession

    Elsewhere = Callable[["Content", "RinofsError"], "tuple[HttpSession, Content] | None"]

PIECE = 2 * 1024 * 1024
"""Maximum number of bytes per read: fewer reads and turns of the hashing thread, at no cost in memory."""

_PROGRESS = 1024  # fewer bytes than this between two lost connections do not count as progress


@dataclass(frozen=True, slots=True)
class Content:
    """A content to read.

    Attributes
    ----------
    path : str
        Path below the endpoint, percent-encoded.
    params : tuple of (str, str)
        Query parameters.
    label : str
        Name for messages, such as ``rino://exp1/a.csv``.
    size : int, optional
        Size in bytes, if known.
    etag : str, optional
        Version to read, if known.
    conditional : bool
        Whether the server supports ``If-Match`` with this etag.
    version_of : callable
        Returns the version that a response's headers name, or None.
    vouched : mapping
        Headers that hold for every response, according to whoever provided this content.
    elsewhere : callable, optional
        Called when the content cannot be read any more, with the content and the error. Returns a session and
        a content by which the same version can be read instead, or None.
    """

    path: str
    params: tuple[tuple[str, str], ...]
    label: str
    size: int | None = None
    etag: str | None = None
    conditional: bool = False
    version_of: Callable[[Mapping[str, str]], str | None] = etag_header
    vouched: Mapping[str, str] = field(default_factory=dict)
    elsewhere: Elsewhere | None = field(default=None, repr=False, compare=False)


class BrokenReadError(ConnectionFailedError):
    """The connection was lost, and nothing ensures that the rest would be of the same version."""


class UnsizedError(ProtocolError):
    """The range counts from the end, but the size is not known, or not of which version it is."""


@dataclass(frozen=True, slots=True)
class Version:
    """What the responses so far say about one version of a content; immutable.

    Attributes
    ----------
    content : Content
        Content to read.
    size : int or None
        Size of the whole content in bytes, if known.
    etag : str or None
        Version, if a response named it.
    pin : str or None
        Version that all further responses must have; None until one was named.
    has_ranges : bool
        Whether the service supports ranges that are bound to this version.
    """

    content: Content
    size: int | None
    etag: str | None
    pin: str | None
    has_ranges: bool

    @classmethod
    def of(cls, content: Content) -> Version:
        """Return the version before the first response."""
        return cls(content, content.size, content.etag, None, content.conditional)

    def accept(self, session: HttpSession, response: StreamedResponse, *, resumed: bool) -> Version:
        """Return the version updated by a response.

        Refuses a response that is encoded, is a web page, or has another version.

        Parameters
        ----------
        session : HttpSession
            Redacts quoted text.
        response : StreamedResponse
            Response.
        resumed : bool
            Whether its bytes continue those of an earlier response.
        """
        content = self.content
        encoding = response.headers.get("content-encoding", "identity")
        if encoding.lower() != "identity":
            shown = session.shown(encoding)
            raise self.protocol_error(f"the content is encoded ({shown}), which was not requested")
        named = content.version_of(response.headers)
        if response.foreign:
            # An object store after a redirect has etags of its own, which are comparable only with each
            # other.
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
        """Return the version with a response's size; raises an error if it contradicts the known size."""
        if size is None or size == self.size:
            return self
        if self.size is not None:
            message = f"the response has {size} bytes, but the record says {self.size}; try again"
            raise self.protocol_error(message)
        return replace(self, size=size)

    def ends_at(self, position: int, total: int | None) -> Version:
        """Return the version after a 416: no bytes at `position`, `total` bytes altogether."""
        known = self.size
        if known is not None and total != known and (total is not None or position < known):
            raise self.changed(f"it has {total} bytes now, not {known}")
        if total is not None and max(position, 0) < total:
            raise self.protocol_error(f"the service refused the bytes from {position} of {total}")
        return replace(self, size=total if total is not None else max(position, 0))

    def changed(self, reason: str) -> ContentChangedError:
        """Return the error for a content that was replaced."""
        message = f"the content was replaced while it was read: {reason}; open it again"
        return ContentChangedError(message, self.content.label)

    def not_resumable(self, where: str) -> BrokenReadError:
        """Return the error for a lost connection after which the rest may be of another version."""
        reason = f"the connection broke{where}, and the service names no version for the rest of it to match"
        return BrokenReadError(f"{reason}; read it again", self.content.label)

    def protocol_error(self, reason: str) -> ProtocolError:
        """Return the error for a response that does not match the request."""
        return ProtocolError(reason, self.content.label)

    def _is_vouched_for(self, response: StreamedResponse, named: str | None) -> bool:
        """Return whether headers confirm that a web page is the content itself, not an error page."""
        sized = self.content.size is not None and response.length == self.content.size
        return (
            named is not None or response.status == 206 or sized or "content-disposition" in response.headers
        )


class ContentStream(io.RawIOBase):
    """The bytes [start, stop) of one version, from `open_content`; ends exactly at its stop, or raises.

    Attributes
    ----------
    headers : Mapping
        Headers of the first response; empty if no request was needed.
    position : int
        Offset of the next byte in the content.
    session : HttpSession
        Sends the requests.
    """

    def __init__(self, session: HttpSession, content: Content, start: int, stop: int | None) -> None:
        super().__init__()
        self.headers: Mapping[str, str] = {}
        self.position = start
        self.session = session
        self._version = Version.of(content)
        self._first = start
        self._stop = stop
        self._response: StreamedResponse | None = None
        self._body_stop: int | None = None
        self._requested_at = start
        self._requested_since = time.monotonic()
        self._doubted = -1
        self._failures = 0
        self._refused = 0
        self._pid = os.getpid()

    @property
    def size(self) -> int | None:
        """Size of the whole content in bytes, if known."""
        return self._version.size

    @property
    def etag(self) -> str | None:
        """Version, if a response named it."""
        return self._version.etag

    @property
    def in_parts(self) -> Content | None:
        """The pinned version if the service supports ranges that are bound to it, else None."""
        version = self._version
        if not version.has_ranges or version.pin is None or version.size is None or self.session.no_ranges:
            return None
        return replace(version.content, etag=version.pin, size=version.size)

    def move(self, start: int, stop: int) -> None:
        """Go on with the bytes [start, stop) of the same version, as a slice, by another request.

        Raises
        ------
        ContentChangedError
            If the content was replaced since the first response.
        UnsizedError
            If the service did not send the size, or named no version to compare the next response with.
        """
        self._release()
        if self.size is None or self._version.pin is None:
            label = self._version.content.label
            raise UnsizedError("the service sent no size to count from, or no version", label)
        start, stop, _ = slice(start, stop).indices(self.size)
        self.position = self._first = self._requested_at = start
        self._stop, self._body_stop = max(start, stop), None
        self.connect()

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read into `buffer`; returns 0 only at the stop.

        Raises
        ------
        ContentChangedError
            If the content was replaced during the read.
        ConnectionFailedError, DeadlineError
            If the connection was lost or stalled, and requesting the rest failed or could have mixed two
            versions.
        """
        view = memoryview(buffer).cast("B")
        while len(view) and not self._at_end():
            if self._response is None or self._pid != os.getpid():
                self.connect()
                continue
            end = self._body_stop if self._body_stop is not None else self._end()
            room = view if end is None else view[: end - self.position]
            try:
                count = self._response.readinto(room)
            except (ConnectionFailedError, DeadlineError) as error:
                self._lost(error)
                continue
            self.position += count
            if self._at_end():
                self._arrive()
            if count:
                return count
            self._body_ended()
        return 0

    def read(self, size: int = -1, /) -> bytes:
        """Read exactly `size` bytes, fewer only at the stop; the rest if negative."""
        return self._read(None if size < 0 else size)

    def read_whole(
        self, seen: Callable[[memoryview], object] | None = None, settle: Callable[[], object] | None = None
    ) -> bytes:
        """Read the rest into one buffer.

        `seen` is called with each piece. A piece is not changed until `settle` returns; it must be released
        by then.
        """
        return self._read(None, seen, settle)

    def close(self) -> None:
        """Release the connection."""
        self._release()
        super().close()

    def connect(self) -> None:
        """Request the rest until a response contains its first byte."""
        self._pid, self._response = os.getpid(), None
        while self._response is None and not (self.position >= 0 and self._at_end()):
            try:
                response, ranged = self._request()
            except (ConnectionFailedError, DeadlineError, ServiceError) as error:
                self._relocate(error)
                continue
            try:
                self._accept(response, ranged=ranged)
            except BrokenReadError:
                response.close()
                raise
            except (ConnectionFailedError, DeadlineError) as error:
                self._lost(error)
            except ProtocolError:
                response.close()
                self._refused += 1
                if self._refused > 1:
                    raise
            except BaseException:
                response.close()
                raise

    def _request(self) -> tuple[StreamedResponse, bool]:
        """Request the rest; returns the response, and whether a range was requested."""
        content = self._version.content
        headers: dict[str, str] = {}
        whole = self.position == 0 and (self._stop is None or self._stop == self.size)
        if not whole and not self.session.no_ranges:
            headers["Range"] = range_header(self.position, self._stop)
        if content.conditional and content.etag is not None:
            headers["If-Match"] = f'"{content.etag}"'
        response = self.session.stream(
            content.path,
            params=content.params,
            headers=headers,
            expect=(200, 206, 412, 416),
            label=content.label,
        )
        return response, "Range" in headers

    def _end(self) -> int | None:
        if self._stop is None or self.size is None:
            return self.size if self._stop is None else self._stop
        return min(self._stop, self.size)

    def _at_end(self) -> bool:
        return (end := self._end()) is not None and self.position >= end

    def _accept(self, response: StreamedResponse, *, ranged: bool) -> None:
        """Check a response, and skip to the current position."""
        if response.status == 412:
            raise self._version.changed("the file was replaced while it was being read")
        if response.status == 416:
            part = parse_content_range(response.headers.get("content-range"))
            response.read_start(PIECE)
            self._version = self._version.ends_at(self.position, None if part is None else part.total)
            self.position = max(self.position, 0)
            return
        resumed = self.position != self._first
        self._version = self._version.accept(self.session, response, resumed=resumed)
        if response.status == 206:
            self._accept_part(response)
        else:
            self._accept_all(response, ranged=ranged)
        if not self.headers:
            vouched = self._version.content.vouched
            self.headers = {**response.headers, **vouched} if vouched else response.headers
        self._requested_at, self._requested_since = self.position, time.monotonic()
        self._response = response
        if self._at_end():
            self._release()

    def _accept_part(self, response: StreamedResponse) -> None:
        value = response.headers.get("content-range", "")
        part = parse_content_range(value)
        if part is None or part.start is None or part.stop is None:
            shown = self.session.shown(value)
            raise self._version.protocol_error(f"a partial response without a valid Content-Range ({shown})")
        self._version = self._version.with_size(part.total)
        if self.position < 0:
            self._place_from_end()
        end = self._end()
        too_far = end is not None and part.stop > end
        if part.start != self.position or too_far or response.length not in {None, part.stop - part.start}:
            raise self._version.protocol_error(
                f"requested the bytes from {self.position} to {end}, the response says"
                f" {part.start} to {part.stop} in a body of {response.length}"
            )
        self._body_stop = part.stop

    def _accept_all(self, response: StreamedResponse, *, ranged: bool) -> None:
        """Use a response with the whole content, skipping the bytes before the current position."""
        self._version = self._version.with_size(response.length)
        if self.position < 0:
            self._place_from_end()
        if ranged and self.position:
            self.session.no_ranges = True
        self._body_stop = self.size
        scratch = memoryview(bytearray(min(self.position, PIECE)))
        left = self.position if not self._at_end() else 0
        while left:
            count = response.readinto(scratch[:left])
            left -= count
            if not count:
                self._version = replace(self._version, size=self.position - left)
                left = 0

    def _place_from_end(self) -> None:
        if self.size is None:
            raise UnsizedError("the service sent no size to count from", self._version.content.label)
        self.position = self._first = max(self.size + self.position, 0)

    def _lost(self, error: ConnectionFailedError | DeadlineError) -> None:
        """Count a lost connection and wait before the next request, or give up."""
        self._release()
        if self.position - self._requested_at >= _PROGRESS:
            self._failures = 0
            self._requested_at, self._requested_since = self.position, time.monotonic()
        elif time.monotonic() - self._requested_since > self.session.limits.total:
            self._relocate(error)
            return
        self._failures += 1
        if self._failures >= MAX_TRIES:
            self._relocate(error)
            return
        if self.position != self._first and self._version.pin is None:
            if isinstance(error, DeadlineError):
                raise error
            raise self._version.not_resumable(f" at byte {self.position}") from error
        time.sleep(pause_after(self._failures, self.session.limits))

    def _relocate(self, error: ConnectionFailedError | DeadlineError | ServiceError) -> None:
        """Go on with the same version in another place, or raise the error if there is none."""
        content = self._version.content
        found = None if content.elsewhere is None else content.elsewhere(content, error)
        if found is None:
            raise error
        self.session, content = found
        self._version = Version.of(replace(content, size=self.size))
        self._failures = self._refused = 0
        self._requested_at, self._requested_since = self.position, time.monotonic()

    def _body_ended(self) -> None:
        """Handle a body that ends before the stop."""
        if self._body_stop is None:
            # A body without a length may have been truncated: request the following bytes once. If there are
            # none, this is the end.
            sure = self._response is None or self._response.framed or self._version.pin is None
            if sure or self._doubted == self.position:
                self._version = replace(self._version, size=self.position)
            self._doubted = self.position
            self._release()
        elif self.position < self._body_stop or self.position == self._requested_at:
            reason = f"the response ended at byte {self.position}"
            self._lost(ConnectionFailedError(reason, self._version.content.label))
        else:
            self._release()  # the response was shorter than requested, and says so: request the rest

    def _arrive(self) -> None:
        """Handle the stop: a body without a length must end where the content does."""
        response = self._response
        try:
            unframed = response is not None and response.length is None and self.position == self._body_stop
            if response is not None and unframed and response.readinto(memoryview(bytearray(1))):
                raise self._version.protocol_error(f"the response goes on beyond byte {self.position}")
        except (ConnectionFailedError, DeadlineError):
            pass  # everything requested has been received
        finally:
            self._release()

    def _read(
        self,
        size: int | None,
        seen: Callable[[memoryview], object] | None = None,
        settle: Callable[[], object] | None = None,
    ) -> bytes:
        end = self._end()
        if end is not None:
            left = max(end - self.position, 0)
            return self._fill(left if size is None else min(size, left), seen, settle)
        pieces: list[bytes] = []
        count = 0
        while size is None or count < size:
            piece = self._fill(PIECE if size is None else min(size - count, PIECE), seen, None)
            if not piece:
                break
            pieces.append(piece)
            count += len(piece)
        if settle is not None:
            settle()
        return b"".join(pieces)

    def _fill(
        self, size: int, seen: Callable[[memoryview], object] | None, settle: Callable[[], object] | None
    ) -> bytes:
        # BytesIO returns the bytes object that it was created from if nothing else refers to it. It can
        # therefore be filled in place and returned without a copy.
        store = io.BytesIO(bytes(size))
        filled = 0
        try:
            with store.getbuffer() as view:
                while filled < size and (count := self.readinto(view[filled : filled + PIECE])):
                    if seen is not None:
                        seen(view[filled : filled + count])
                    filled += count
        except BaseException as error:
            _forget_locals(error)
            raise
        if settle is not None:
            settle()  # a remaining view of a piece would force a copy of the buffer here
        return store.getvalue()[:filled]  # no copy if it is full

    def _release(self) -> None:
        response, self._response = self._response, None
        if response is not None:
            response.close()


def _forget_locals(error: BaseException) -> None:
    """Clear the variables of the functions that an error has left, which hold views of a buffer.

    Python before 3.11.9 and 3.12.3 crashes if such a view is garbage-collected together with its BytesIO
    (https://github.com/python/cpython/issues/111049).
    """
    waiting: list[BaseException | None] = [error]
    known: set[int] = set()
    while waiting:
        one = waiting.pop()
        if one is not None and id(one) not in known:
            known.add(id(one))
            traceback.clear_frames(one.__traceback__)
            waiting += [one.__cause__, one.__context__]


def open_content(
    session: HttpSession, content: Content, start: int = 0, stop: int | None = None
) -> ContentStream:
    """Open the bytes [start, stop) of `content` as a stream.

    The request is sent at once, unless the range is empty.

    Parameters
    ----------
    session : HttpSession
        Sends the requests.
    content : Content
        Content to read.
    start : int
        First byte; if negative (without `stop`), counted from the end.
    stop : int, optional
        End of the range; None or a larger value means the end of the content.

    Raises
    ------
    ContentChangedError
        If the version is not the one in `content`.
    ProtocolError
        If the response is not what was requested: a web page, encoded, another range or size.
    RinofsError
        As raised by `HttpSession.request`.
    """
    stream = ContentStream(session, content, start, stop)
    stream.connect()
    return stream
