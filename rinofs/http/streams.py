"""A content as it arrives: checked, pinned to one version, resumed."""

from __future__ import annotations

import io
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rinofs.errors import ConnectionFailedError, ContentChangedError, DeadlineError, ProtocolError
from rinofs.http.answers import is_web_page, web_page_message
from rinofs.http.ranges import parse_content_range, range_header
from rinofs.http.retry import MAX_TRIES, pause_after

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from _typeshed import WriteableBuffer

    from rinofs.http.raw import RawAnswer
    from rinofs.http.session import HttpSession

_PROGRESS = 1024  # fewer bytes than this since the last break are none

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


class ContentStream(io.RawIOBase):
    """The bytes [start, stop) of one version of a content; ends exactly at its stop, or raises.

    Made by `open_content`.

    Attributes
    ----------
    headers : Mapping
        Headers of the first answer; empty where nothing had to be asked.
    size : int or None
        Bytes of the whole content, where anyone said.
    etag : str or None
        The version, where anyone said.
    position : int
        Where in the content the next byte is.
    """

    def __init__(self, session: HttpSession, content: Content, start: int, stop: int | None) -> None:
        super().__init__()
        self.headers: Mapping[str, str] = {}
        self.size = content.size
        self.etag = content.etag
        self.position = start
        self._session = session
        self._content = content
        self._first = start
        self._stop = stop
        self._pin: str | None = None
        self._raw: RawAnswer | None = None
        self._body_stop: int | None = None
        self._asked_at = start
        self._asked_since = time.monotonic()
        self._doubted = -1
        self._failures = 0
        self._misfits = 0
        self._pid = os.getpid()

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill `buffer` as far as the content goes; 0 only at its stop.

        Raises
        ------
        ContentChangedError
            If the content was replaced meanwhile.
        ConnectionFailedError, DeadlineError
            If the connection broke or stalled, and asking for the rest did not help or could have mixed
            two versions.
        """
        view = memoryview(buffer).cast("B")
        while len(view) and not self._at_end():
            if self._raw is None or self._pid != os.getpid():
                self.connect()
                continue
            end = self._body_stop if self._body_stop is not None else self._end()
            room = view if end is None else view[: end - self.position]
            try:
                count = self._raw.readinto(room)
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
        """Read exactly `size` bytes, fewer only at the stop; all that is left where negative."""
        if size < 0:
            return self.read_whole()
        if self._end() is None and size > PIECE:
            return self._read_unsized(size, None)
        return self._fill(size, None)

    def readall(self) -> bytes:
        """Read all that is left, into one buffer."""
        return self.read_whole()

    def read_whole(
        self,
        seen: Callable[[memoryview], object] | None = None,
        settle: Callable[[], object] | None = None,
    ) -> bytes:
        """Read all that is left, into one buffer.

        `seen` takes each piece of it, which stays as it is until `settle` returns, and must be let go of
        by then.
        """
        end = self._end()
        if end is not None:
            return self._fill(max(end - self.position, 0), seen, settle)
        data = self._read_unsized(None, seen)
        if settle is not None:
            settle()
        return data

    def close(self) -> None:
        """Let go of the connection."""
        self._release()
        super().close()

    def connect(self) -> None:
        """Ask for what is left, until an answer brings it from its first byte on."""
        self._pid, self._raw = os.getpid(), None
        while self._raw is None and not (self.position >= 0 and self._at_end()):
            headers = self._request_headers()
            raw = self._session.stream(
                self._content.path,
                params=self._content.params,
                headers=headers,
                expect=(200, 206, 412, 416),
                label=self._content.label,
            )
            try:
                self._accept(raw, ranged="Range" in headers)
            except BrokenReadError:
                raw.close()
                raise
            except (ConnectionFailedError, DeadlineError) as error:
                self._lost(error)
            except ProtocolError:
                raw.close()
                self._misfits += 1
                if self._misfits > 1:
                    raise
            except BaseException:
                raw.close()
                raise

    def _end(self) -> int | None:
        if self._stop is None or self.size is None:
            return self.size if self._stop is None else self._stop
        return min(self._stop, self.size)

    def _at_end(self) -> bool:
        end = self._end()
        return end is not None and self.position >= end

    def _request_headers(self) -> dict[str, str]:
        headers: dict[str, str] = {}
        whole = self.position == 0 and (self._stop is None or self._stop == self.size)
        if not whole and not self._session.no_ranges:
            headers["Range"] = range_header(self.position, self._stop)
        if self._content.conditional and self._content.etag is not None:
            headers["If-Match"] = f'"{self._content.etag}"'
        return headers

    def _accept(self, raw: RawAnswer, *, ranged: bool) -> None:
        """Check an answer and go to its byte at the position."""
        if raw.status == 412:
            raise self._changed("the service has another version now")
        if raw.status == 416:
            self._accept_nothing(raw)
            return
        encoding = raw.headers.get("content-encoding", "identity")
        if encoding.lower() != "identity":
            raise self._misfit(
                f"the content came encoded ({self._session.shown(encoding)}), which was not asked for"
            )
        self._check_version(raw)
        if raw.status == 206:
            self._accept_part(raw)
        else:
            self._accept_all(raw, ranged=ranged)
        self.headers = self.headers or raw.headers
        self._asked_at, self._asked_since = self.position, time.monotonic()
        self._raw = raw
        if self._at_end():
            self._release()

    def _check_version(self, raw: RawAnswer) -> None:
        content = self._content
        named = content.version_of(raw.headers)
        if raw.foreign:
            # An object store names its own versions: they can be compared with each other only.
            named = named or etag_header(raw.headers)
        expected = self._pin or (None if raw.foreign else content.etag)
        if named is not None and expected is not None and named != expected:
            raise self._changed(
                f"it is version {self._session.shown(named)} now, not {self._session.shown(expected)}"
            )
        asked_for = content.conditional and content.etag is not None and not raw.foreign
        if named is None and self.position != self._first and not asked_for:
            raise self._not_resumable()
        sized = content.size is not None and raw.length == content.size
        vouched = named is not None or raw.status == 206 or sized or "content-disposition" in raw.headers
        if is_web_page(raw.headers) and not vouched:
            raise self._misfit(web_page_message(raw.status))
        self._pin = self._pin or named or (content.etag if asked_for else None)
        self.etag = self.etag or named

    def _accept_part(self, raw: RawAnswer) -> None:
        part = parse_content_range(raw.headers.get("content-range"))
        if part is None or part.start is None or part.stop is None:
            shown = self._session.shown(raw.headers.get("content-range", "none"))
            raise self._misfit(f"a partial answer without a usable Content-Range ({shown})")
        self._set_size(part.total)
        if self.position < 0:
            self._place_from_end()
        end = self._end()
        too_far = end is not None and part.stop > end
        if part.start != self.position or too_far or raw.length not in {None, part.stop - part.start}:
            raise self._misfit(
                f"asked for the bytes from {self.position} to {end}, the answer says"
                f" {part.start} to {part.stop} in a body of {raw.length}"
            )
        self._body_stop = part.stop

    def _accept_all(self, raw: RawAnswer, *, ranged: bool) -> None:
        """Take a whole content from the position on, reading over what is before."""
        self._set_size(raw.length)
        if self.position < 0:
            self._place_from_end()
        if ranged and self.position:
            self._session.no_ranges = True
        self._body_stop = self.size
        scratch = memoryview(bytearray(min(self.position, PIECE)))
        left = self.position if not self._at_end() else 0
        while left:
            count = raw.readinto(scratch[:left])
            left -= count
            if not count:
                self.size = self.position - left
                left = 0

    def _accept_nothing(self, raw: RawAnswer) -> None:
        """Take a 416: there is nothing at the position."""
        part = parse_content_range(raw.headers.get("content-range"))
        raw.read_start(PIECE)
        total = None if part is None else part.total
        known = self.size
        if known is not None and total != known and (total is not None or self.position < known):
            raise self._changed(f"it has {total} bytes now, not {known}")
        if total is not None and max(self.position, 0) < total:
            raise self._misfit(f"the service refused the bytes from {self.position} of {total}")
        self.size = total if total is not None else max(self.position, 0)
        self.position = max(self.position, 0)

    def _place_from_end(self) -> None:
        if self.size is None:
            raise self._misfit("the service says no size, so nothing counts from the end; read it whole")
        self.position = self._first = max(self.size + self.position, 0)

    def _set_size(self, size: int | None) -> None:
        if size is None:
            return
        if self.size is not None and self.size != size:
            raise self._misfit(f"the answer is of {size} bytes, the record says {self.size}; look again")
        self.size = size

    def _lost(self, error: ConnectionFailedError | DeadlineError) -> None:
        """Count a break and wait before asking again, or give up."""
        self._release()
        if self.position - self._asked_at >= _PROGRESS:
            self._failures = 0
            self._asked_at, self._asked_since = self.position, time.monotonic()
        elif time.monotonic() - self._asked_since > self._session.limits.total:
            raise error
        self._failures += 1
        if self._failures >= MAX_TRIES:
            raise error
        pinned = self._pin is not None
        if self.position != self._first and not pinned:
            raise error if isinstance(error, DeadlineError) else self._not_resumable() from error
        time.sleep(pause_after(self._failures, self._session.limits))

    def _body_ended(self) -> None:
        """Take the end of a body before the stop."""
        if self._body_stop is None:
            # A body that nothing frames may have been cut off: what is after it is asked for once, and
            # taken for the end if there is nothing.
            sure = self._raw is None or self._raw.framed or self._pin is None
            if sure or self._doubted == self.position:
                self.size = self.position
            self._doubted = self.position
            self._release()
        elif self.position < self._body_stop or self.position == self._asked_at:
            self._lost(
                ConnectionFailedError(f"the answer ended at byte {self.position}", self._content.label)
            )
        else:
            self._release()  # the service gave less than was asked for, and says so: ask for the rest

    def _arrive(self) -> None:
        """Take the stop: a body that is framed by nothing must end where the content does."""
        raw = self._raw
        unframed = raw is not None and raw.length is None and self.position == self._body_stop
        try:
            if raw is not None and unframed and raw.readinto(memoryview(bytearray(1))):
                raise self._misfit(f"the answer goes on beyond byte {self.position}")
        except (ConnectionFailedError, DeadlineError):
            pass  # all that was asked for is there
        finally:
            self._release()

    def _fill(
        self,
        size: int,
        seen: Callable[[memoryview], object] | None,
        settle: Callable[[], object] | None = None,
    ) -> bytes:
        end = self._end()
        if end is not None:
            size = min(size, max(end - self.position, 0))
        # BytesIO hands out the bytes object that it was made from, and nobody else has it: so it can be
        # filled in place, and what is returned is no copy.
        store = io.BytesIO(bytes(size))
        filled = 0
        with store.getbuffer() as view:
            while filled < size and (count := self.readinto(view[filled : filled + PIECE])):
                if seen is not None:
                    seen(view[filled : filled + count])
                filled += count
        if settle is not None:
            settle()  # a piece that somebody still looked at would make a copy of all of it here
        data = store.getvalue()
        return data if filled == size else data[:filled]

    def _read_unsized(self, size: int | None, seen: Callable[[memoryview], object] | None) -> bytes:
        """Read at most `size` bytes where nobody has said how many there are."""
        pieces: list[bytes] = []
        count = 0
        while size is None or count < size:
            piece = self._fill(PIECE if size is None else min(size - count, PIECE), seen)
            if not piece:
                break
            pieces.append(piece)
            count += len(piece)
        return b"".join(pieces)

    def _release(self) -> None:
        raw, self._raw = self._raw, None
        if raw is not None:
            raw.close()

    def _changed(self, reason: str) -> ContentChangedError:
        return ContentChangedError(
            f"the content was replaced while it was read: {reason}; open it again", self._content.label
        )

    def _not_resumable(self) -> BrokenReadError:
        return BrokenReadError(
            f"the connection broke at byte {self.position}, and the service names no version by which the"
            " rest could be trusted to belong to it; read it again",
            self._content.label,
        )

    def _misfit(self, reason: str) -> ProtocolError:
        return ProtocolError(reason, self._content.label)
