"""Reading from a filesystem of either service."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

from fsspec.callbacks import DEFAULT_CALLBACK
from fsspec.utils import isfilelike

from rinofs.errors import ContentChangedError, InvalidRequestError, NotFoundError
from rinofs.fs.browsing import BrowsableFileSystem
from rinofs.fs.files.origins import RemoteSource
from rinofs.fs.files.reader import RemoteReader
from rinofs.fs.transfer.download import download, replacing
from rinofs.fs.transfer.pool import Stop
from rinofs.http.content.content import open_content, read_content
from rinofs.options import check_cache_type

if TYPE_CHECKING:
    from collections.abc import Callable

    from fsspec.callbacks import Callback

    from rinofs.fs.browse import Info
    from rinofs.http.content.content import Content
    from rinofs.http.session.session import HttpSession

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


class ReadableFileSystem(BrowsableFileSystem):
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

        def fetch(content: Content, where: IO[bytes], connections: int) -> None:
            download(
                self.session,
                content,
                where,
                verify=self.options.verify_content,
                callback=callback,
                stop=stop,
                connections=connections,
            )

        if file is not None:
            fetch(self._pinned(path, version_id, max_age=self._read_age()).content, file, 1)
            return

        def fetch_to_name(content: Content) -> None:
            with replacing(target) as part:
                fetch(content, part, self.options.parallel_ranges)

        try:
            if version_id is not None:
                fetch_to_name(self._pinned(path, version_id, max_age=self._read_age()).content)
            else:
                self._read_current(path, fetch_to_name)
        except IsADirectoryError:
            if not only_file:
                Path(target).mkdir(parents=True, exist_ok=True)

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
        if cache_type is not None:
            check_cache_type(cache_type)
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
