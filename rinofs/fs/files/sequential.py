"""A content that is read in order, block by block."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rinofs.http.content.verify import Verifier

if TYPE_CHECKING:
    from collections.abc import Callable

    from rinofs.http.content.content import Content, ContentStream


class Sequential:
    """Read a content from its first byte on, in pieces of any size.

    What is taken from the network ends at a block, so that whole blocks can be kept; what was not asked for
    yet waits for the next read.

    Parameters
    ----------
    stream : ContentStream
        The content, from its first byte.
    content : Content
        What it is, for the check.
    size : int
        Its bytes.
    verify : bool
        Whether to check it when its last byte is read.

    Attributes
    ----------
    position : int
        Where the next read begins.
    """

    def __init__(self, stream: ContentStream, content: Content, size: int, verify: bool) -> None:
        self.position = 0
        self._stream = stream
        self._size = size
        self._received = 0
        self._rest = b""
        self._verifier = (
            Verifier.for_response(stream.headers, content.etag, size, label=content.label) if verify else None
        )

    def read(self, count: int, block: int, keep: Callable[[int, bytes], None] | None) -> bytes:
        """Return the next bytes.

        Parameters
        ----------
        count : int
            How many; not beyond the end.
        block : int
            Bytes in a block.
        keep : callable, optional
            Is given whole blocks as they arrive, with the offset at which they begin.

        Returns
        -------
        bytes
            Exactly `count` bytes.

        Raises
        ------
        ContentMismatchError
            If the content turns out, at its end, not to be what the service vouches for.
        """
        missing = count - len(self._rest)
        fresh = b""
        if missing > 0:
            end = min(-(-(self._received + missing) // block) * block, self._size)
            fresh = self._receive(end - self._received, keep)
        self.position += count
        if not self._rest:
            data, self._rest = fresh[:count], fresh[count:]
        elif missing > 0:
            data, self._rest = self._rest + fresh[:missing], fresh[missing:]
        else:
            data, self._rest = self._rest[:count], self._rest[count:]
        return data

    def _receive(self, count: int, keep: Callable[[int, bytes], None] | None) -> bytes:
        data = self._stream.read(count) or b""
        if len(data) < count:
            pieces = [data]
            while (length := sum(map(len, pieces))) < count:
                pieces.append(self._stream.read(count - length) or b"")
            data = b"".join(pieces)
        if self._verifier is not None:
            self._verifier.feed(data)
        if keep is not None:
            keep(self._received, data)
        self._received += count
        if self._received >= self._size and self._verifier is not None:
            self._verifier.finish()
        return data

    def close(self) -> None:
        """End the download, whether or not it is complete."""
        self._rest = b""
        if self._verifier is not None:
            self._verifier.abandon()
        self._stream.close()
