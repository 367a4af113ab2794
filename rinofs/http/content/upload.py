"""Upload bodies: multipart, streamed in constant memory."""

from __future__ import annotations

import io
import json
import secrets
from typing import TYPE_CHECKING, BinaryIO

from rinofs.http.content.verify import INLINE, SideDigests

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_CRLF = b"\r\n"
_DIGEST_LENGTH = 64


class UploadBody:
    """A sized, rewindable multipart/form-data body with the parts `json` and `file`, and a digest.

    Each iteration starts at the first byte. The source is read during the upload; do not use it meanwhile.

    Parameters
    ----------
    source : binary file or bytes
        Content: a seekable file, read from its current position, or bytes.
    size : int, optional
        Size in bytes; determined from the source if None.
    fields : Mapping, optional
        Sent as the part `json`; no such part if None.
    filename : str
        File name of the part `file`.
    digest : str, optional
        Name of the digest to send at the end, in a part of this name; one of `DIGESTS`.
    etag : bool
        Whether to compute the content's etag during the upload.

    Attributes
    ----------
    content_type : str
        Value of the ``Content-Type`` header.
    size : int
        Size of the content in bytes, without the other parts.
    ends_with : str or None
        Name of the digest at the end.
    failure : BaseException or None
        The error that ended the last iteration, if reading the source failed.
    """

    def __init__(
        self,
        source: BinaryIO | bytes,
        size: int | None = None,
        *,
        fields: Mapping[str, object] | None = None,
        filename: str = "file",
        digest: str | None = None,
        etag: bool = False,
    ) -> None:
        self._bytes = source if isinstance(source, bytes) else None
        self._file: BinaryIO = io.BytesIO(source) if isinstance(source, bytes) else source
        self._start = self._file.tell()
        if size is None:
            size = self._file.seek(0, io.SEEK_END) - self._start
        self.size = size
        self.failure: BaseException | None = None
        self.ends_with = digest
        self._wants_etag = etag
        self._digests: SideDigests | None = None
        self._results: tuple[str | None, str | None] | None = None
        boundary = secrets.token_hex(16)
        self.content_type = f"multipart/form-data; boundary={boundary}"
        self._head = _head(boundary, fields, filename)
        self._digest_head = _part(boundary, digest) if digest else b""
        self._tail = _CRLF + f"--{boundary}--".encode() + _CRLF

    def __len__(self) -> int:
        trailer = _CRLF + self._digest_head
        digest = len(trailer) + _DIGEST_LENGTH if self.ends_with else 0
        return len(self._head) + self.size + digest + len(self._tail)

    def __iter__(self) -> Iterator[bytes | memoryview]:
        self.rewind()
        return self._whole() if self.size <= INLINE else self._pieces()

    def rewind(self) -> None:
        """Start again at the first byte."""
        if self._digests is not None:
            self._digests.abandon()
        self._digests = SideDigests(self.ends_with, etag=self._wants_etag, size=self.size)
        self._results = None
        self.failure = None
        self._file.seek(self._start)

    def etag(self) -> str:
        """Return the etag of the content that was sent; requires ``etag=True`` and a complete iteration."""
        return self._result(1)

    def digest(self) -> str:
        """Return the hex digest of the content that was sent; requires the name of one."""
        return self._result(0)

    def _result(self, index: int) -> str:
        result = None if self._results is None else self._results[index]
        if result is None:
            raise ValueError("not available: it was not requested, or the body was not sent whole")
        return result

    def _whole(self) -> Iterator[bytes]:
        """Yield a small body in one piece: one write, one packet."""
        # Copied one by one, since the pieces of a file share a buffer.
        yield b"".join([self._head, *map(bytes, self._content()), self._end()])

    def _pieces(self) -> Iterator[bytes | memoryview]:
        yield self._head
        yield from self._content()
        yield self._end()

    def _content(self) -> Iterator[bytes | memoryview]:
        digests = self._digests
        assert digests is not None
        left = self.size
        try:
            while left and len(piece := self._read(digests, left)):
                digests.feed(piece, stable=self._bytes is not None)
                yield piece
                left -= len(piece)
            self._check_all_sent(left)
            self._results = digests.finish()
        except BaseException as error:
            if not isinstance(error, GeneratorExit):
                self.failure = error
            raise
        finally:
            digests.abandon()

    def _read(self, digests: SideDigests, left: int) -> bytes | memoryview:
        if self._bytes is not None:
            start = self._start + self.size - left
            return memoryview(self._bytes)[start : start + min(left, INLINE)]
        readinto = getattr(self._file, "readinto", None)
        if readinto is None:
            return self._file.read(min(left, INLINE))
        buffer = digests.buffer()
        return buffer[: readinto(buffer[:left])]

    def _check_all_sent(self, left: int) -> None:
        if left:
            raise OSError(f"the file ended {left} bytes before its size: it changed during the upload")

    def _end(self) -> bytes:
        if not self.ends_with:
            return self._tail
        return _CRLF + self._digest_head + self.digest().encode() + self._tail


def _head(boundary: str, fields: Mapping[str, object] | None, filename: str) -> bytes:
    head = b""
    if fields is not None:
        # ASCII only, so that the encoding is the same for every parser.
        text = json.dumps(fields, allow_nan=False, separators=(",", ":")).encode("ascii")
        head = _part(boundary, "json", "application/json") + text + _CRLF
    return head + _part(boundary, "file", "application/octet-stream", filename)


def _part(boundary: str, name: str, content_type: str | None = None, filename: str | None = None) -> bytes:
    disposition = f'form-data; name="{name}"'
    if filename is not None:
        quoted = filename.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
        disposition += f'; filename="{quoted}"'
    lines = [f"--{boundary}", f"Content-Disposition: {disposition}"]
    if content_type is not None:
        lines.append(f"Content-Type: {content_type}")
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "replace")
