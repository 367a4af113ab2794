"""Appending: new data goes after the current content, even if others append at the same time."""

from __future__ import annotations

import random
import tempfile
import threading
import time
from dataclasses import replace
from typing import IO, TYPE_CHECKING, Any, cast

from fsspec.callbacks import DEFAULT_CALLBACK

from rinofs.errors import (
    ConflictError,
    ContentChangedError,
    NotFoundError,
    PreconditionError,
    ServiceError,
)
from rinofs.fs.backend import ABSENT
from rinofs.fs.process import after_fork_in_child
from rinofs.fs.reading import copy_to

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rinofs.fs.backend import Backend, Pinned, Upload
    from rinofs.fs.files.writer import AppendingWriter

MAX_TRIES = 200
"""Maximum number of attempts while others change the file."""

SMALL = 256 * 1024
"""Maximum number of bytes that are sent to a service that can append by itself."""

_LONGEST_PAUSE = 0.5  # seconds


class _Locks:
    """A lock for each path, so that threads of this process do not compete for it."""

    def __init__(self) -> None:
        self._make()
        after_fork_in_child(self._make)

    def _make(self) -> None:
        self._locks = [threading.Lock() for _ in range(64)]

    def of(self, path: str) -> threading.Lock:
        return self._locks[hash(path) % len(self._locks)]


_locks = _Locks()


def copy_before(backend: Backend, path: str, file: IO[bytes]) -> Pinned | None:
    """Copy the current content into an empty file, and return its version.

    Returns
    -------
    Pinned or None
        None if the file does not exist, or is an object without data.
    """
    for tries_left in reversed(range(MAX_TRIES)):
        before = _content_before(backend, path)
        if before is None:
            return None
        try:
            copy_to(before.source, file, DEFAULT_CALLBACK)
        except (ContentChangedError, NotFoundError) as error:
            # The file grew or was deleted while it was read.
            if not tries_left:
                raise
            file.seek(0)
            file.truncate()
            if isinstance(error, NotFoundError) and not _is_there(backend, path):
                return None  # a datapack path that can name a content, but names none
        else:
            return before
    raise AssertionError


def _content_before(backend: Backend, path: str) -> Pinned | None:
    try:
        return backend.pin(path, fresh=True)
    except FileNotFoundError:
        return None
    except ServiceError:
        if backend.info(path)["type"] == "other":
            return None
        raise


def _is_there(backend: Backend, path: str) -> bool:
    backend.forget(path)
    try:
        backend.info(path)
    except ABSENT:
        return False
    return True


class Appending:
    """Store what was appended to a file.

    A content is only stored in place of the one that it extends. If another client was faster, the appended
    data is put after what that client wrote.

    Parameters
    ----------
    backend : Backend
        Stores the contents.
    before : Pinned or None
        Content when the file was opened.
    given : mapping
        Fields of the `Upload` other than path, content and condition.
    """

    def __init__(self, backend: Backend, before: Pinned | None, given: Mapping[str, Any]) -> None:
        self._backend = backend
        self._before = before
        self._given = given

    def send(self, upload: Upload, writer: AppendingWriter) -> None:
        """Store the content of a writer, which begins with the previous content.

        Raises
        ------
        PreconditionError
            If others changed the file during each attempt, or if the writer truncated the previous content.
        """
        path, kept = upload.path, writer.kept
        source = cast("IO[bytes]", upload.source)
        with _locks.of(path):
            if not writer.rewritten and self._grown_by_service(path, source, kept, upload.size - kept):
                return
            for count in range(MAX_TRIES):
                try:
                    if count == 0:
                        self._store(upload, self._before)
                    else:
                        self._store_after(upload, source, kept)
                except (PreconditionError, ConflictError):
                    if writer.rewritten or count == MAX_TRIES - 1:
                        raise
                    _pause(count)
                else:
                    return

    def _grown_by_service(self, path: str, source: IO[bytes], kept: int, added: int) -> bool:
        plain = all(self._given.get(name) is None for name in ("metadata", "tags"))
        if not plain or not 0 < added <= SMALL:
            return False
        source.seek(kept)
        data = source.read()
        source.seek(0)
        return self._backend.append(path, data)

    def _store(self, upload: Upload, before: Pinned | None) -> None:
        if before is None:
            self._backend.send(replace(upload, exclusive=True, **self._given))
            return
        # The whole content is stored as a new version, which has only the metadata and tags sent with it.
        kept = {name: before.info.get(name) for name in ("metadata", "tags")}
        given = {**self._given, **{name: value for name, value in kept.items() if self._given[name] is None}}
        self._backend.send(replace(upload, if_match=before.etag, **given))

    def _store_after(self, upload: Upload, source: IO[bytes], kept: int) -> None:
        with tempfile.TemporaryFile() as spool:
            before = copy_before(self._backend, upload.path, spool)
            source.seek(kept)
            while piece := source.read(1024 * 1024):
                spool.write(piece)
            size = spool.tell()
            spool.seek(0)
            self._store(replace(upload, source=spool, size=size), before)


def _pause(count: int) -> None:
    longest = min(_LONGEST_PAUSE, 0.005 * 2 ** min(count, 10))
    time.sleep(random.uniform(0, longest))  # noqa: S311 - spreads load, guards nothing
