"""Downloads whose rest comes by several connections, where that was seen to pay."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from rinofs.fs.transfer.connections import Connections
from rinofs.fs.transfer.parallel import MOST, Pace, Stopwatch, how_many, is_held_back, paid, part_size, suits

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rinofs.fs.transfer.pool import Stop
    from rinofs.http.content.content import Content, ContentStream
    from rinofs.http.content.verify import Verifier
    from rinofs.http.session.session import HttpSession

_PIECE = 256 * 1024
_PATIENCE = 0.1  # seconds until somebody is asked again whether the work was given up


class Split:
    """Decides for one download when it goes on by several connections, and finds out whether that pays.

    Parameters
    ----------
    session : HttpSession
        Remembers what is found out.
    content : Content
        What is read, pinned to a version of which the service brings parts.
    most : int
        Connections to use, without finding out; 0 for as many as pay.

    Attributes
    ----------
    count : int
        Connections that the download uses.
    """

    def __init__(self, session: HttpSession, content: Content, most: int) -> None:
        self.count = 1
        self._session = session
        self._content = content
        self._most = most
        self._size = self._left = content.size or 0
        self._round_trip = session.link.round_trip or 0.0
        self._watch = Stopwatch(self._round_trip)
        self._before: Pace | None = None

    def begins(self, count: int, waited: float) -> bool:
        """Take bytes of the one connection; return whether it goes on with several.

        Parameters
        ----------
        count : int
            Bytes that arrived.
        waited : float
            Seconds of waiting for them.
        """
        self._left -= count
        if self._most or self._pays(count, waited):
            self.count = how_many(self._left, self._most or MOST, self._session.places)
        return self.count > 1

    def _pays(self, count: int, waited: float) -> bool:
        known = self._session.link.several_pay
        if known is False or not suits(self._round_trip, self._size, self._left):
            return False
        self._before = self._watch.note(count, waited)
        return known is True or (self._before is not None and is_held_back(self._before))

    def _goes_on(self, count: int) -> bool:
        """Take bytes of all connections; return whether it goes on with all of them."""
        pace = None if self._before is None else self._watch.note(count)
        if pace is None or self._before is None:
            return True
        pays, self._before = paid(self._before, pace), None
        self._session.link.tried_several(paid=pays)
        return pays

    def finish(
        self,
        stream: ContentStream,
        path: Path,
        verifier: Verifier,
        progress: Callable[[int], object],
        stop: Stop,
    ) -> None:
        """Write what a stream has left to a file, by several connections, and verify it.

        Parameters
        ----------
        stream : ContentStream
            The one connection.
        path : Path
            The file; all before the position of the stream is in it.
        verifier : Verifier
            Was fed all of that; is fed the rest, and finished.
        progress : callable
            Takes the bytes that arrive.
        stop : Stop
            Ends it early.

        Raises
        ------
        ContentChangedError
            If the content was replaced meanwhile.
        ContentMismatchError
            If it is not what the service vouches for.
        """
        self._watch = Stopwatch(self._round_trip)
        part = part_size(self._left, self.count)
        done, fed = False, stream.position
        connections = Connections(self._session, self._content, path, part)
        try:
            with path.open("rb", buffering=0) as file, connections:
                file.seek(fed)
                connections.start(stream, self.count)
                while not done:
                    news = connections.wait(_PATIENCE)
                    stop.check()
                    if news.arrived:
                        progress(news.arrived)
                    # In order, and soon after it was written: it is still in memory then.
                    while fed < news.complete and (piece := file.read(min(_PIECE, news.complete - fed))):
                        verifier.feed(piece)
                        fed += len(piece)
                    if not self._goes_on(news.arrived):
                        connections.go_on_with_one()
                    done = news.done
        except BaseException:
            os.truncate(path, connections.complete)  # what is kept of the file has no holes
            raise
        verifier.finish()
