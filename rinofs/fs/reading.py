"""Reading from a filesystem of either service."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

from fsspec.callbacks import DEFAULT_CALLBACK
from fsspec.utils import isfilelike

from rinofs.errors import ContentChangedError, InvalidRequestError, NotFoundError
from rinofs.fs import ranges, transfer
from rinofs.fs.base import RemoteFileSystem
from rinofs.fs.download import download, replacing
from rinofs.fs.pool import Stop, run
from rinofs.fs.reader import RemoteReader, RemoteSource
from rinofs.http.content import open_content, read_content

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fsspec.callbacks import Callback

    from rinofs.fs.browse import Info
    from rinofs.fs.transfer import Copy, Paths
    from rinofs.http.content import Content
    from rinofs.http.session import HttpSession

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Pinned:
    """One version of a file, ready to be read.

    Attributes
    ----------
    content : Content
        Where it is.
    info : dict
        What is known of the file.
    version_id : int or str
        What opens this version again.
    key : str
        Names the version among all contents of the endpoint.
    """

    content: Content
    info: Info
    version_id: int | str
    key: str


class ReadableFileSystem(RemoteFileSystem):
    """A filesystem whose files can be read; the parameters are those of its base."""

    session: HttpSession

    @abstractmethod
    def _content(self, path: str) -> Content:
        """Return where the current content of a file is, with as few requests as possible.

        It is not pinned to a version (``etag`` is None) where the service finds it by its path.
        """

    @abstractmethod
    def _read_age(self) -> float:
        """Return how many seconds old the look at what is to be read may be."""

    @abstractmethod
    def _pinned(self, path: str, version_id: int | str | None = None, *, max_age: float = 0.0) -> Pinned:
        """Find a version of a file, by default the current one.

        Parameters
        ----------
        path : str
            The path.
        version_id : int or str, optional
            An earlier version.
        max_age : float
            Seconds that the look may be old.

        Raises
        ------
        NotFoundError
            If there is nothing.
        IsADirectoryError
            If it is a folder.
        """

    def _read_current(self, path: str, read: Callable[[Content], Result]) -> Result:
        """Read the current content, once more if it went or changed between the look and the read."""
        content = self._content(path)
        try:
            return read(content)
        except ContentChangedError:
            pass
        except (NotFoundError, InvalidRequestError) as error:
            if content.etag is None and isinstance(error, NotFoundError):
                raise  # the service itself did the looking
        return read(self._pinned(path).content)

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any) -> bytes:
        """Return the content of a file, or a part of it.

        Parameters
        ----------
        path : str
            The path.
        start, end : int, optional
            First byte, and byte to end before; negative ones count from the end, as in slices.
        **kwargs
            ``version_id`` reads an earlier version.

        Returns
        -------
        bytes
            One version of the content; checked if it is whole.

        Raises
        ------
        NotFoundError
            If there is nothing at the path.
        IsADirectoryError
            If it is a folder.
        """
        path = self._strip_protocol(path)
        version_id = kwargs.get("version_id")
        if end is not None and 0 <= end <= (start or 0):
            self._pinned(path, version_id, max_age=self._read_age())  # raises if there is nothing to read
            return b""

        def read(content: Content) -> bytes:
            return read_content(self.session, content, start or 0, end, verify=self.options.verify_content)

        if version_id is not None:
            return read(self._pinned(path, version_id, max_age=self._read_age()).content)
        return self._read_current(path, read)

    def head(self, path: str, size: int = 1024) -> bytes:
        """Return the first bytes of a file."""
        return self.cat_file(path, 0, size)

    def tail(self, path: str, size: int = 1024) -> bytes:
        """Return the last bytes of a file."""
        return self.cat_file(path, -size) if size else b""

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

        def read(name: str) -> bytes | Exception:
            try:
                return self.cat_file(name, **kwargs)
            except Exception as error:
                if on_error == "raise":
                    raise
                return error

        contents = dict(zip(paths, run(read, paths, self.options.max_concurrency), strict=True))
        if on_error == "omit":
            return {name: data for name, data in contents.items() if isinstance(data, bytes)}
        return contents

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
            return [ranges.Fetch(lambda: self.cat_file(path, one.start, one.stop, **kwargs), [one], 0)]
        pinned = self._pinned(path, kwargs.get("version_id"), max_age=self._read_age())
        content = self._sized(pinned)
        parts = ranges.join((item.within(content.size or 0) for item in wanted), max_gap)
        load = partial(read_content, self.session, content)
        return [ranges.Fetch(partial(load, part.start, part.stop), part.wanted, part.start) for part in parts]

    def get_file(
        self,
        rpath: str,
        lpath: Any = None,
        callback: Callback = DEFAULT_CALLBACK,
        outfile: IO[bytes] | None = None,
        **kwargs: Any,
    ) -> None:
        """Download a file.

        It appears under its name only when it is complete and checked; a folder is made.

        Parameters
        ----------
        rpath : str
            The path.
        lpath : path-like or binary file
            Where to write it.
        callback : Callback
            Is told of the bytes as they come.
        outfile : binary file, optional
            Where to write it instead; what was written before an error stays there.
        **kwargs
            ``version_id`` downloads an earlier version.

        Raises
        ------
        NotFoundError
            If there is nothing at the path.
        ContentMismatchError
            If what came is not what the service vouches for.
        """
        self._get_file(rpath, lpath, callback, outfile, Stop(), kwargs.get("version_id"))

    def _get_file(
        self,
        path: str,
        target: Any,
        callback: Callback,
        outfile: IO[bytes] | None,
        stop: Stop,
        version_id: int | str | None = None,
        *,
        only_file: bool = False,
    ) -> None:
        path = self._strip_protocol(path)
        file = target if outfile is None and isfilelike(target) else outfile

        def fetch(content: Content, where: IO[bytes]) -> None:
            verify = self.options.verify_content
            download(self.session, content, where, verify=verify, callback=callback, stop=stop)

        if file is not None:
            fetch(self._pinned(path, version_id, max_age=self._read_age()).content, file)
            return

        def fetch_to_name(content: Content) -> None:
            with replacing(target) as part:
                fetch(content, part)

        try:
            if version_id is not None:
                fetch_to_name(self._pinned(path, version_id, max_age=self._read_age()).content)
            else:
                self._read_current(path, fetch_to_name)
        except IsADirectoryError:
            if not only_file:
                Path(target).mkdir(parents=True, exist_ok=True)

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
        copies = transfer.plan_get(self, rpath, lpath, recursive, maxdepth)
        callback.set_size(len(copies))
        stop = Stop()

        def fetch(copy: Copy) -> None:
            if copy.is_folder:
                Path(copy.target).mkdir(parents=True, exist_ok=True)
            else:
                version_id = kwargs.get("version_id")
                with callback.branched(copy.source, copy.target) as child:
                    self._get_file(
                        copy.source, copy.target, child, None, stop, version_id, only_file=copy.only_file
                    )
            callback.relative_update(1)

        run(fetch, copies, self.options.max_concurrency, stop)

    def _block_key(self, pinned: Pinned) -> str:
        """Return what the blocks of a content are kept under."""
        return f"{self.endpoint_url} {self._identity} {pinned.key}"

    def _sized(self, pinned: Pinned) -> Content:
        """Return a content with its size, which is found out where the service did not tell it."""
        content = pinned.content
        return content if content.size is not None else replace(content, size=self._size_of(pinned))

    def _size_of(self, pinned: Pinned) -> int:
        """Find out the size of a content of which it is not known."""
        with open_content(self.session, pinned.content) as stream:
            scratch = bytearray(1024 * 1024)
            while stream.size is None and stream.readinto(scratch):
                pass  # a body without a length has to be read to its end
            return stream.position if stream.size is None else stream.size

    def _open_for_reading(
        self,
        path: str,
        *,
        block_size: int | None,
        cache_type: str | None,
        cache_options: dict[str, Any] | None,
        version_id: int | str | None,
    ) -> RemoteReader:
        pinned = self._pinned(path, version_id, max_age=self._read_age())
        content, key = self._sized(pinned), self._block_key(pinned)
        source = RemoteSource(self.session, content, key, content.size or 0, self.options.verify_content)
        return RemoteReader(
            self,
            path,
            source,
            info={**pinned.info, "size": source.size},
            version_id=pinned.version_id,
            block_size=block_size or self.options.block_size,
            cache_type=cache_type or self.options.cache_type,
            cache_options=cache_options,
        )
