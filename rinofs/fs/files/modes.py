"""How a file is opened, decided once."""

from __future__ import annotations

from enum import Enum


class OpenMode(Enum):
    """What opening a file is for."""

    READ = "rb"
    REPLACE = "wb"
    APPEND = "ab"
    CREATE = "xb"

    @classmethod
    def parse(cls, mode: str) -> OpenMode:
        """Return the binary mode that `mode` says.

        Raises
        ------
        ValueError
            If it is another mode, such as one for reading and writing at once.
        """
        letters = mode.replace("b", "")
        for known in cls:
            if known.value[0] == letters:
                return known
        raise ValueError(f"mode {mode!r} is not possible: use one of rb, wb, ab and xb, or r, w, a and x")
