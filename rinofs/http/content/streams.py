"""A content as it arrives: checked, pinned to one version, resumed."""

from __future__ import annotations

import io
import os
import time
from typing import TYPE_CHECKING

from rinofs.errors import ConnectionFailedError, DeadlineError, ProtocolError
from rinofs.http.content.sources import PIECE, BrokenReadError, Source, UnsizedError
from rinofs.http.session.retry import MAX_TRIES, pause_after

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from _typeshed import WriteableBuffer

    from rinofs.http.connection.response import StreamedResponse
    from rinofs.http.content.sources import Content
    from rinofs.http.session.session import HttpSession

_PROGRESS = 1024  # fewer bytes than this since the last break are none


class ContentStream(io.RawIOBase):
    """The bytes [start, stop) of one version, by `open_content`; ends exactly at its stop, or raises.

    Attributes
    ----------
    headers : Mapping
        Headers of the first answer; empty where nothing had to be asked.
    position : int
        Where in the content the next byte is.
    """

    def __init__(self, session: HttpSession, content: Content, start: int, stop: int | None) -> None:
        super().__init__()
        self.headers: Mapping[str, str] = {}
        self.position = start
        self._source = Source(session, content)
        self._first = start
        self._stop = stop
        self._raw: StreamedResponse | None = None
        self._body_stop: int | None = None
        self._asked_at = start
        self._asked_since = time.monotonic()
        self._doubted = -1
        self._failures = 0
        self._misfits = 0
        self._pid = os.getpid()

    @property
    def size(self) -> int | None:
        """Bytes of the whole content, where anyone said."""
        return self._source.size

    @property
    def etag(self) -> str | None:
        """The version, where anyone said."""
        return self._source.etag

    @property
    def in_parts(self) -> Content | None:
        """The version, where the service brings parts of it and of no other; else None."""
        return self._source.in_parts

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
        unsized = self._end() is None and size > PIECE
        return self._read_unsized(size, None) if unsized else self._fill(size, None)

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
            raw, ranged = self._source.ask(self.position, self._stop)
            try:
                self._accept(raw, ranged=ranged)
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
        return (end := self._end()) is not None and self.position >= end

    def _accept(self, raw: StreamedResponse, *, ranged: bool) -> None:
        """Check an answer and go to its byte at the position."""
        if raw.status == 412:
            raise self._source.changed("the service has another version now")
        if raw.status == 416:
            self._source.nothing_at(self.position, raw)
            self.position = max(self.position, 0)
            return
        self._source.check(raw, resumed=self.position != self._first)
        if raw.status == 206:
            self._accept_part(raw)
        else:
            self._accept_all(raw, ranged=ranged)
        self.headers = self.headers or raw.headers
        self._asked_at, self._asked_since = self.position, time.monotonic()
        self._raw = raw
        if self._at_end():
            self._release()

    def _accept_part(self, raw: StreamedResponse) -> None:
        start, stop = self._source.part_of(raw)
        if self.position < 0:
            self._place_from_end()
        end = self._end()
        too_far = end is not None and stop > end
        if start != self.position or too_far or raw.length not in {None, stop - start}:
            raise self._source.misfit(
                f"asked for the bytes from {self.position} to {end}, the answer says"
                f" {start} to {stop} in a body of {raw.length}"
            )
        self._body_stop = stop

    def _accept_all(self, raw: StreamedResponse, *, ranged: bool) -> None:
        """Take a whole content from the position on, reading over what is before."""
        self._source.set_size(raw.length)
        if self.position < 0:
            self._place_from_end()
        if ranged and self.position:
            self._source.session.no_ranges = True
        self._body_stop = self.size
        scratch = memoryview(bytearray(min(self.position, PIECE)))
        left = self.position if not self._at_end() else 0
        while left:
            count = raw.readinto(scratch[:left])
            left -= count
            if not count:
                self._source.size = self.position - left
                left = 0

    def _place_from_end(self) -> None:
        if self.size is None:
            raise UnsizedError("the service says no size to count from the end", self._source.content.label)
        self.position = self._first = max(self.size + self.position, 0)

    def _lost(self, error: ConnectionFailedError | DeadlineError) -> None:
        """Count a break and wait before asking again, or give up."""
        self._release()
        if self.position - self._asked_at >= _PROGRESS:
            self._failures = 0
            self._asked_at, self._asked_since = self.position, time.monotonic()
        elif time.monotonic() - self._asked_since > self._source.session.limits.total:
            raise error
        self._failures += 1
        if self._failures >= MAX_TRIES:
            raise error
        if self.position != self._first and self._source.pin is None:
            if isinstance(error, DeadlineError):
                raise error
            raise self._source.not_resumable(f" at byte {self.position}") from error
        time.sleep(pause_after(self._failures, self._source.session.limits))

    def _body_ended(self) -> None:
        """Take the end of a body before the stop."""
        if self._body_stop is None:
            # A body that nothing frames may have been cut off: what is after it is asked for once, and
            # taken for the end if there is nothing.
            sure = self._raw is None or self._raw.framed or self._source.pin is None
            if sure or self._doubted == self.position:
                self._source.size = self.position
            self._doubted = self.position
            self._release()
        elif self.position < self._body_stop or self.position == self._asked_at:
            reason = f"the answer ended at byte {self.position}"
            self._lost(ConnectionFailedError(reason, self._source.content.label))
        else:
            self._release()  # the service gave less than was asked for, and says so: ask for the rest

    def _arrive(self) -> None:
        """Take the stop: a body that is framed by nothing must end where the content does."""
        raw = self._raw
        try:
            unframed = raw is not None and raw.length is None and self.position == self._body_stop
            if raw is not None and unframed and raw.readinto(memoryview(bytearray(1))):
                raise self._source.misfit(f"the answer goes on beyond byte {self.position}")
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
        return store.getvalue()[:filled]  # no copy where it is full

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
