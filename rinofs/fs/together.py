"""Small files that come together: several contents from one answer, where a service can."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from rinofs.fs.download import replacing
from rinofs.fs.pool import run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import TypeAlias

    from fsspec.callbacks import Callback

    from rinofs.fs.pool import Stop
    from rinofs.fs.transfer import Copy

    ReadSmall: TypeAlias = Callable[[Sequence[str]], list[bytes | None]]

Item = TypeVar("Item")

WORTH_IT = 8
"""Files from which on it is tried, since it costs a request to find out that none of them is small."""

TOGETHER = 64
"""Files that are asked for at once; several such requests are under way at a time."""


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


def _groups(items: Iterable[Item]) -> list[list[Item]]:
    rest = iter(items)
    return list(iter(lambda: list(islice(rest, TOGETHER)), []))
