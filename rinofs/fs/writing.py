"""Writing to a filesystem of either service."""

from __future__ import annotations

import io
import os
import shutil
from abc import abstractmethod
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from fsspec.callbacks import DEFAULT_CALLBACK

from rinofs.errors import ConflictError
from rinofs.fs.files.modes import OpenMode
from rinofs.fs.files.writer import RemoteWriter, TextWriter, compressed
from rinofs.fs.reading import ReadableFileSystem
from rinofs.fs.transfer.download import download
from rinofs.fs.transfer.outgoing import Upload, Watched
from rinofs.fs.transfer.pool import Stop
from rinofs.fs.values import attributes_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fsspec.callbacks import Callback

    from rinofs.fs.reading import Pinned
    from rinofs.http.content.content import Content

_TEXT_OPTIONS = ("encoding", "errors", "newline")


class WritableFileSystem(ReadableFileSystem):
    """A filesystem whose files can be written; the parameters are those of its base."""

    @abstractmethod
    def _send(self, upload: Upload) -> None:
        """Store a content under its path, making the folders on the way.

        Raises
        ------
        FileExistsError
            If it is exclusive and something is there.
        IsADirectoryError, NotADirectoryError
            If there is a folder, or a file on the way.
        """

    @abstractmethod
    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Make a folder and those on the way; raises FileExistsError if it is there already."""

    # Opening

    def open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        cache_options: dict[str, Any] | None = None,
        compression: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """Open a file.

        Parameters
        ----------
        path : str
            The path.
        mode : str
            ``r``, ``w`` (replaces), ``a`` (goes on) or ``x`` (only if nothing is there); ``b`` for bytes.
        block_size : int, optional
            Bytes that a sequential read asks for in one request, at most.
        cache_options : dict, optional
            Passed to one of fsspec's caches.
        compression : str, optional
            Name of a compression, or ``infer`` to guess it from the name.
        **kwargs
            ``encoding``, ``errors`` and ``newline`` of text; ``cache_type``; ``version_id`` to read an
            earlier version; ``metadata`` and ``tags`` to store with what is written.

        Returns
        -------
        file
            What is written to it is stored when it is closed, unless an exception is on its way.

        Raises
        ------
        NotFoundError
            If there is nothing to read.
        FileExistsError
            If there is something in mode ``x``.
        IsADirectoryError
            If it is a folder.
        TypeError, ValueError
            If the metadata is nothing that JSON can hold; nothing is sent then.
        """
        binary = OpenMode.parse(mode.replace("t", ""))
        text = {name: kwargs.pop(name) for name in _TEXT_OPTIONS if name in kwargs}
        if binary is OpenMode.READ:
            file = super().open(path, "rb", block_size, cache_options, compression, **kwargs)
            return file if "b" in mode else io.TextIOWrapper(file, **text)
        writer = super().open(path, binary.value, block_size, cache_options, None, **kwargs)
        written = compressed(writer, path, compression) if compression else writer
        return written if "b" in mode else TextWriter(written, writer.fail, **text)

    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        autocommit: bool = True,
        cache_options: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        opening = OpenMode.parse(mode)
        if opening is OpenMode.READ:
            return self._open_for_reading(
                path,
                block_size=block_size,
                cache_type=kwargs.get("cache_type"),
                cache_options=cache_options,
                version_id=kwargs.get("version_id"),
            )
        metadata, tags = attributes_of(kwargs)
        self._check_target(path, opening)
        if opening is not OpenMode.APPEND or (before := self._before(path)) is None:
            return self._writer(path, opening, autocommit, metadata, tags)
        # The longer file is stored anew, and only what is sent with it belongs to it.
        metadata = before.info.get("metadata") if metadata is None else metadata
        tags = before.info.get("tags") if tags is None else tags
        writer = self._writer(path, opening, autocommit, metadata, tags)
        self._fill(writer, before.content)
        return writer

    def _check_target(self, path: str, opening: OpenMode) -> None:
        """Refuse early what would be refused when the file is closed, where that is known or matters."""
        if not path:
            raise IsADirectoryError(21, "the top level is a folder", self.url(path))
        if opening is OpenMode.CREATE and self.exists(path, refresh=True):
            raise ConflictError("there is something already", self.url(path))

    def _writer(
        self,
        path: str,
        opening: OpenMode,
        autocommit: bool,
        metadata: Mapping[str, Any] | None,
        tags: Sequence[str] | None,
    ) -> RemoteWriter:
        def send(source: IO[bytes], size: int) -> None:
            self._send(Upload(path, source, size, opening is OpenMode.CREATE, metadata, tags))

        return RemoteWriter(path, self.url(path), opening.value, send, autocommit=autocommit)

    def _before(self, path: str) -> Pinned | None:
        """Return what is to be appended to; always the current version, or what others added would go."""
        try:
            return self._pinned(path)
        except FileNotFoundError:
            return None

    def _fill(self, writer: RemoteWriter, content: Content) -> None:
        """Begin an appended file with what is there."""
        verify = self.options.verify_content
        file = cast("IO[bytes]", writer)
        try:
            download(self.session, content, file, verify=verify, callback=DEFAULT_CALLBACK, stop=Stop())
        except BaseException:
            writer.discard()
            raise

    # Whole files

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any) -> None:
        """Write a whole file.

        Parameters
        ----------
        path : str
            The path.
        value : bytes
            The content.
        mode : str
            ``overwrite``, or ``create`` to write only if nothing is there.
        **kwargs
            ``metadata`` and ``tags`` to store with it.

        Raises
        ------
        FileExistsError
            If the mode is ``create`` and something is there.
        """
        path = self._strip_protocol(path)
        opening = write_mode(mode)
        if self._intrans:
            with self.open(path, opening.value, **kwargs) as file:
                file.write(value)
            return
        metadata, tags = attributes_of(kwargs)
        self._check_target(path, OpenMode.REPLACE)
        data = bytes(value)
        self._send(Upload(path, data, len(data), opening is OpenMode.CREATE, metadata, tags))

    def put_file(
        self,
        lpath: Any,
        rpath: str,
        callback: Callback = DEFAULT_CALLBACK,
        mode: str = "overwrite",
        **kwargs: Any,
    ) -> None:
        """Upload a file, in constant memory.

        Parameters
        ----------
        lpath : path-like
            A local file; for a folder, an empty one is made.
        rpath : str
            Where it belongs.
        callback : Callback
            Is told of the bytes as they go.
        mode : str
            ``overwrite``, or ``create`` to store it only if nothing is there.
        **kwargs
            ``metadata`` and ``tags`` to store with it.

        Raises
        ------
        FileExistsError
            If the mode is ``create`` and something is there.
        """
        self._put_file(lpath, rpath, callback, write_mode(mode), Stop(), kwargs)

    def _put_file(
        self,
        source: Any,
        target: str,
        callback: Callback,
        opening: OpenMode,
        stop: Stop,
        attributes: Mapping[str, Any],
    ) -> None:
        target = self._strip_protocol(target)
        attributes = self._attributes(source, attributes)
        metadata, tags = attributes_of(attributes)
        if Path(source).is_dir():
            self.makedirs(target, exist_ok=True)
            return
        self._check_target(target, OpenMode.REPLACE)
        with Path(source).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            callback.set_size(size)
            if self._intrans:
                with self.open(target, opening.value, **attributes) as spooled:
                    shutil.copyfileobj(file, spooled)
                return
            watched = cast("IO[bytes]", Watched(file, callback, stop))
            exclusive = opening is OpenMode.CREATE
            self._send(Upload(target, watched, size, exclusive, metadata, tags))

    def _attributes(self, source: Any, given: Mapping[str, Any]) -> Mapping[str, Any]:  # noqa: ARG002
        """Return what a local file is stored with, of what was given for it."""
        return given

    def touch(self, path: str, truncate: bool = True, **kwargs: Any) -> None:
        """Make an empty file.

        Parameters
        ----------
        path : str
            The path.
        truncate : bool
            Whether to empty a file that is there.
        **kwargs
            Passed to `pipe_file`.

        Raises
        ------
        NotImplementedError
            If there is a file that is not to be emptied: the service sets the times of a file itself.
        """
        if not truncate and self.exists(path):
            raise NotImplementedError(
                f"{self.service.name} cannot set the time of a file without writing it: {self.url(path)}"
            )
        self.pipe_file(path, b"", **kwargs)


def write_mode(mode: str) -> OpenMode:
    """Return what ``overwrite`` or ``create`` stands for.

    Raises
    ------
    ValueError
        If it is neither.
    """
    if mode not in {"overwrite", "create"}:
        raise ValueError(f"mode {mode!r} is not possible: use 'overwrite' or 'create'")
    return OpenMode.CREATE if mode == "create" else OpenMode.REPLACE
