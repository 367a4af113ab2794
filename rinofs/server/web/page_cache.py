"""Reading from files what is in memory already."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["read_at_once"]


def read_at_once(path: Path, size: int, start: int, stop: int) -> bytes | None:
    """Return a part of a file if the disk need not be waited for, for threads that must not wait.

    Parameters
    ----------
    path : Path
        The file.
    size : int
        Bytes that it has to have.
    start, stop : int
        The part of it that is wanted.

    Returns
    -------
    bytes or None
        None if the part is not in memory, the system cannot tell, or the file is not there or not whole.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if os.fstat(file).st_size != size:
            return None
        buffer = bytearray(stop - start)
        read = os.preadv(file, [buffer], start, os.RWF_NOWAIT)
    except (AttributeError, OSError):  # not on every system, nor every file system
        return None
    finally:
        os.close(file)
    return bytes(buffer) if read == len(buffer) else None
