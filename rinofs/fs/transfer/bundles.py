"""Small files that go together: several contents in one answer or one request, where a service can."""

from __future__ import annotations

import os
import stat
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from rinofs.fs.transfer.download import replacing
from rinofs.fs.transfer.pool import run
from rinofs.protocol.limits import MAX_BUNDLE, MAX_BUNDLE_UPLOAD, MAX_BUNDLED_FILE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import TypeAlias

    from fsspec.callbacks import Callback

    from rinofs.fs.backend import Upload, WriteSmall
    from rinofs.fs.transfer.plans import Copy
    from rinofs.fs.transfer.pool import Stop

    ReadSmall: TypeAlias = Callable[[Sequence[str]], list[bytes | None]]

Item = TypeVar("Item")

WORTH_IT = 8
"""Files from which on it is tried, since it costs a request to find out that none of them is small."""

TOGETHER = MAX_BUNDLE_UPLOAD
"""Files that are asked for or sent at once; several such requests are under way at a time."""

SMALL = MAX_BUNDLED_FILE
"""Bytes up to which a file is sent together with others."""

ALL = MAX_BUNDLE
"""Bytes of all that is sent at once."""

UNDER_WAY = 4
"""Such requests that are under way at a time, since each holds its files in memory."""


def read_together(
    paths: Sequence[str], read_small: ReadSmall, concurrency: int, on_error: str
) -> dict[str, bytes]:
    """Return the contents of those of many files that come together with others.

    Parameters
    ----------
    paths : sequence of str
        The files.
    read_small : callable
        Returns the contents of some of them, None for those that have to be asked for alone.
    concurrency : int
        Requests at a time.
    on_error : str
        ``raise`` raises what goes wrong; else it is left to those who ask for the files alone.
    """

    def read(group: Sequence[str]) -> list[tuple[str, bytes | None]]:
        try:
            return list(zip(group, read_small(group), strict=True))
        except Exception:
            if on_error == "raise":
                raise
            return []

    if len(paths) < WORTH_IT:
        return {}
    found = run(read, _groups(paths), concurrency)
    return {path: data for pairs in found for path, data in pairs if data is not None}


def get_together(
    copies: Sequence[Copy],
    read_small: ReadSmall,
    concurrency: int,
    callback: Callback,
    stop: Stop,
    done: Callable[[Copy], object],
) -> list[Copy]:
    """Download those of many files that come together with others, and return what is left to download.

    Parameters
    ----------
    copies : sequence of Copy
        What goes where; folders are left.
    read_small : callable
        As for `read_together`.
    concurrency : int
        Requests at a time.
    callback : Callback
        Its branches are told of the bytes of each file.
    stop : Stop
        Ends the work early.
    done : callable
        Is told of each file that is there.
    """

    def get(group: Sequence[Copy]) -> list[Copy]:
        left = []
        for copy, data in zip(group, read_small([copy.source for copy in group]), strict=True):
            stop.check()
            if data is None:
                left.append(copy)
                continue
            with callback.branched(copy.source, copy.target) as child:
                child.set_size(len(data))
                with replacing(copy.target) as file:
                    file.write(data)
                child.relative_update(len(data))
            done(copy)
        return left

    files = [copy for copy in copies if not copy.is_folder]
    if len(files) < WORTH_IT:
        return list(copies)
    left = run(get, _groups(files), concurrency, stop)
    return [copy for copy in copies if copy.is_folder] + [copy for group in left for copy in group]


def write_together(
    items: Sequence[Item],
    size_of: Callable[[Item], int | None],
    upload_of: Callable[[Item], Upload | None],
    writer: Callable[[], WriteSmall | None],
    concurrency: int,
    stop: Stop,
    done: Callable[[Item, Upload], object] = lambda *_: None,
) -> list[Item]:
    """Upload those of many files that go together with others, and return what is left to upload.

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
    """

    def send(write: WriteSmall, group: Sequence[tuple[int, int]]) -> list[int]:
        uploads = {}
        for number, _ in group:
            stop.check()
            uploads[number] = upload_of(items[number])
        ready = {number: upload for number, upload in uploads.items() if upload is not None}
        stored = dict(zip(ready, write(list(ready.values())), strict=True)) if ready else {}
        for number, upload in ready.items():
            if stored[number]:
                done(items[number], upload)
        return [number for number in uploads if stored.get(number)]

    sizes = [size_of(item) for item in items]
    small = [(number, size) for number, size in enumerate(sizes) if size is not None and size <= SMALL]
    write = writer() if len(small) >= WORTH_IT else None
    if write is None:
        return list(items)
    groups = _groups(small, lambda numbered: numbered[1])
    gone = {
        number
        for group in run(partial(send, write), groups, min(concurrency, UNDER_WAY), stop)
        for number in group
    }
    return [item for number, item in enumerate(items) if number not in gone]


def put_together(
    copies: Sequence[Copy],
    upload_of: Callable[[Copy, bytes], Upload],
    writer: Callable[[], WriteSmall | None],
    concurrency: int,
    callback: Callback,
    stop: Stop,
) -> list[Copy]:
    """Upload those of many local files that go together with others, and return what is left to upload.

    Parameters
    ----------
    copies : sequence of Copy
        What goes where; folders are left.
    upload_of : callable
        Returns what to send, given a content.
    writer, concurrency, stop
        As for `write_together`.
    callback : Callback
        Its branches are told of the bytes of each file, and itself of each file that is stored.
    """

    def read(copy: Copy) -> Upload | None:
        data = _whole_file(copy.source)
        return None if data is None else upload_of(copy, data)

    def done(copy: Copy, upload: Upload) -> None:
        with callback.branched(copy.source, copy.target) as child:
            child.set_size(upload.size)
            child.relative_update(upload.size)
        callback.relative_update(1)

    return write_together(
        copies, lambda copy: _size_of_file(copy.source), read, writer, concurrency, stop, done
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
            size = os.fstat(file.fileno()).st_size
            content = file.read(SMALL + 1)
    except OSError:
        return None  # as above
    return content if len(content) == size <= SMALL else None


def _groups(items: Iterable[Item], size_of: Callable[[Item], int] = lambda _: 0) -> list[list[Item]]:
    groups: list[list[Item]] = []
    room = 0
    for item in items:
        room -= size_of(item)
        if not groups or len(groups[-1]) == TOGETHER or room < 0:
            groups.append([])
            room = ALL - size_of(item)
        groups[-1].append(item)
    return groups
