"""Transfer many files: folders first, small files in bundles, the others concurrently."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rinofs.fs.transfer.bundles import get_bundles, put_bundles
from rinofs.fs.transfer.pool import FileErrors, Stop, run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fsspec.callbacks import Callback

    from rinofs.fs.backend import Upload, WriteBundle
    from rinofs.fs.transfer.bundles import ReadBundle
    from rinofs.fs.transfer.plans import Copy


def get_files(
    copies: Sequence[Copy],
    fetch: Callable[[Copy, Callback, Stop], object],
    *,
    read_bundle: ReadBundle | None,
    concurrency: int,
    callback: Callback,
    errors: FileErrors,
    done: Callable[[Copy], object],
) -> None:
    """Download files.

    Parameters
    ----------
    copies : sequence of Copy
        Sources and targets.
    fetch : callable
        Downloads one file, reports progress to the callback, and can be cancelled.
    read_bundle : callable, optional
        As for `cat_bundles`.
    concurrency : int
        Maximum number of concurrent requests.
    callback : Callback
        Receives the progress in files; its branches receive the progress of each file in bytes.
    errors : FileErrors
        How errors are handled.
    done : callable
        Called with each complete file.
    """
    callback.set_size(len(copies))
    stop = Stop()

    def is_there(copy: Copy) -> None:
        done(copy)
        callback.relative_update(1)

    def get(copy: Copy) -> None:
        with errors.about(copy.source):
            if copy.is_folder:
                Path(copy.target).mkdir(parents=True, exist_ok=True)
                callback.relative_update(1)
                return
            with callback.branched(copy.source, copy.target) as child:
                fetch(copy, child, stop)
            is_there(copy)

    folders = [copy for copy in copies if copy.is_folder]
    files = [copy for copy in copies if not copy.is_folder]
    if read_bundle is not None:
        files = get_bundles(files, read_bundle, concurrency, callback, stop, errors, is_there)
    run(get, folders + files, concurrency, stop)


def put_files(
    copies: Sequence[Copy],
    send: Callable[[Copy, Callback, Stop], object],
    *,
    upload_of: Callable[[Copy, bytes], Upload],
    writer: Callable[[], WriteBundle | None] | None,
    concurrency: int,
    callback: Callback,
    errors: FileErrors,
) -> None:
    """Upload files.

    Parameters
    ----------
    copies : sequence of Copy
        Sources and targets.
    send : callable
        Uploads one file or creates a folder, reports progress to the callback, and can be cancelled.
    upload_of, writer
        As for `put_bundles`; without a writer, each file is sent on its own.
    concurrency, callback, errors
        As for `get_files`.
    """
    callback.set_size(len(copies))
    stop = Stop()

    def put(copy: Copy) -> None:
        with errors.about(copy.source):
            with callback.branched(copy.source, copy.target) as child:
                send(copy, child, stop)
            callback.relative_update(1)

    folders = [copy for copy in copies if copy.is_folder]
    # Parents first: each folder is created once, and not by the upload of a file in it.
    for copy in sorted(folders, key=lambda copy: copy.target):
        put(copy)
    files = [copy for copy in copies if not copy.is_folder]
    if writer is not None:
        files = put_bundles(files, upload_of, writer, concurrency, callback, stop, errors)
    run(put, files, concurrency, stop)


def copy_files(
    copies: Sequence[Copy],
    make_folder: Callable[[str], object],
    copy_file: Callable[[Copy], object],
    concurrency: int,
    errors: FileErrors,
) -> None:
    """Copy files within a service.

    Parameters
    ----------
    copies : sequence of Copy
        Sources and targets.
    make_folder : callable
        Creates a folder unless it exists.
    copy_file : callable
        Copies one file.
    concurrency, errors
        As for `get_files`.
    """

    def copy(item: Copy) -> None:
        with errors.about(item.source):
            copy_file(item)

    for folder in [item for item in copies if item.is_folder]:
        with errors.about(folder.source):
            make_folder(folder.target)
    run(copy, [item for item in copies if not item.is_folder], concurrency)
