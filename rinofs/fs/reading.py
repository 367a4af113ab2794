"""Reading: downloads, contents of many files, and ranges."""

from __future__ import annotations

import io
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from fsspec.utils import isfilelike

from rinofs.errors import RinofsError
from rinofs.fs.files.reader import RemoteSource
from rinofs.fs.transfer import ranges
from rinofs.fs.transfer.bundles import cat_bundles
from rinofs.fs.transfer.download import download, replacing, write_all
from rinofs.fs.transfer.engine import get_files
from rinofs.fs.transfer.pool import FileErrors, Stop, run
from rinofs.fs.transfer.resume import download_to
from rinofs.protocol.limits import MAX_RANGES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fsspec.callbacks import Callback

    from rinofs.fs.backend import Backend, Pinned, Sidecars
    from rinofs.fs.files.reader import Source
    from rinofs.fs.transfer.plans import Copy
    from rinofs.options import Options


class Reading:
    """Read files of a backend.

    Parameters
    ----------
    backend : Backend
        Finds the contents.
    strip : callable
        Converts a path or URL to a backend path.
    options : Options
        Options of the filesystem: concurrency and number of connections per file.
    """

    def __init__(self, backend: Backend, strip: Callable[[str], str], options: Options) -> None:
        self._backend = backend
        self._strip = strip
        self._options = options
        self._most = options.max_concurrency

    def read(self, path: str, start: int | None, end: int | None, version_id: int | str | None) -> bytes:
        """Return the bytes [start, end) of a file, as a slice."""
        if end is not None and 0 <= end <= (start or 0):
            self._backend.pin(path, version_id)  # raises if there is nothing to read
            return b""
        pinned = self._backend.locate(path) if version_id is None else self._backend.pin(path, version_id)
        while True:
            try:
                return pinned.source.read(start or 0, end)
            except OSError as error:
                pinned = self._relocated(path, pinned, error, version_id)

    def _relocated(self, path: str, pinned: Pinned, error: OSError, version_id: int | str | None) -> Pinned:
        """Return another source after an error that a stale cache may have caused; else raise the error."""
        if version_id is not None:
            raise error
        return self._backend.relocate(path, pinned, error)

    # To local files

    def get_file(
        self,
        path: str,
        target: Any,
        callback: Callback,
        stop: Stop,
        version_id: int | str | None = None,
        *,
        only_file: bool = False,
        resume: bool = False,
    ) -> None:
        """Download a file to a local path, or into an open file.

        Parameters
        ----------
        path : str
            Path of a file; for a folder, an empty folder is created.
        target : path-like or binary file
            Target.
        callback : Callback
            Receives the progress in bytes.
        stop : Stop
            Cancels the download.
        version_id : int or str, optional
            An earlier version.
        only_file : bool
            Whether to do nothing for a folder.
        resume : bool
            Whether to keep the received part of a large file if the download is interrupted, and to continue
            there.
        """
        if isfilelike(target):
            _copy_to(self._backend.pin(path, version_id).source, target, callback, stop)
            return
        try:
            self._get_to_path(path, target, callback, stop, version_id, resume=resume)
        except IsADirectoryError:
            if not only_file:
                Path(target).mkdir(parents=True, exist_ok=True)

    def _get_to_path(
        self,
        path: str,
        target: Any,
        callback: Callback,
        stop: Stop,
        version_id: int | str | None,
        *,
        resume: bool,
    ) -> None:
        connections = self._options.parallel_ranges
        known = version_id is not None or resume  # a partial file belongs to one version
        pinned = self._backend.pin(path, version_id) if known else self._backend.locate(path)
        while True:
            try:
                _copy_to_path(pinned.source, target, callback, stop, connections, resume=resume)
            except IsADirectoryError:
                raise
            except OSError as error:
                pinned = self._relocated(path, pinned, error, version_id)
            else:
                return

    def get(
        self,
        copies: list[Copy],
        callback: Callback,
        version_id: int | str | None = None,
        sidecars: Sidecars | None = None,
        *,
        resume: bool,
        errors: FileErrors,
    ) -> None:
        """Download files concurrently.

        Parameters
        ----------
        copies : list of Copy
            Sources and targets.
        callback : Callback
            Receives the progress in files.
        version_id : int or str, optional
            An earlier version, the same for each file.
        sidecars : Sidecars, optional
            Writes the metadata of each file beside it.
        resume : bool
            As for `get_file`.
        errors : FileErrors
            How errors are handled.
        """
        if sidecars is not None:
            sidecars.check_free(copy.target for copy in copies if not copy.is_folder)

        def done(copy: Copy) -> None:
            if sidecars is not None and Path(copy.target).is_file():
                # By version, since metadata belongs to a version.
                sidecars.write_sidecar(copy.target, self._metadata(copy.source, version_id))

        def fetch(copy: Copy, child: Callback, stop: Stop) -> None:
            path, only_file = self._strip(copy.source), copy.only_file
            self.get_file(path, copy.target, child, stop, version_id, only_file=only_file, resume=resume)

        get_files(
            copies,
            fetch,
            read_bundle=self._small if version_id is None else None,
            concurrency=self._most,
            callback=callback,
            errors=errors,
            done=done,
        )

    def _metadata(self, path: str, version_id: int | str | None) -> Mapping[str, Any]:
        metadata: Mapping[str, Any] = self._backend.pin(self._strip(path), version_id).info["metadata"]
        return metadata

    def _small(self, paths: Sequence[str]) -> list[bytes | None]:
        return self._backend.read_small([self._strip(path) for path in paths])

    # To memory

    def cat(
        self, paths: list[str], read: Callable[[str], bytes], on_error: str, *, bundled: bool
    ) -> dict[str, bytes | Exception]:
        """Return the contents of files by path.

        Parameters
        ----------
        paths : list of str
            Paths.
        read : callable
            Reads one file.
        on_error : str
            ``raise``, ``omit`` or ``return``, which returns the error in place of the content.
        bundled : bool
            Whether several small files may be read with one request.
        """
        small = cat_bundles(paths, self._small, self._most, FileErrors(on_error)) if bundled else {}

        def one(path: str) -> bytes | Exception:
            if path in small:
                return small[path]
            try:
                return read(path)
            except Exception as error:
                if on_error == "raise":
                    raise
                return error

        contents = dict(zip(paths, run(one, paths, self._most), strict=True))
        if on_error == "omit":
            return {path: data for path, data in contents.items() if isinstance(data, bytes)}
        return contents

    def small(self, paths: Sequence[str]) -> list[bytes | None]:
        """Return the contents of small files by one request; None for those that have to be read alone."""
        found = cat_bundles(paths, self._small, self._most, FileErrors("return"), fewest=1)
        return [found.get(path) for path in paths]

    def cat_ranges(
        self,
        paths: Sequence[str],
        starts: int | Sequence[int | None] | None,
        ends: int | Sequence[int | None] | None,
        max_gap: int | None,
        on_error: str,
        version_id: int | str | None = None,
    ) -> list[Any]:
        """Return ranges of files, in the order of the paths; all ranges of one file have the same version."""
        first, last = ranges.spread(starts, len(paths)), ranges.spread(ends, len(paths))
        wanted: dict[str, list[ranges.Wanted]] = {}
        for position, (path, start, stop) in enumerate(zip(paths, first, last, strict=True)):
            wanted.setdefault(self._strip(path), []).append(ranges.Wanted(position, start, stop))
        gap = ranges.MAX_GAP if max_gap is None else max_gap

        def plan(item: tuple[str, list[ranges.Wanted]]) -> list[ranges.Fetch]:
            return ranges.attempt(lambda: self._fetches(*item, gap, version_id), item[1], on_error)

        plans = run(plan, wanted.items(), self._most)
        results: list[Any] = [b""] * len(paths)
        fetches = [fetch for plan in plans for fetch in plan]
        for parts in run(lambda fetch: fetch.run(on_error), fetches, self._most):
            for position, data in parts:
                results[position] = data
        return results

    def _fetches(
        self, path: str, wanted: list[ranges.Wanted], max_gap: int, version_id: int | str | None
    ) -> list[ranges.Fetch]:
        """Return the requests for the ranges of one file."""
        if len(wanted) == 1:
            [one] = wanted
            return [ranges.single(lambda: self.read(path, one.start, one.stop, version_id), wanted)]
        return fetches_of(self._backend.pin(path, version_id).source, wanted, max_gap)


def fetches_of(source: Source, wanted: Sequence[ranges.Wanted], max_gap: int) -> list[ranges.Fetch]:
    """Return the requests for ranges of one version."""
    sized = source.sized()
    parts = ranges.join((item.within(sized.size or 0) for item in wanted), max_gap)

    def fetch(batch: list[ranges.Part]) -> ranges.Fetch:
        spans = [(part.start, part.stop) for part in batch]
        return ranges.Fetch(partial(sized.load_many, spans), batch)

    return [fetch(batch) for batch in ranges.batches(parts, MAX_RANGES)]


def _copy_to(source: Source, file: IO[bytes], callback: Callback, stop: Stop, connections: int = 1) -> None:
    """Write a whole content to an open file."""
    if isinstance(source, RemoteSource):
        place = _place_in(file)
        try:
            _download(source, file, callback, stop, connections)
        except RinofsError:
            other = source.elsewhere()
            if other is None or place is None:
                raise
            start, size = place  # what the file had before stays
            file.truncate(size)
            file.seek(start)
            callback.absolute_update(0)
            _download(other, file, callback, stop, connections)
        return
    data = source.read()
    callback.set_size(len(data))
    write_all(file, data)
    callback.relative_update(len(data))


def _place_in(file: IO[bytes]) -> tuple[int, int] | None:
    """Return the current position in a file and its size; None if one cannot go back there."""
    try:
        start = file.tell()
        file.seek(0, io.SEEK_END)
        size = file.tell()
        file.seek(start)
    except (AttributeError, OSError, ValueError):  # pipes, raw files, and files that compress
        return None
    return start, size


def _download(
    source: RemoteSource, file: IO[bytes], callback: Callback, stop: Stop, connections: int
) -> None:
    session, content = source.whole()
    download(
        session,
        content,
        file,
        verify=source.verify,
        callback=callback,
        stop=stop,
        connections=connections,
    )


def _copy_to_path(
    source: Source, target: Any, callback: Callback, stop: Stop, connections: int, *, resume: bool
) -> None:
    """Write a whole content to a local file, which is replaced only when the content is complete."""
    if resume and isinstance(source, RemoteSource):
        download_to(
            source.session,
            source.content,
            target,
            verify=source.verify,
            callback=callback,
            stop=stop,
            connections=connections,
            resume=True,
        )
        return
    with replacing(target) as part:
        _copy_to(source, part, callback, stop, connections)


def copy_to(source: Source, file: IO[bytes], callback: Callback) -> None:
    """Write a whole content to a temporary file."""
    _copy_to(source, file, callback, Stop())
