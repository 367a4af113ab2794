"""Many files at once, in a filesystem of either service."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fsspec.callbacks import DEFAULT_CALLBACK

from rinofs.fs.files.modes import OpenMode
from rinofs.fs.transfer import plans as transfer
from rinofs.fs.transfer import ranges
from rinofs.fs.transfer.bundles import get_together, put_together, read_together, write_together
from rinofs.fs.transfer.outgoing import Upload
from rinofs.fs.transfer.pool import Stop, run
from rinofs.fs.values import attributes_of
from rinofs.fs.writing import WritableFileSystem, write_mode
from rinofs.http.content.multirange import read_spans
from rinofs.protocol.limits import MAX_RANGES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fsspec.callbacks import Callback

    from rinofs.fs.transfer.bundles import WriteSmall
    from rinofs.fs.transfer.plans import Copy, Paths


class BulkFileSystem(WritableFileSystem):
    """A filesystem in which many files are read and written at once; the parameters are those of its base."""

    def cat(
        self, path: str | list[str], recursive: bool = False, on_error: str = "raise", **kwargs: Any
    ) -> Any:
        """Return the content of a file, or of many by path.

        Parameters
        ----------
        path : str or list of str
            Paths or patterns.
        recursive : bool
            Whether to return all files below.
        on_error : str
            ``raise``, ``omit`` or ``return``, which puts the error in the place of the content.
        **kwargs
            Passed to `cat_file`.

        Returns
        -------
        bytes or dict
            The content, if `path` is a single file; else contents by path.
        """
        if isinstance(path, str):
            bare = self._strip_protocol(path)
            paths = self.expand_path(path, recursive=recursive)
            if paths == [bare] and not (recursive and self.isdir(bare)):
                return self.cat_file(bare, **kwargs)
        else:
            paths = self.expand_path(path, recursive=recursive)
        if recursive:
            paths = [name for name in paths if not self.isdir(name)]

        most = self.options.max_concurrency
        small = {} if kwargs else read_together(paths, self._read_small, most, on_error)

        def read(name: str) -> bytes | Exception:
            if name in small:
                return small[name]
            try:
                return self.cat_file(name, **kwargs)
            except Exception as error:
                if on_error == "raise":
                    raise
                return error

        contents = dict(zip(paths, run(read, paths, most), strict=True))
        if on_error == "omit":
            return {name: data for name, data in contents.items() if isinstance(data, bytes)}
        return contents

    def _read_small(self, paths: Sequence[str]) -> list[bytes | None]:
        """Read at once what is small of some files; None for the others, and where the service cannot."""
        return [None] * len(paths)

    def cat_ranges(
        self,
        paths: list[str],
        starts: int | Sequence[int | None] | None,
        ends: int | Sequence[int | None] | None,
        max_gap: int | None = None,
        on_error: str = "return",
        **kwargs: Any,
    ) -> list[Any]:
        """Return parts of files; parts of one file that lie close to each other share a request.

        Parameters
        ----------
        paths : list of str
            A path for each part.
        starts, ends : int or list of int, optional
            First byte and byte to end before, for each part or for all; negative ones count from the end.
        max_gap : int, optional
            Bytes between two parts that are fetched along; 64 KiB by default.
        on_error : str
            ``return`` puts the error in the place of the part, ``raise`` raises it.
        **kwargs
            Passed to `cat_file` where a file has a single part.

        Returns
        -------
        list of bytes
            In the order of the paths; parts of one file are of one version.
        """
        if not isinstance(paths, list):
            raise TypeError("paths must be a list")
        first = ranges.spread(starts, len(paths))
        last = ranges.spread(ends, len(paths))
        wanted: dict[str, list[ranges.Wanted]] = {}
        for position, (path, start, stop) in enumerate(zip(paths, first, last, strict=True)):
            wanted.setdefault(self._strip_protocol(path), []).append(ranges.Wanted(position, start, stop))
        gap = ranges.MAX_GAP if max_gap is None else max_gap

        def plan(item: tuple[str, list[ranges.Wanted]]) -> list[ranges.Fetch]:
            return ranges.attempt(lambda: self._fetches(*item, gap, kwargs), item[1], on_error)

        plans = run(plan, wanted.items(), self.options.max_concurrency)
        fetches = [fetch for plan in plans for fetch in plan]
        results: list[Any] = [b""] * len(paths)
        for found in run(lambda fetch: fetch.run(on_error), fetches, self.options.max_concurrency):
            for position, data in found:
                results[position] = data
        return results

    def _fetches(
        self, path: str, wanted: list[ranges.Wanted], max_gap: int, kwargs: dict[str, Any]
    ) -> list[ranges.Fetch]:
        """Return what to fetch of one file."""
        if len(wanted) == 1:
            [one] = wanted
            return [ranges.single(lambda: self.cat_file(path, one.start, one.stop, **kwargs), wanted)]
        pinned = self._pinned(path, kwargs.get("version_id"), max_age=self._read_age())
        content = self._sized(pinned)
        parts = ranges.join((item.within(content.size or 0) for item in wanted), max_gap)

        def fetch(batch: list[ranges.Part]) -> ranges.Fetch:
            spans = [(part.start, part.stop) for part in batch]
            return ranges.Fetch(partial(read_spans, self.session, content, spans), batch)

        return [fetch(batch) for batch in ranges.batches(parts, MAX_RANGES)]

    def get(
        self,
        rpath: Paths,
        lpath: Paths,
        recursive: bool = False,
        callback: Callback = DEFAULT_CALLBACK,
        maxdepth: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Download files, several at a time.

        Parameters
        ----------
        rpath : str or list of str
            Paths or patterns.
        lpath : path-like or list of path-like
            A local file or folder, or one for each path.
        recursive : bool
            Whether to download all that is below.
        callback : Callback
            Is told of the files as they are done.
        maxdepth : int, optional
            Levels to go down; all by default.
        **kwargs
            Passed to `get_file`.
        """
        copies = self._to_get(transfer.plan_get(self, rpath, lpath, recursive, maxdepth), kwargs)
        callback.set_size(len(copies))
        stop, most = Stop(), self.options.max_concurrency
        version_id = kwargs.get("version_id")

        def done(copy: Copy) -> None:
            self._got(copy, kwargs)
            callback.relative_update(1)

        def fetch(copy: Copy) -> None:
            if copy.is_folder:
                Path(copy.target).mkdir(parents=True, exist_ok=True)
                callback.relative_update(1)
            else:
                with callback.branched(copy.source, copy.target) as child:
                    self._get_file(
                        copy.source, copy.target, child, None, stop, version_id, only_file=copy.only_file
                    )
                done(copy)

        if version_id is None:
            copies = get_together(copies, self._read_small, most, callback, stop, done)
        run(fetch, copies, most, stop)

    def _to_get(self, copies: list[Copy], options: Mapping[str, Any]) -> list[Copy]:  # noqa: ARG002
        """Return what of the copies is to be downloaded, before the first one is."""
        return copies

    def _got(self, copy: Copy, options: Mapping[str, Any]) -> None:
        """Do what is left to do when a file has been downloaded."""

    def _to_put(self, copies: list[Copy], options: Mapping[str, Any]) -> list[Copy]:  # noqa: ARG002
        """Return what of the copies is to be uploaded, before the first one is."""
        return copies

    def pipe(self, path: str | dict[str, bytes], value: bytes | None = None, **kwargs: Any) -> None:
        """Write whole files, several at a time.

        Parameters
        ----------
        path : str or dict
            The path, or contents by path.
        value : bytes, optional
            The content, if there is one path.
        **kwargs
            Passed to `pipe_file`.
        """
        if isinstance(path, dict):
            items = list(path.items())
        elif value is not None:
            items = [(path, value)]
        else:
            raise ValueError("a path needs a content: pipe(path, value), or pipe({path: value, ...})")
        stop, most = Stop(), self.options.max_concurrency
        if self._replaces(kwargs.get("mode", "overwrite")):
            metadata, tags = attributes_of(kwargs)

            def upload_of(item: tuple[str, bytes]) -> Upload:
                return Upload(self._strip_protocol(item[0]), item[1], len(item[1]), False, metadata, tags)

            def size_of(item: tuple[str, bytes]) -> int | None:
                return len(item[1]) if isinstance(item[1], bytes) else None

            items = write_together(items, size_of, upload_of, self._write_small, most, stop)
        run(lambda item: self.pipe_file(*item, **kwargs), items, most, stop)

    def _write_small(self) -> WriteSmall | None:
        """Return what stores several small files at once; None where the service cannot."""
        return None

    def _replaces(self, mode: str) -> bool:
        """Tell whether files are stored at once, whatever is there."""
        return write_mode(mode) is OpenMode.REPLACE and not self._intrans

    def put(
        self,
        lpath: Paths,
        rpath: Paths,
        recursive: bool = False,
        callback: Callback = DEFAULT_CALLBACK,
        maxdepth: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Upload files, several at a time.

        Parameters
        ----------
        lpath : path-like or list of path-like
            Local paths or patterns.
        rpath : str or list of str
            A path for all, or one for each.
        recursive : bool
            Whether to upload all that is below.
        callback : Callback
            Is told of the files as they are done.
        maxdepth : int, optional
            Levels to go down; all by default.
        **kwargs
            Passed to `put_file`.
        """
        mode = kwargs.pop("mode", "overwrite")
        opening = write_mode(mode)
        attributes_of(kwargs)  # what cannot be stored is refused before anything is sent
        copies = self._to_put(transfer.plan_put(self, lpath, rpath, recursive, maxdepth), kwargs)
        callback.set_size(len(copies))
        stop = Stop()

        def send(copy: Copy) -> None:
            with callback.branched(copy.source, copy.target) as child:
                self._put_file(copy.source, copy.target, child, opening, stop, kwargs)
            callback.relative_update(1)

        def upload_of(copy: Copy, data: bytes) -> Upload:
            metadata, tags = attributes_of(self._attributes(copy.source, kwargs))
            return Upload(self._strip_protocol(copy.target), data, len(data), False, metadata, tags)

        folders = [copy for copy in copies if copy.is_folder]
        # A folder comes before what is in it, so that each is made once, and by the upload of no file.
        for copy in sorted(folders, key=lambda copy: copy.target):
            send(copy)
        files, most = [copy for copy in copies if not copy.is_folder], self.options.max_concurrency
        if self._replaces(mode):
            files = put_together(files, upload_of, self._write_small, most, callback, stop)
        run(send, files, most, stop)
