"""Bundles: many small files in one request, if the service supports that."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from rinofs.fs.transfer.download import replacing
from rinofs.fs.transfer.pool import FileErrors, Stop, run
from rinofs.fs.transfer.sources import state_of
from rinofs.protocol.limits import MAX_BUNDLE, MAX_BUNDLE_UPLOAD, MAX_BUNDLED_FILE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import TypeAlias

    from fsspec.callbacks import Callback

    from rinofs.fs.backend import Upload, WriteBundle
    from rinofs.fs.transfer.plans import Copy

    ReadBundle: TypeAlias = Callable[[Sequence[str]], list[bytes | None]]

Item = TypeVar("Item")

MIN_FILES = 8
"""Minimum number of files for a bundle: the request is wasted if none of them is small."""


MAX_UPLOADS = 4
"""Maximum number of concurrent uploads of bundles; each bundle is in memory."""


def cat_bundles(
    paths: Sequence[str],
    read_bundle: ReadBundle,
    concurrency: int,
    errors: FileErrors,
    fewest: int = MIN_FILES,
) -> dict[str, bytes]:
    """Return the contents of the files that can be read in bundles.

    Parameters
    ----------
    paths : sequence of str
        Paths.
    read_bundle : callable
        Returns the contents of several files, None for each that must be requested on its own.
    concurrency : int
        Maximum number of concurrent requests.
    errors : FileErrors
        How errors are handled. Unless they are raised, the files of a failed bundle are left to be requested
        one by one.
    """

    def read(group: Sequence[str]) -> list[tuple[str, bytes | None]]:
        return list(zip(group, _read(read_bundle, group, errors), strict=True))

    if len(paths) < fewest:
        return {}
    found = run(read, _groups(paths), concurrency)
    return {path: data for pairs in found for path, data in pairs if data is not None}


def get_bundles(
    copies: Sequence[Copy],
    read_bundle: ReadBundle,
    concurrency: int,
    callback: Callback,
    stop: Stop,
    errors: FileErrors,
    done: Callable[[Copy], object],
) -> list[Copy]:
    """Download the files that can be read in bundles; returns the copies that are left.

    Parameters
    ----------
    copies : sequence of Copy
        Sources and targets; no folders.
    read_bundle, concurrency, errors
        As for `cat_bundles`.
    callback : Callback
        Its branches receive the progress of each file in bytes.
    stop : Stop
        Cancels the work.
    done : callable
        Called with each file that is complete.
    """

    def store(copy: Copy, data: bytes) -> None:
        with errors.about(copy.source):
            with callback.branched(copy.source, copy.target) as child:
                child.set_size(len(data))
                with replacing(copy.target) as file:
                    file.write(data)
                child.relative_update(len(data))
            done(copy)

    def get(group: Sequence[Copy]) -> list[Copy]:
        left = []
        contents = _read(read_bundle, [copy.source for copy in group], errors)
        for copy, data in zip(group, contents, strict=True):
            stop.check()
            if data is None:
                left.append(copy)
            else:
                store(copy, data)
        return left

    if len(copies) < MIN_FILES:
        return list(copies)
    return [copy for group in run(get, _groups(copies), concurrency, stop) for copy in group]


def _read(read_bundle: ReadBundle, paths: Sequence[str], errors: FileErrors) -> list[bytes | None]:
    try:
        return read_bundle(paths)
    except Exception:
        if errors.raised:
            raise
        return [None] * len(paths)


def _raise(_: object, error: Exception) -> None:
    raise error


def pipe_bundles(
    items: Sequence[Item],
    size_of: Callable[[Item], int | None],
    upload_of: Callable[[Item], Upload | None],
    writer: Callable[[], WriteBundle | None],
    concurrency: int,
    stop: Stop,
    done: Callable[[Item, Upload], object] = lambda *_: None,
    failed: Callable[[Item, Exception], object] = _raise,
    fewest: int = MIN_FILES,
) -> list[Item]:
    """Upload the files that fit into bundles; returns the items that are left.

    Parameters
    ----------
    items : sequence
        Files.
    size_of : callable
        Returns the size of an item in bytes, None for an item that must be sent on its own.
    upload_of : callable
        Returns the upload with its content in memory, None for an item that must be sent on its own after
        all.
    writer : callable
        Returns a function that stores several files at once and reports which of them it stored; None if the
        service cannot.
    concurrency : int
        Maximum number of concurrent requests.
    stop : Stop
        Cancels the work.
    done : callable
        Called with each file that is stored.
    failed : callable, optional
        Called with each file that failed, or whose bundle failed; raises the error by default.
    """

    def prepare(item: Item) -> Upload | None:
        stop.check()
        try:
            return upload_of(item)
        except Exception as error:  # noqa: BLE001 - of one file
            failed(item, error)
            handled.add(id(item))
            return None

    def send(group: Sequence[Item]) -> None:
        uploads = [(item, prepare(item)) for item in group]
        ready = [(item, upload) for item, upload in uploads if upload is not None]
        try:
            stored = write([upload for _, upload in ready]) if ready else []
        except Exception as error:  # noqa: BLE001 - of each of them
            for item, _ in ready:
                failed(item, error)
                handled.add(id(item))
            return
        for (item, upload), is_stored in zip(ready, stored, strict=True):
            if is_stored:
                handled.add(id(item))
                done(item, upload)

    small = [item for item in items if (size := size_of(item)) is not None and size <= MAX_BUNDLED_FILE]
    writing = writer() if len(small) >= fewest else None
    if writing is None:
        return list(items)
    write, handled = writing, set[int]()
    run(send, _groups(small, size_of), min(concurrency, MAX_UPLOADS), stop)
    return [item for item in items if id(item) not in handled]


def put_bundles(
    copies: Sequence[Copy],
    upload_of: Callable[[Copy, bytes], Upload],
    writer: Callable[[], WriteBundle | None],
    concurrency: int,
    callback: Callback,
    stop: Stop,
    errors: FileErrors,
) -> list[Copy]:
    """Upload the local files that fit into bundles; returns the copies that are left.

    Parameters
    ----------
    copies : sequence of Copy
        Sources and targets; no folders.
    upload_of : callable
        Returns the upload for a file and its content.
    writer, concurrency, stop
        As for `pipe_bundles`.
    callback : Callback
        Its branches receive the progress of each file in bytes, the callback itself the number of stored
        files.
    errors : FileErrors
        How errors are handled. Unless they are raised, each file of a failed bundle is reported.
    """

    def read(copy: Copy) -> Upload | None:
        data = _whole_file(copy.source)
        return None if data is None else upload_of(copy, data)

    def done(copy: Copy, upload: Upload) -> None:
        with callback.branched(copy.source, copy.target) as child:
            child.set_size(upload.size)
            child.relative_update(upload.size)
        callback.relative_update(1)

    def failed(copy: Copy, error: Exception) -> None:
        if errors.raised:
            raise error
        errors.add(copy.source, error)

    sizes = {id(copy): _size_of_file(copy.source) for copy in copies}
    return pipe_bundles(
        copies,
        lambda copy: sizes[id(copy)],
        read,
        writer,
        concurrency,
        stop,
        done,
        failed,
    )


def _size_of_file(path: str) -> int | None:
    """Return the size of a local file, None for anything else."""
    try:
        found = os.stat(path)  # noqa: PTH116 - twice as fast
    except OSError:
        return None  # sending it on its own raises the error
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def _whole_file(path: str) -> bytes | None:
    """Return the content of a local file if it is small; None also if it changes while it is read."""
    try:
        with Path(path).open("rb") as file:
            before = state_of(file)
            content = file.read(MAX_BUNDLED_FILE + 1)
            whole = before is not None and state_of(file) == before and len(content) == before[0]
    except OSError:
        return None  # sending it on its own raises the error
    return content if whole and len(content) <= MAX_BUNDLED_FILE else None


def _groups(items: Iterable[Item], size_of: Callable[[Item], int | None] = lambda _: 0) -> list[list[Item]]:
    groups: list[list[Item]] = []
    room = 0
    for item in items:
        size = size_of(item) or 0
        room -= size
        if not groups or len(groups[-1]) == MAX_BUNDLE_UPLOAD or room < 0:
            groups.append([])
            room = MAX_BUNDLE - size
        groups[-1].append(item)
    return groups
