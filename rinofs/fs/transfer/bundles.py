"""Bundles: many small files in one request, where the service can."""

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
"""Files from which on it is tried, since it costs a request to find out that none of them is small."""


MAX_UPLOADS = 4
"""Bundles that are uploaded at a time, since each holds its files in memory."""


def cat_bundles(
    paths: Sequence[str], read_bundle: ReadBundle, concurrency: int, errors: FileErrors
) -> dict[str, bytes]:
    """Return the contents of those of many files that come in bundles.

    Parameters
    ----------
    paths : sequence of str
        The files.
    read_bundle : callable
        Returns the contents of some of them, None for those that have to be asked for alone.
    concurrency : int
        Requests at a time.
    errors : FileErrors
        If they are not raised, the files of a bundle that fails are left to be asked for alone.
    """

    def read(group: Sequence[str]) -> list[tuple[str, bytes | None]]:
        return list(zip(group, _read(read_bundle, group, errors), strict=True))

    if len(paths) < MIN_FILES:
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
    """Download those of many files that come in bundles, and return what is left to download.

    Parameters
    ----------
    copies : sequence of Copy
        What goes where; no folders.
    read_bundle, concurrency, errors
        As for `cat_bundles`.
    callback : Callback
        Its branches are told of the bytes of each file.
    stop : Stop
        Ends the work early.
    done : callable
        Is told of each file that is there.
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
) -> list[Item]:
    """Upload those of many files that go in bundles, and return what is left to upload.

    Parameters
    ----------
    items : sequence
        The files.
    size_of : callable
        Returns the bytes of one, None for what has to go alone.
    upload_of : callable
        Returns what to send, with its content in memory; None for what has to go alone after all.
    writer : callable
        Returns what stores several files at once, and tells which of them it has stored; None where the
        service cannot.
    concurrency : int
        Requests at a time.
    stop : Stop
        Ends the work early.
    done : callable
        Is told of each file that is stored.
    failed : callable, optional
        Is told of each file that could not be, or whose bundle could not be sent; by default, raises that.
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
    writing = writer() if len(small) >= MIN_FILES else None
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
    """Upload those of many local files that go in bundles, and return what is left to upload.

    Parameters
    ----------
    copies : sequence of Copy
        What goes where; no folders.
    upload_of : callable
        Returns what to send, given a content.
    writer, concurrency, stop
        As for `pipe_bundles`.
    callback : Callback
        Its branches are told of the bytes of each file, and itself of each file that is stored.
    errors : FileErrors
        If they are not raised, it is told of each file of a bundle that fails.
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
    """Return the size of a local file, None for what is none."""
    try:
        found = os.stat(path)  # noqa: PTH116 - twice as fast
    except OSError:
        return None  # which is told when it is sent alone
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def _whole_file(path: str) -> bytes | None:
    """Return what is in a local file, if it is small; None as well if it changes at this moment."""
    try:
        with Path(path).open("rb") as file:
            before = state_of(file)
            content = file.read(MAX_BUNDLED_FILE + 1)
            whole = before is not None and state_of(file) == before and len(content) == before[0]
    except OSError:
        return None  # as above
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
