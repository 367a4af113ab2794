"""What is sent, hashed as it goes."""

from __future__ import annotations

import hashlib
import io
from typing import IO, TYPE_CHECKING, Any

from rinofs.errors import ContentMismatchError

if TYPE_CHECKING:
    from rinofs.repovizz.client import Features


class Hashed(io.RawIOBase):
    """A file whose sha1 is taken while it is read from its first byte on.

    Parameters
    ----------
    source : binary file or bytes
        The content; a file from its current position on.
    """

    def __init__(self, source: IO[bytes] | bytes) -> None:
        super().__init__()
        self._file: IO[bytes] = io.BytesIO(source) if isinstance(source, bytes) else source
        self._begin()

    def _begin(self) -> None:
        # The service names contents so; nothing is kept safe by it.
        self._sha1 = hashlib.sha1(usedforsecurity=False)

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read the next bytes."""
        readinto = getattr(self._file, "readinto", None)
        if readinto is None:
            data = self._file.read(len(buffer))
            buffer[: len(data)] = data
            count = len(data)
        else:
            count = readinto(buffer) or 0
        self._sha1.update(memoryview(buffer)[:count])
        return count

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go back to the first byte, to send it again."""
        self._begin()
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the position in the file."""
        return self._file.tell()

    def sha1(self) -> str:
        """Return the hex sha1 of all that was read since the last `seek`."""
        return self._sha1.hexdigest()


def check_hash(features: Features, sha1: str, content_hash: str, label: str) -> None:
    """Compare what was stored with what was sent, where the server names contents by their sha1.

    Raises
    ------
    ContentMismatchError
        If it is something else.
    """
    if sha1 == content_hash.lower():
        features.sha1 = True
    elif features.sha1:
        message = f"the service stored {content_hash}, where {sha1} was sent; write it again"
        raise ContentMismatchError(message, label)
