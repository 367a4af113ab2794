"""The answers by which the server refuses a request.

Handlers and everything below them raise these; the application turns them into JSON. What the storage
below fails with is translated here too, so that no failure of a disk or database ends as a bare 500.
"""

from __future__ import annotations

import errno
import os
import threading
from collections import Counter
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = [
    "FAILURES",
    "ApiError",
    "BadRequest",
    "Conflict",
    "Forbidden",
    "InsufficientStorage",
    "NotFound",
    "PreconditionFailed",
    "TooLarge",
    "TooManyRequests",
    "Unauthorized",
    "Unavailable",
    "Unprocessable",
    "UnsupportedMedia",
    "count_failure",
    "database_busy",
    "database_failed",
    "database_full",
    "refuse_full",
    "storage_failures",
    "takes_too_long",
]

_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class ApiError(Exception):
    """A refusal.

    Parameters
    ----------
    message : str
        What is wrong, naming the field where there is one. It is sent to the client.
    field : str, optional
        The field of the request that is to blame.
    headers : mapping of str to str, optional
        Headers to send with the answer.

    Attributes
    ----------
    status : int
        The HTTP status of the answer.
    """

    status = 500

    def __init__(
        self, message: str, *, field: str | None = None, headers: Mapping[str, str] = _NO_HEADERS
    ) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.headers = headers

    def about(self, what: str) -> Self:
        """Return the same refusal, its message naming which of several things it is about."""
        return type(self)(f"{what}: {self.message}", field=self.field, headers=self.headers)


class BadRequest(ApiError):  # noqa: N818 (named as HTTP names them)
    """The request cannot be understood (400)."""

    status = 400


class Unauthorized(ApiError):  # noqa: N818
    """The request has no valid token (401)."""

    status = 401


class Forbidden(ApiError):  # noqa: N818
    """What the request is about is not the user's (403)."""

    status = 403


class NotFound(ApiError):  # noqa: N818
    """The user has no such object (404)."""

    status = 404


class Conflict(ApiError):  # noqa: N818
    """The name is taken, or the object is in the wrong state (409)."""

    status = 409


class PreconditionFailed(ApiError):  # noqa: N818
    """The object is not as the request wants it (412)."""

    status = 412


class TooLarge(ApiError):  # noqa: N818
    """The request is larger than the server takes (413)."""

    status = 413


class UnsupportedMedia(ApiError):  # noqa: N818
    """The body is of a type that the server does not read (415)."""

    status = 415


class Unprocessable(ApiError):  # noqa: N818
    """The body is not what the request says it is (422)."""

    status = 422


class TooManyRequests(ApiError):  # noqa: N818
    """The client has to wait (429)."""

    status = 429


class Unavailable(ApiError):  # noqa: N818
    """The storage is not available; the request may be sent again (503)."""

    status = 503


class InsufficientStorage(ApiError):  # noqa: N818
    """The disk is full (507)."""

    status = 507


FAILURES: Counter[tuple[str, str]] = Counter()
"""How often what is below the server failed since the process began, by part and reason."""

_counting = threading.Lock()


def count_failure(part: str, reason: str) -> None:
    """Take note that something below the server failed.

    Parameters
    ----------
    part : str
        ``database`` or ``contents``.
    reason : str
        ``busy``, ``failed`` or ``full``.
    """
    with _counting:
        FAILURES[part, reason] += 1


def database_busy() -> Unavailable:
    """Return the answer where others hold a lock, or all connections, for too long."""
    count_failure("database", "busy")
    return Unavailable("the database is busy; try again", headers={"Retry-After": "1"})


def database_full() -> InsufficientStorage:
    """Return the answer where the database has no room left."""
    count_failure("database", "full")
    return InsufficientStorage("the server's disk is full")


def database_failed(reason: object) -> Unavailable:
    """Return the answer where the database fails in another way; clients see the reason."""
    count_failure("database", "failed")
    return Unavailable(f"the database failed: {reason}", headers={"Retry-After": "5"})


def takes_too_long() -> BadRequest:
    """Return the answer to what the database was stopped from answering."""
    return BadRequest("the request takes too long to answer; ask for less at once, or for fewer conditions")


_FULL = {errno.ENOSPC, errno.EDQUOT} if hasattr(errno, "EDQUOT") else {errno.ENOSPC}


@contextmanager
def storage_failures() -> Iterator[None]:
    """Turn failures of files and folders into answers.

    Raises
    ------
    InsufficientStorage
        If the disk, or the quota, is full.
    Unavailable
        If the storage fails in another way.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            count_failure("contents", "full")
            raise InsufficientStorage("the server's disk is full") from error
        count_failure("contents", "failed")
        raise Unavailable(
            f"the server's storage failed: {error.strerror or type(error).__name__}",
            headers={"Retry-After": "5"},
        ) from error


MIB = 1024 * 1024
LEAST_RESERVE, LARGEST_RESERVE = 8 * MIB, 256 * MIB
"""Bounds of the reserve of disk, which is a twentieth of the disk otherwise."""


def refuse_full(folder: Path, size: int = 0) -> None:
    """Refuse what would use up the reserve of a disk, with which users can still sign in, list and delete.

    Parameters
    ----------
    folder : Path
        A folder on the disk.
    size : int
        Number of bytes to be written.

    Raises
    ------
    InsufficientStorage
        If less than the reserve would be free.
    """
    with storage_failures():
        disk = os.statvfs(folder)
    reserve = max(LEAST_RESERVE, min(LARGEST_RESERVE, disk.f_blocks * disk.f_frsize // 20))
    if disk.f_bavail * disk.f_frsize - size < reserve:
        count_failure("contents", "full")
        raise InsufficientStorage("the server's disk is full")
