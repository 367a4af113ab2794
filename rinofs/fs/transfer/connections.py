"""Download the rest of a content with several connections into one file."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from rinofs.fs.transfer.pool import GRACE
from rinofs.fs.transfer.splitting import part_size
from rinofs.http.content.buffers import new_buffer
from rinofs.http.content.content import open_content

if TYPE_CHECKING:
    from collections.abc import Callable
    from io import FileIO
    from pathlib import Path

    from rinofs.fs.transfer.pool import Stop
    from rinofs.http.content.content import Content, ContentStream
    from rinofs.http.content.verify import Verifier
    from rinofs.http.session.session import HttpSession

_PIECE = 256 * 1024
_PATIENCE = 0.1  # seconds between two checks for cancellation


def fetch_rest(
    session: HttpSession,
    content: Content,
    stream: ContentStream,
    count: int,
    path: Path,
    verifier: Verifier,
    *,
    progress: Callable[[int], object],
    stop: Stop,
) -> None:
    """Write the rest of a stream to a file, using several connections, and verify the content.

    Parameters
    ----------
    session : HttpSession
        Sends the requests.
    content : Content
        Content to read, pinned to a version of which the service sends ranges.
    stream : ContentStream
        Stream of the first connection.
    count : int
        Number of connections, including that one.
    path : Path
        File that contains everything before the position of the stream.
    verifier : Verifier
        Has been fed the bytes before that position; receives the rest and is finished.
    progress : callable
        Called with the number of bytes received.
    stop : Stop
        Cancels the download.

    Raises
    ------
    ContentChangedError
        If the content is replaced during the download.
    ContentMismatchError
        If the content does not match the service's digest.
    """
    done, fed = False, stream.position
    part = part_size((content.size or 0) - fed, count)
    connections = DownloadConnections(session, content, path, part)
    try:
        with path.open("rb", buffering=0) as file, connections:
            file.seek(fed)
            connections.start(stream, count)
            while not done:
                news = connections.wait(_PATIENCE)
                stop.check()
                if news.arrived:
                    progress(news.arrived)
                # Read back in order and soon after writing, while the data is still in the page cache.
                while fed < news.complete and (piece := file.read(min(_PIECE, news.complete - fed))):
                    verifier.feed(piece)
                    fed += len(piece)
                done = news.done
    except BaseException:
        os.truncate(path, connections.complete)  # a kept partial file must not have holes
        raise
    verifier.finish()


@dataclass(slots=True)
class _Part:
    """A range of which the bytes [at, stop) are missing."""

    at: int
    stop: int


@dataclass(frozen=True, slots=True)
class DownloadProgress:
    """Progress of the download.

    Attributes
    ----------
    arrived : int
        Bytes received since the last report.
    complete : int
        Offset before which the file is complete.
    done : bool
        Whether everything has been received.
    """

    arrived: int
    complete: int
    done: bool


class DownloadConnections:
    """Threads that download the rest of a content into one file, each its own parts; a context manager.

    Leaving the context waits for all threads, so that none writes to the file afterwards.

    Parameters
    ----------
    session : HttpSession
        Sends the requests.
    content : Content
        Content to read, pinned to a version.
    path : Path
        File that contains everything before the position of the first stream.
    part : int
        Size of a part in bytes.
    """

    def __init__(self, session: HttpSession, content: Content, path: Path, part: int) -> None:
        self._session = session
        self._content = content
        self._path = path
        self._part = part
        self._size = content.size or 0
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._parts: deque[_Part] = deque()
        self._unclaimed = 0
        self._arrived = 0
        self._at_work = 0
        self._stopped = False
        self._failure: BaseException | None = None

    def start(self, first: ContentStream, count: int) -> None:
        """Start `count` threads, one with an open stream, which is closed at the end of its part.

        If the system allows fewer threads, those do the work; if none, the calling thread does.
        """
        self._unclaimed = first.position
        part = self._claim()
        if part is not None and not self._start_thread(part, first):
            self._at_work = 1
            self._work(part, first)
            return
        for _ in range(count - 1):
            if self._unclaimed >= self._size or not self._start_thread(None, None):
                break

    def _start_thread(self, part: _Part | None, stream: ContentStream | None) -> bool:
        """Start a thread with a part, or one that claims its own; return whether the system allowed it."""
        thread = threading.Thread(target=self._work, args=(part, stream), name="rinofs-part", daemon=True)
        with self._changed:
            self._at_work += 1
        self._threads.append(thread)
        try:
            thread.start()
        except (RuntimeError, MemoryError):
            with self._changed:
                self._at_work -= 1
            return False
        return True

    def wait(self, seconds: float) -> DownloadProgress:
        """Wait for data, at most this many seconds.

        Raises
        ------
        Exception
            The error of a connection that failed.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._arrived or self._failure or not self._at_work, seconds)
            if self._failure is not None:
                raise self._failure
            arrived, self._arrived = self._arrived, 0
            return DownloadProgress(arrived, self.complete, not self._at_work)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._stopped = True
        interrupted = kind is not None and not issubclass(kind, Exception)
        deadline = time.monotonic() + GRACE
        for thread in self._threads:
            if thread.ident is not None:  # an interrupt may come just before a thread starts
                thread.join(max(deadline - time.monotonic(), 0) if interrupted else None)

    @property
    def complete(self) -> int:
        """Offset before which the file is complete."""
        with self._changed:
            while self._parts and self._parts[0].at == self._parts[0].stop:
                self._parts.popleft()
            return self._parts[0].at if self._parts else self._unclaimed

    def _claim(self) -> _Part | None:
        with self._changed:
            start = self._unclaimed
            if self._stopped or start >= self._size:
                return None
            # A server that ignores Range sends everything before the part, too.
            stop = start + self._part
            if self._session.no_ranges or self._size - stop < self._part // 2:
                stop = self._size
            part = _Part(start, stop)
            self._unclaimed = stop
            self._parts.append(part)
            return part

    def _work(self, part: _Part | None, stream: ContentStream | None) -> None:
        try:
            part = part or self._claim()
            buffer = new_buffer(_PIECE)
            with self._path.open("r+b", buffering=0) as file:
                while part is not None and not self._stopped:
                    source = stream or open_content(self._session, self._content, part.at, part.stop)
                    with source:
                        self._fetch(part, source, file, buffer)
                    stream, part = None, self._claim()
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that waits
            self._stopped = True
            with self._changed:
                self._failure = self._failure or error
        finally:
            with self._changed:
                self._at_work -= 1
                self._changed.notify_all()

    def _fetch(self, part: _Part, source: ContentStream, file: FileIO, buffer: memoryview) -> None:
        file.seek(part.at)
        while not self._stopped and (got := source.readinto(buffer[: part.stop - part.at])):
            piece = buffer[:got]
            while piece and not self._stopped:
                piece = piece[file.write(piece) :]
            if piece:
                return
            with self._changed:
                part.at += got
                self._arrived += got
                self._changed.notify_all()
