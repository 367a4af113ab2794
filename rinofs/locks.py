"""A lock between processes, on a file."""

from __future__ import annotations

import errno
import os
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["FileLock", "try_lock"]

_POLL_SECONDS = 0.05


class FileLock:
    """Keep all other threads and processes out, for as long as this process lives at most.

    Each acquisition opens the file anew, so that threads of one process exclude one another as well. The
    operating system lets go of the lock when the process ends, however it ends.

    Parameters
    ----------
    path : Path
        The file to lock. It is made where missing, holds nothing, and stays.
    timeout : float
        Seconds to wait for the holder to let go.
    """

    def __init__(self, path: Path, timeout: float = 120.0) -> None:
        self._path = path
        self._timeout = timeout
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Wait for the lock and take it.

        Raises
        ------
        TimeoutError
            If another holds it for longer than the timeout.
        OSError
            If the file cannot be opened, or its disk knows no locks.
        """
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        try:
            self._wait(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def _wait(self, descriptor: int) -> None:
        deadline = time.monotonic() + self._timeout
        while not try_lock(descriptor):
            if time.monotonic() > deadline:
                raise TimeoutError(errno.ETIMEDOUT, f"locked by another for over {self._timeout:g} s")
            time.sleep(_POLL_SECONDS)

    def release(self) -> None:
        """Let go of the lock."""
        descriptor, self._descriptor = self._descriptor, None
        assert descriptor is not None
        try:
            # Closing is not enough: a child forked meanwhile has the descriptor too.
            _unlock(descriptor)
        finally:
            os.close(descriptor)


if sys.platform == "win32":
    import msvcrt

    def try_lock(descriptor: int) -> bool:
        """Lock an open file until it is closed, or return False where another holds it."""
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True

    def _unlock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def try_lock(descriptor: int) -> bool:
        """Lock an open file until it is closed, or return False where another holds it."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
