"""A multipart body that is sent as it is read, in constant memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import BinaryIO


class UploadBody:
    """A sized, rewindable multipart/form-data body with the parts `json`, `file` and `sha256`.

    Parameters
    ----------
    source : binary file or bytes
        The content: a seekable file, read from its current position, or bytes.
    size : int, optional
        Bytes to send; needed for a file.
    fields : Mapping, optional
        Sent as the part `json`; no such part where None.
    filename : str
        File name of the part `file`.
    digest : bool
        Whether to end with a part `sha256`, taken on the way.
    etag : bool
        Whether to take the content's etag on the way.

    Attributes
    ----------
    content_type : str
        Value of the ``Content-Type`` header.
    size : int
        Bytes of content, without the parts' heads.
    """

    content_type: str
    size: int

    def __init__(
        self,
        source: BinaryIO | bytes,
        size: int | None = None,
        *,
        fields: Mapping[str, object] | None = None,
        filename: str = "file",
        digest: bool = False,
        etag: bool = False,
    ) -> None:
        raise NotImplementedError

    def __len__(self) -> int:
        raise NotImplementedError

    def __iter__(self) -> Iterator[bytes | memoryview]:
        raise NotImplementedError

    def rewind(self) -> None:
        """Start again from the first byte."""
        raise NotImplementedError

    def etag(self) -> str:
        """Return the etag of the content that was sent; needs ``etag=True`` and a body sent whole."""
        raise NotImplementedError

    def sha256(self) -> str:
        """Return the hex sha-256 of the content that was sent; needs ``digest=True``."""
        raise NotImplementedError
