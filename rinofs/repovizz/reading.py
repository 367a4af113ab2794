"""Reading from datapacks: contents by their hashes, and the structure document."""

from __future__ import annotations

from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

from fsspec.utils import isfilelike

from rinofs.errors import (
    AuthenticationError,
    ContentChangedError,
    InvalidRequestError,
    NotAllowedError,
    NotFoundError,
)
from rinofs.fs.blocks import shared_blocks
from rinofs.fs.changing import ChangeableFileSystem
from rinofs.fs.files.reader import SMALL, RemoteReader
from rinofs.fs.reading import Pinned
from rinofs.fs.transfer import ranges
from rinofs.fs.transfer.download import replacing
from rinofs.http.content.content import open_content, read_content
from rinofs.http.content.verify import Verifier
from rinofs.repovizz.infos import info_of_document, info_of_node
from rinofs.repovizz.memory import MemorySource
from rinofs.repovizz.paths import parse
from rinofs.repovizz.resolver import Stored

if TYPE_CHECKING:
    from collections.abc import Callable

    from fsspec.callbacks import Callback

    from rinofs.fs.browse import Info
    from rinofs.fs.transfer.pool import Stop
    from rinofs.http.content.content import Content
    from rinofs.repovizz.client import RepovizzClient
    from rinofs.repovizz.documents.cache import Shelf
    from rinofs.repovizz.records import Datapack
    from rinofs.repovizz.resolver import Resolver

Result = TypeVar("Result")

_OVERTAKEN = (ContentChangedError, InvalidRequestError, NotAllowedError, NotFoundError)


class DatapackReading(ChangeableFileSystem):
    """A filesystem of datapacks that can be read; the parameters are those of its base."""

    _client: RepovizzClient
    _resolver: Resolver
    _shelf: Shelf

    def _read_age(self) -> float:
        return self.options.listing_age

    def _content(self, path: str) -> Content:
        return self._pinned(path, max_age=self._read_age()).content

    def _pinned(self, path: str, version_id: int | str | None = None, *, max_age: float = 0.0) -> Pinned:
        if version_id is not None:
            datapack = self._resolver.datapack(parse(path).datapack, max_age)
            stored = Stored(datapack, str(version_id), None)
        else:
            stored = self._resolver.stored(path, max_age)
        identifier = stored.datapack.id
        size = self._shelf.size(identifier, stored.hash)
        content = self._client.content(identifier, stored.hash, self.url(path), size)
        info: Info = {"name": path, "type": "file", "datapack": identifier}
        if stored.node is not None:
            info = info_of_node(path, stored.datapack, stored.node)
        return Pinned(content, {**info, "size": size}, stored.hash, f"{identifier} {stored.hash}")

    def _once_more_if_overtaken(self, path: str, read: Callable[[Pinned], Result]) -> Result:
        """Read what is known to be there, and once more after looking if that turns out to be gone."""
        pinned = self._pinned(path, max_age=self._read_age())
        try:
            return read(pinned)
        except AuthenticationError:
            raise
        except _OVERTAKEN:
            pass
        return read(self._pinned(path))

    def _read_current(self, path: str, read: Callable[[Content], Result]) -> Result:
        return self._once_more_if_overtaken(path, lambda pinned: read(pinned.content))

    def _size_of(self, pinned: Pinned) -> int:
        """Find out the size of a content with the request that brings its beginning."""
        content = pinned.content
        with open_content(self.session, content, 0, SMALL) as stream:
            data = stream.readall()
            if stream.size is None and len(data) >= SMALL:
                return super()._size_of(pinned)
            size = len(data) if stream.size is None else stream.size
            if self.options.verify_content and len(data) == size:
                verifier = Verifier.for_answer(stream.headers, None, size, label=content.label)
                verifier.feed(data)
                verifier.finish()
        self._keep(pinned, data, size)
        return size

    def _keep(self, pinned: Pinned, data: bytes, size: int) -> None:
        if len(data) <= shared_blocks.max_bytes:
            shared_blocks.keep(self._block_key(pinned), 0, data)
        self._shelf.keep_size(pinned.info["datapack"], str(pinned.version_id), size)

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any) -> bytes:
        """Return the content of a file, or a part of it.

        What this process has read before, of a content that did not change, is not downloaded again.

        Parameters
        ----------
        path : str
            The path.
        start, end : int, optional
            First byte, and byte to end before; negative ones count from the end, as in slices.
        **kwargs
            ``version_id`` reads the content of a hash.

        Raises
        ------
        NotFoundError
            If there is nothing at the path, or nothing was uploaded for it yet.
        IsADirectoryError
            If it is a folder.
        """
        path = self._strip_protocol(path)
        version_id = kwargs.get("version_id")
        if self._is_document(path):
            return self._datapack(path).text[start:end]
        if version_id is not None:
            return self._cat(self._pinned(path, version_id, max_age=self._read_age()), start, end)
        return self._once_more_if_overtaken(path, lambda pinned: self._cat(pinned, start, end))

    def _cat(self, pinned: Pinned, start: int | None, end: int | None) -> bytes:
        if end is not None and 0 <= end <= (start or 0):
            return b""
        size = pinned.content.size
        if size is not None:
            first, last, _ = slice(start, end).indices(size)
            if first >= last:
                return b""
            held = shared_blocks.held(self._block_key(pinned), first, last)
            if held is not None:
                return held
        verify = self.options.verify_content
        data = read_content(self.session, pinned.content, start or 0, end, verify=verify)
        if not start and end is None:
            self._keep(pinned, data, len(data))
        return data

    # The document

    @staticmethod
    def _is_document(path: str) -> bool:
        return parse(path).is_document

    def _datapack(self, path: str) -> Datapack:
        return self._resolver.datapack(parse(path).datapack, self._read_age())

    def _fetches(
        self, path: str, wanted: list[ranges.Wanted], max_gap: int, kwargs: dict[str, Any]
    ) -> list[ranges.Fetch]:
        if not self._is_document(path):
            return super()._fetches(path, wanted, max_gap, kwargs)
        text = self._datapack(path).text
        whole = ranges.Wanted(0, 0, len(text))
        within = [item.within(len(text)) for item in wanted]
        if len(within) == 1:
            [only] = within
            return [ranges.single(lambda: text[only.start : only.stop], within, only.start or 0)]
        return [ranges.single(lambda: text, within, whole.start or 0)]

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
        if not self._is_document(path):
            super()._get_file(path, target, callback, outfile, stop, version_id, only_file=only_file)
            return
        text = self._datapack(path).text
        callback.set_size(len(text))
        file = target if outfile is None and isfilelike(target) else outfile
        if file is not None:
            file.write(text)
        else:
            with replacing(Path(target)) as part:
                part.write(text)
        callback.relative_update(len(text))

    def _open_for_reading(
        self,
        path: str,
        *,
        block_size: int | None,
        cache_type: str | None,
        cache_options: dict[str, Any] | None,
        version_id: int | str | None,
    ) -> RemoteReader:
        if not self._is_document(path):
            return super()._open_for_reading(
                path,
                block_size=block_size,
                cache_type=cache_type,
                cache_options=cache_options,
                version_id=version_id,
            )
        datapack = self._datapack(path)
        source = MemorySource.of(datapack.text)
        return RemoteReader(
            self,
            path,
            source,
            info=info_of_document(path, datapack),
            version_id=source.key,
            block_size=block_size or self.options.block_size,
            cache_type=cache_type or self.options.cache_type,
            cache_options=cache_options,
        )
