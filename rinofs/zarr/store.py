"""A zarr store on a filesystem of rinofs."""

from __future__ import annotations

import asyncio
import re
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from fsspec.core import url_to_fs
from zarr.abc.store import OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import Buffer, default_buffer_prototype

from rinofs.errors import InvalidPathError
from rinofs.fs.backend import ABSENT
from rinofs.fs.filesystem import RemoteFileSystem
from rinofs.protocol.limits import MAX_BUNDLE, MAX_BUNDLE_UPLOAD, MAX_BUNDLED_FILE
from rinofs.rinocloud.filesystem import RinoFileSystem
from rinofs.zarr.batching import Batcher, BatchLimits, run_in_thread
from rinofs.zarr.shards import ShardReads

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
    from typing import TypeAlias

    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import BufferPrototype

    Span: TypeAlias = tuple[str, int | None, int | None]
    """A path, and the start and stop of a range, as in a slice."""
    Writes: TypeAlias = list[tuple[str, Buffer]]
    """Paths, and the values to store there."""

Value = TypeVar("Value")

_NO_FILE = (*ABSENT, IsADirectoryError)  # everything else is raised: zarr fills in values for missing chunks
_BUNDLE = BatchLimits(items=MAX_BUNDLE_UPLOAD, size=MAX_BUNDLE, calls=4, patience=0.01)
_RANGES = BatchLimits(items=1024, size=16 * 1024 * 1024, calls=4)
_ONE = BatchLimits(items=1, size=0, calls=8)
_MOST_ARRAYS = 1000
_LIKE_AN_ID = re.compile(r"@+[0-9]+")
_ESCAPED = re.compile(r"@@+[0-9]+")


class RinoStore(Store):
    """Keys and values of zarr, stored as files below a folder of a service.

    What zarr requests at the same time goes to the service in one request, as far as the service supports
    that: the contents of many chunks, many ranges of a shard, chunks to write. A single read does not wait
    for others. Values are verified as by the filesystem. Only values that do not exist are missing for zarr;
    all other errors are raised.

    Parameters
    ----------
    fs : RinoFileSystem or RepovizzFileSystem
        The filesystem. A store in repovizz2 is read-only.
    path : str
        The folder of the store.
    read_only : bool
        Whether the store refuses changes.

    Raises
    ------
    InvalidPathError
        If the folder is the top level, since zarr clears the folder of a store that it creates.
    """

    supports_writes: bool = True
    supports_deletes: bool = True
    supports_listing: bool = True

    def __init__(self, fs: RemoteFileSystem, path: str = "", read_only: bool = False) -> None:
        super().__init__(read_only=read_only or not _can_write(fs))
        self.fs = fs
        self.path = str(fs._strip_protocol(path))  # noqa: SLF001 - fsspec's way to normalise a path
        if not self.path:
            raise InvalidPathError(f"{fs.url('')} is the top level; name a folder for the store")
        self._prepare()

    def _prepare(self) -> None:
        self._arrays_of_large: set[str] = set()
        self._shards = ShardReads(self.fs)
        self._contents: Batcher[str, bytes | None] = Batcher(self._small, _BUNDLE)
        self._large: Batcher[str, bytes] = Batcher(self._alone, _ONE)
        self._ranges: Batcher[Span, bytes] = Batcher(self._parts, _RANGES, _length)
        self._writes: Batcher[tuple[str, Buffer], None] = Batcher(self._write, _BUNDLE, _size)
        self._large_writes: Batcher[tuple[str, Buffer], None] = Batcher(self._write, _ONE)

    @classmethod
    def from_url(
        cls, url: str, storage_options: Mapping[str, Any] | None = None, read_only: bool = False
    ) -> RinoStore:
        """Return the store at a URL.

        Parameters
        ----------
        url : str
            Its folder: ``rino://...`` or ``repovizz://...``, which is read-only.
        storage_options : mapping, optional
            The options of the filesystem.
        read_only : bool
            Whether the store refuses changes.

        Raises
        ------
        InvalidPathError
            If it is not such a URL.
        """
        fs, path = url_to_fs(url, **(storage_options or {}))
        if not isinstance(fs, RemoteFileSystem):
            raise InvalidPathError(f"{url} is not a rino:// or repovizz:// URL; use zarr.storage.FsspecStore")
        return cls(fs, path, read_only)

    def with_read_only(self, read_only: bool = False) -> RinoStore:
        """Return another store for the same folder, read-only or not.

        Raises
        ------
        ValueError
            If the service is read-only.
        """
        if not read_only and not _can_write(self.fs):
            raise ValueError(f"{self}: stores in {self.fs.service.name} are read-only")
        return type(self)(self.fs, self.path, read_only)

    def __str__(self) -> str:
        return self.fs.url(self.path)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, type(self))
            and (self.path, self.read_only) == (other.path, other.read_only)
            and self.fs == other.fs
        )

    __hash__ = None  # type: ignore[assignment]  # as of zarr's own stores

    def __getstate__(self) -> dict[str, Any]:
        # Waiting calls are not pickled; the filesystem omits a token that was not given in code.
        return {name: getattr(self, name) for name in ("fs", "path", "_read_only", "_is_open")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._prepare()

    # Reading

    async def get(
        self, key: str, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Return a value or a part of it; None if it does not exist."""
        self._is_open = True
        path, span = self._path(key), _bounds(byte_range)
        try:
            if byte_range is None:
                data = await self._whole(path)
            else:
                data = await self._part(path, byte_range, span)
        except _NO_FILE:
            return None
        return _buffer(data, prototype)

    async def _part(self, path: str, byte_range: ByteRequest, span: tuple[int | None, int | None]) -> bytes:
        data = None
        if isinstance(byte_range, SuffixByteRequest) and byte_range.suffix:
            data = await self._shards.last(path, byte_range.suffix)
        elif isinstance(byte_range, RangeByteRequest):
            data = await self._shards.part(path, byte_range.start, byte_range.end)
        return await self._ranges.ask((path, *span)) if data is None else data

    async def _whole(self, path: str) -> bytes:
        array = path.rpartition("/c/")[0] or path.rpartition("/")[0]
        data = None if array in self._arrays_of_large else await self._contents.ask(path)
        if data is not None:
            return data
        data = await self._large.ask(path)
        if len(data) > MAX_BUNDLED_FILE:
            # Chunks of an array have similar sizes: requesting others together would mean requesting them
            # twice.
            if len(self._arrays_of_large) > _MOST_ARRAYS:
                self._arrays_of_large.clear()
            self._arrays_of_large.add(array)
        return data

    def _small(self, paths: list[str]) -> Sequence[bytes | Exception | None]:
        """Read small contents together; None for each that must be read on its own."""
        return self._alone(paths) if len(paths) == 1 else self.fs.cat_small(paths)

    def _alone(self, paths: list[str]) -> list[bytes | Exception]:
        return [self.fs.cat_file(path) for path in paths]

    def _parts(self, spans: list[Span]) -> list[bytes | Exception]:
        paths, starts, ends = (list(column) for column in zip(*spans, strict=True))
        return self.fs.cat_ranges(paths, starts, ends, on_error="return")

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Return parts of values; None for each part of a value that does not exist."""
        return list(await asyncio.gather(*(self.get(key, prototype, part) for key, part in key_ranges)))

    async def get_ranges(
        self,
        key: str,
        byte_ranges: Sequence[ByteRequest | None],
        *,
        prototype: BufferPrototype,
        **_tuning: Any,
    ) -> AsyncIterator[Sequence[tuple[int, Buffer | None]]]:
        """Yield parts of one value with their positions; zarr 3.3 and later read shards this way.

        The filesystem decides how to join parts; one request can contain many.

        Raises
        ------
        BaseExceptionGroup
            Contains the errors; FileNotFoundError if the value does not exist.
        """
        shard = self._shards.opened(self._path(key))
        if shard is None:
            parts = (self.get(key, prototype, part) for part in byte_ranges)
            found = await asyncio.gather(*parts, return_exceptions=True)
        else:
            read = await run_in_thread(partial(shard.read_many, [_bounds(part) for part in byte_ranges]))
            found = _buffers(read, prototype)
        yield _checked(key, found)

    def get_ranges_sync(
        self,
        key: str,
        byte_ranges: Sequence[ByteRequest | None],
        *,
        prototype: BufferPrototype,
        **_tuning: Any,
    ) -> Sequence[tuple[int, Buffer | None]]:
        """Return parts of one value with their positions; raises the same errors as `get_ranges`."""
        path, spans = self._path(key), [_bounds(part) for part in byte_ranges]
        shard = self._shards.opened(path)
        if shard is not None:
            found = shard.read_many(spans)
        else:
            found = self._parts([(path, *span) for span in spans]) if spans else []
        return _checked(key, _buffers(found, prototype))

    async def exists(self, key: str) -> bool:
        """Return whether a value exists."""
        return await run_in_thread(partial(self.fs.isfile, self._path(key)))

    async def getsize(self, key: str) -> int:
        """Return the size of a value in bytes; raises FileNotFoundError if it does not exist."""
        path = self._path(key)
        info = await run_in_thread(partial(self.fs.info, path))
        if info["type"] != "file":
            raise FileNotFoundError(2, "is not a file", self.fs.url(path))
        return int(info["size"])

    async def getsize_prefix(self, prefix: str) -> int:
        """Return the total size in bytes of all values below a folder."""
        return sum((await self._below(prefix)).values())

    # Listing

    def list(self) -> AsyncIterator[str]:
        """Yield all keys."""
        return self.list_prefix("")

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Yield the keys below a folder, using one request."""
        for key in await self._below(prefix):
            yield key

    async def _below(self, prefix: str) -> dict[str, int]:
        """Return the sizes of the values below a folder, by key."""
        path = self._path(prefix.rstrip("/"))
        found = await run_in_thread(partial(self.fs.find, path, detail=True))
        sizes = {self._key(name): int(info["size"]) for name, info in found.items() if name != path}
        return {key: size for key, size in sizes.items() if key is not None}

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Yield the names of the entries of a folder."""
        path = self._path(prefix.rstrip("/"))
        try:
            names = await run_in_thread(partial(self.fs.ls, path, detail=False))
        except ABSENT:
            return
        for name in names:
            key = None if name == path else self._key(name)
            if key is not None:
                yield key.rpartition("/")[2]

    # Changing

    async def set(self, key: str, value: Buffer) -> None:
        """Store a value."""
        item = self._writing(key, value)
        if len(value) > MAX_BUNDLED_FILE:
            await self._large_writes.ask(item)
        else:
            await self._writes.ask(item)

    def _writing(self, key: str, value: Buffer) -> tuple[str, Buffer]:
        self._is_open = True
        self._check_writable()
        if not isinstance(value, Buffer):
            raise TypeError(f"{self}: the value of {key!r} must be a Buffer, not {type(value).__name__}")
        path = self._path(key)
        self._shards.forget(path)
        return path, value

    def _write(self, items: Writes) -> Sequence[Exception | None]:
        errors = self.fs.pipe_each({path: value.to_bytes() for path, value in items})
        return [errors.get(path) for path, _ in items]

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        """Store a value unless it exists; only one of several writers succeeds."""
        path, _ = self._writing(key, value)

        def create() -> None:
            try:
                self.fs.pipe_file(path, value.to_bytes(), mode="create")
            except FileExistsError:
                return

        await run_in_thread(create)

    async def delete(self, key: str) -> None:
        """Remove a value, if it exists."""
        self._check_writable()
        await run_in_thread(partial(self._delete, self._path(key)))

    def _delete(self, path: str) -> None:
        try:
            self.fs.rm(path)
        except _NO_FILE:
            return
        finally:
            self._shards.forget(path)

    async def delete_dir(self, prefix: str) -> None:
        """Remove a folder and all values below it; the folder of the store itself is only emptied."""
        self._check_writable()
        await run_in_thread(partial(self._delete_folder, self._path(prefix.rstrip("/"))))

    def _delete_folder(self, path: str) -> None:
        try:
            if path == self.path:
                # The folder itself stays, since its URL may contain its id.
                if names := [name for name in self.fs.ls(path, detail=False, refresh=True) if name != path]:
                    self.fs.rm(names, recursive=True)
            elif self.fs.info(path, refresh=True)["type"] == "directory":
                self.fs.rm(path, recursive=True)
        except ABSENT:
            return
        finally:
            self._shards.forget(path)

    # Called by zarr's fused pipeline, from its own threads

    def get_sync(
        self,
        key: str,
        *,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """Return a value or a part of it; None if it does not exist."""
        self._is_open = True
        path, span = self._path(key), _bounds(byte_range)
        try:
            if isinstance(byte_range, SuffixByteRequest) and byte_range.suffix:
                data = self._shards.last_now(path, byte_range.suffix)
            elif isinstance(byte_range, RangeByteRequest) and (shard := self._shards.opened(path)):
                data = shard.read_one(*span)
            else:
                data = self.fs.cat_file(path, *span)
        except _NO_FILE:
            return None
        return _buffer(data, prototype)

    def set_sync(self, key: str, value: Buffer) -> None:
        """Store a value."""
        path, _ = self._writing(key, value)
        self.fs.pipe_file(path, value.to_bytes())

    def delete_sync(self, key: str) -> None:
        """Remove a value, if it exists."""
        self._check_writable()
        self._delete(self._path(key))

    # Paths

    def _path(self, key: str) -> str:
        """Return the path of a key. A part such as ``@5`` is a name in a key, but an id in a path."""
        if not key:
            return self.path
        if "@" in key:
            key = "/".join(f"@{part}" if _LIKE_AN_ID.fullmatch(part) else part for part in key.split("/"))
        return f"{self.path}/{key}"

    def _key(self, path: str) -> str | None:
        """Return the key of a path; None for an object whose name cannot be part of a key."""
        key = path.removeprefix(f"{self.path}/")
        if "@" not in key:
            return key
        parts = [part[1:] if _ESCAPED.fullmatch(part) else part for part in key.split("/")]
        by_id = any(_LIKE_AN_ID.fullmatch(part) and part[1] != "@" for part in key.split("/"))
        return None if by_id else "/".join(parts)


def _can_write(fs: RemoteFileSystem) -> bool:
    return isinstance(fs, RinoFileSystem)


def _buffer(data: bytes, prototype: BufferPrototype | None) -> Buffer:
    return (prototype or default_buffer_prototype()).buffer.from_bytes(data)


def _buffers(
    found: Iterable[bytes | Exception], prototype: BufferPrototype
) -> list[Buffer | BaseException | None]:
    return [_buffer(one, prototype) if isinstance(one, bytes) else one for one in found]


def _bounds(byte_range: ByteRequest | None) -> tuple[int | None, int | None]:
    """Return the start and stop of a range, as in a slice."""
    if byte_range is None:
        return None, None
    if isinstance(byte_range, RangeByteRequest):
        return byte_range.start, byte_range.end
    if isinstance(byte_range, OffsetByteRequest):
        return byte_range.offset, None
    if isinstance(byte_range, SuffixByteRequest):
        # No slice means the last 0 bytes.
        return (-byte_range.suffix, None) if byte_range.suffix else (0, 0)
    raise ValueError(f"Unexpected byte_range, got {byte_range}.")  # as zarr's own tests expect


def _length(span: Span) -> int:
    """Return the size of a range in bytes; for one without an end, the maximum size of a request."""
    _, start, end = span
    if end is not None:
        return max(end - (start or 0), 0)
    return -start if start is not None and start < 0 else _RANGES.size


def _size(item: tuple[str, Buffer]) -> int:
    return len(item[1])


def _checked(key: str, found: Iterable[Buffer | BaseException | None]) -> Sequence[tuple[int, Buffer | None]]:
    """Return parts with their positions; raises the error if one stands in place of a part."""
    parts = []
    errors: list[BaseException] = []
    for number, one in enumerate(found):
        if isinstance(one, Buffer):
            parts.append((number, one))
        elif not isinstance(one, BaseException) or isinstance(one, _NO_FILE):
            errors.append(FileNotFoundError(2, "there is no such value", key))
        else:
            errors.append(one)
    if errors:
        raise BaseExceptionGroup(f"{key}: reading parts failed", errors)
    return parts
