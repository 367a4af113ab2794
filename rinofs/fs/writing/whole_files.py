"""Upload local files, bytes, and the contents of open files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from rinofs.errors import ConflictError
from rinofs.fs.backend import ABSENT, Upload
from rinofs.fs.files.writer import AppendingWriter, OpenMode, RemoteWriter
from rinofs.fs.transfer.bundles import pipe_bundles
from rinofs.fs.transfer.engine import put_files
from rinofs.fs.transfer.pool import FileErrors, Stop, run
from rinofs.fs.transfer.sources import ProgressReader, open_source, without_links
from rinofs.fs.values import attributes_of
from rinofs.fs.writing.appending import Appending, copy_before

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from fsspec.callbacks import Callback

    from rinofs.fs.backend import Backend, Sidecars
    from rinofs.fs.transfer.plans import Copy


class Writing:
    """Write files to a backend.

    Parameters
    ----------
    backend : Backend
        Stores the contents.
    strip : callable
        Converts a path or URL to a backend path.
    url : callable
        Converts a path to its URL for messages.
    max_concurrency : int
        Maximum number of concurrent uploads.
    """

    def __init__(
        self, backend: Backend, strip: Callable[[str], str], url: Callable[[str], str], max_concurrency: int
    ) -> None:
        self._backend = backend
        self._strip = strip
        self._url = url
        self._most = max_concurrency

    def open(
        self, path: str, opening: OpenMode, attributes: Mapping[str, Any], *, autocommit: bool
    ) -> RemoteWriter:
        """Open a file for writing, which is stored when it is closed.

        Parameters
        ----------
        path : str
            Path.
        opening : OpenMode
            Whether to replace an existing file, append to it, or refuse to open it.
        attributes : mapping
            Attributes and conditions of the upload.
        autocommit : bool
            Whether closing the file stores it; otherwise its ``commit`` does.
        """
        self._refuse_top(path)
        storing = _storing(opening, attributes)
        if opening is OpenMode.CREATE:
            self._refuse_taken(path)
        if opening is OpenMode.APPEND:
            return self._open_to_append(path, storing, autocommit=autocommit)

        def send(source: IO[bytes], size: int) -> None:
            self._backend.send(Upload(path, source, size, **storing))

        writer = RemoteWriter(path, self._url(path), opening.value, send, autocommit=autocommit)
        writer.storing = storing
        return writer

    def _open_to_append(self, path: str, storing: dict[str, Any], *, autocommit: bool) -> RemoteWriter:
        def send(source: IO[bytes], size: int) -> None:
            Appending(self._backend, before, storing).send(Upload(path, source, size), writer)

        writer = AppendingWriter(path, self._url(path), OpenMode.APPEND.value, send, autocommit=autocommit)
        try:
            before = copy_before(self._backend, path, cast("IO[bytes]", writer))
        except BaseException:
            writer.discard()
            raise
        writer.kept = writer.tell()
        return writer

    def _refuse_top(self, path: str) -> None:
        if not path:
            raise IsADirectoryError(21, "the top level is a folder", self._url(path))

    def _refuse_taken(self, path: str) -> None:
        """Refuse early what would otherwise be refused when the file is closed."""
        self._backend.forget(path)
        try:
            self._backend.info(path)
        except ABSENT:
            return
        raise ConflictError("already exists", self._url(path))

    # Whole contents

    def check(self, contents: Iterable[tuple[str, Any]]) -> None:
        """Raise TypeError unless all contents are bytes or other buffers."""
        for path, value in contents:
            if not isinstance(value, bytes):
                _view_of(value, self._url(self._strip(path)))

    def upload_of(self, path: str, value: bytes, mode: str, attributes: Mapping[str, Any]) -> Upload:
        """Return the upload for bytes at a path."""
        self._refuse_top(path)
        data = value if isinstance(value, bytes) else bytes(_view_of(value, self._url(path)))
        return Upload(path, data, len(data), **_storing(write_mode(mode), attributes))

    def pipe_small(
        self, items: Sequence[tuple[str, bytes]], attributes: Mapping[str, Any], stop: Stop
    ) -> list[tuple[str, bytes]]:
        """Store the contents that fit into bundles; returns the items that are left."""
        storing = _storing(OpenMode.REPLACE, attributes)

        def upload_of(item: tuple[str, bytes]) -> Upload:
            return Upload(self._strip(item[0]), item[1], len(item[1]), **storing)

        if "if_match" in storing:
            return list(items)
        return pipe_bundles(items, _size_of, upload_of, self._backend.write_small, self._most, stop)

    def pipe_each(
        self, contents: Mapping[str, bytes], store: Callable[[Upload], None], *, bundled: bool
    ) -> dict[str, Exception]:
        """Store contents, small ones together if `bundled`; return the errors by path."""
        errors: dict[str, Exception] = {}

        def upload_of(item: tuple[str, bytes]) -> Upload:
            return self.upload_of(self._strip(item[0]), item[1], "overwrite", {})

        def failed(item: tuple[str, bytes], error: Exception) -> None:
            errors[item[0]] = error

        def alone(item: tuple[str, bytes]) -> None:
            try:
                store(upload_of(item))
            except Exception as error:  # noqa: BLE001 - returned
                failed(item, error)

        left = list(contents.items())
        if bundled:
            left = pipe_bundles(
                left,
                _size_of,
                upload_of,
                self._backend.write_small,
                self._most,
                Stop(),
                failed=failed,
                fewest=2,
            )
        run(alone, left, self._most)
        return errors

    # Local files

    def put_file(
        self,
        source: Any,
        path: str,
        callback: Callback,
        mode: str,
        attributes: Mapping[str, Any],
        sidecars: Sidecars | None,
        store: Callable[[Upload], None],
        stop: Stop | None = None,
    ) -> None:
        """Upload a local file, in constant memory; for a folder, create a folder.

        Parameters
        ----------
        source : path-like
            Local file.
        path : str
            Target path.
        callback : Callback
            Receives the progress in bytes.
        mode : str
            ``overwrite``, or ``create`` to refuse an existing path.
        attributes : mapping
            ``metadata`` and ``tags`` to store with the file.
        sidecars : Sidecars, optional
            Reads further metadata from sidecar files.
        store : callable
            Stores one upload.
        stop : Stop, optional
            Cancels the upload.
        """
        storing = _storing(write_mode(mode), _with_sidecar(source, attributes, sidecars))
        if Path(source).is_dir():
            self._backend.make_folder(path, exist_ok=True)
            return
        self._refuse_top(path)
        with open_source(os.fspath(source)) as (file, size):
            callback.set_size(size)
            watched = cast("IO[bytes]", ProgressReader(file, callback, stop or Stop()))
            store(Upload(path, watched, size, **storing))

    def put(
        self,
        copies: list[Copy],
        callback: Callback,
        mode: str,
        attributes: Mapping[str, Any],
        sidecars: Sidecars | None,
        store: Callable[[Upload], None],
        *,
        bundled: bool,
        errors: FileErrors,
    ) -> None:
        """Upload local files concurrently.

        Parameters
        ----------
        copies : list of Copy
            Sources and targets.
        callback : Callback
            Receives the progress in files.
        mode, attributes, sidecars, store
            As for `put_file`.
        bundled : bool
            Whether several small files may be sent in one request.
        errors : FileErrors
            How errors are handled.
        """
        copies = without_links(copies, errors)
        if sidecars is not None:
            copies = _with_whole_sidecars(copies, sidecars, errors)

        def send(copy: Copy, child: Callback, stop: Stop) -> None:
            path = self._strip(copy.target)
            self.put_file(copy.source, path, child, mode, attributes, sidecars, store, stop)

        def upload_of(copy: Copy, data: bytes) -> Upload:
            storing = _storing(OpenMode.REPLACE, _with_sidecar(copy.source, attributes, sidecars))
            return Upload(self._strip(copy.target), data, len(data), **storing)

        bundled = bundled and write_mode(mode) is OpenMode.REPLACE and "if_match" not in attributes
        put_files(
            copies,
            send,
            upload_of=upload_of,
            writer=self._backend.write_small if bundled else None,
            concurrency=self._most,
            callback=callback,
            errors=errors,
        )


def _size_of(item: tuple[str, bytes]) -> int | None:
    """Return the size of a content; None for other buffers than bytes, which are sent alone."""
    return len(item[1]) if isinstance(item[1], bytes) else None


def _view_of(value: Any, url: str) -> memoryview:
    """Return a view of a buffer. Of others, `bytes` makes what nobody means: of an integer, so many zeros."""
    try:
        return memoryview(value)
    except TypeError:
        problem = f"the content must be bytes or another buffer, not {type(value).__name__}"
        raise TypeError(f"{url}: {problem}") from None


def _with_whole_sidecars(copies: list[Copy], sidecars: Sidecars, errors: FileErrors) -> list[Copy]:
    """Read all sidecars before anything is sent; returns the copies whose sidecars are valid."""
    whole = []
    for copy in copies:
        with errors.about(copy.source):
            if not sidecars.is_sidecar(copy.source):
                sidecars.read_sidecar(copy.source)
                whole.append(copy)
    return whole


def write_mode(mode: str) -> OpenMode:
    """Return the mode for ``overwrite`` or ``create``; raises ValueError for other values."""
    if mode not in {"overwrite", "create"}:
        raise ValueError(f"invalid mode {mode!r}; use 'overwrite' or 'create'")
    return OpenMode.CREATE if mode == "create" else OpenMode.REPLACE


def _storing(opening: OpenMode, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of an `Upload` other than path and content."""
    metadata, tags = attributes_of(given)
    storing: dict[str, Any] = {
        "metadata": metadata,
        "tags": tags,
        "new_version": bool(given.get("new_version")),
    }
    if_match = given.get("if_match")
    if if_match is not None:
        if opening is not OpenMode.REPLACE:
            raise ValueError("if_match cannot be combined with modes 'create', 'xb' and 'ab'")
        if not isinstance(if_match, str):
            raise TypeError("if_match: an etag is expected, as info() has it")
        storing["if_match"] = if_match
    if opening is OpenMode.CREATE:
        storing["exclusive"] = True
    return storing


def _with_sidecar(source: Any, given: Mapping[str, Any], sidecars: Sidecars | None) -> Mapping[str, Any]:
    """Return the attributes of a local file: the given ones and those of its sidecar."""
    beside = None if sidecars is None else sidecars.read_sidecar(str(source))
    return given if beside is None else {**given, "metadata": {**beside, **(given.get("metadata") or {})}}
