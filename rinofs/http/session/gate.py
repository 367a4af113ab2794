"""What the threads of one session share: the service's wish to be left alone, and places to connect."""

from __future__ import annotations

import threading
import time
from collections import Counter


class Gate:
    """Closed for a while by a ``Retry-After``, for all threads."""

    def __init__(self) -> None:
        self._opens = 0.0

    def close_for(self, seconds: float) -> None:
        """Stay closed for at least `seconds` from now."""
        self._opens = max(self._opens, time.monotonic() + seconds)

    def closed_for(self) -> float:
        """Return the seconds until the gate opens."""
        if not self._opens:  # no clock on the common way
            return 0.0
        return max(self._opens - time.monotonic(), 0.0)


class Slots:
    """Places for connections in use.

    A thread waits for a place while others hold all of them, but not for one that it holds itself (a
    stream left open would wait for itself), and not for long: a place held by a stream that nobody
    reads must not stop the program.

    Parameters
    ----------
    count : int
        Places.
    patience : float
        Longest wait for one, in seconds.
    """

    def __init__(self, count: int, patience: float) -> None:
        self._free = count
        self._patience = patience
        self._changed = threading.Condition()
        self._held: Counter[int] = Counter()

    @property
    def free(self) -> int:
        """Places that nobody has taken."""
        return max(self._free, 0)

    def take(self) -> int:
        """Take a place and return the thread to give it back for."""
        owner = threading.get_ident()
        with self._changed:
            if self._free <= 0 and not self._held[owner]:
                self._changed.wait_for(lambda: self._free > 0, self._patience)
            self._free -= 1
            self._held[owner] += 1
        return owner

    def give(self, owner: int) -> None:
        """Give back a place that `owner` took."""
        with self._changed:
            self._free += 1
            self._held[owner] -= 1
            if self._held[owner] <= 0:
                del self._held[owner]
            self._changed.notify()
