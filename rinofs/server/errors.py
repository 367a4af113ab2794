"""Error responses of the server.

Handlers and everything below them raise these; the application turns them into JSON. Errors of the storage
are translated here too, so that no failure of a disk or database becomes a bare 500.
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
        What is wrong, including the name of the field, if any. It is sent to the client.
    field : str, optional
        The field of the request that caused it.
    headers : mapping of str to str, optional
        Headers of the response.

    Attributes
    ----------
    status : int
        The HTTP status of the response.
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
        """Return the same refusal, with a message that says which of several things it concerns."""
        return type(self)(f"{what}: {self.message}", field=self.field, headers=self.headers)


class BadRequest(ApiError):  # noqa: N818 (named as HTTP names them)
    """The request cannot be understood (400)."""

    status = 400


class Unauthorized(ApiError):  # noqa: N818
    """The request has no valid token (401)."""

    status = 401


class Forbidden(ApiError):  # noqa: N818
    """The requested object does not belong to the user (403)."""

    status = 403


class NotFound(ApiError):  # noqa: N818
    """The user has no such object (404)."""

    status = 404


class Conflict(ApiError):  # noqa: N818
    """The name is taken, or the object is in the wrong state (409)."""

    status = 409


class PreconditionFailed(ApiError):  # noqa: N818
    """The object does not meet the condition of the request (412)."""

    status = 412


class TooLarge(ApiError):  # noqa: N818
    """The request is larger than the server accepts (413)."""

    status = 413


class UnsupportedMedia(ApiError):  # noqa: N818
    """The body has a type that the server does not support (415)."""

    status = 415


class Unprocessable(ApiError):  # noqa: N818
    """The body does not match the request's description of it (422)."""

    status = 422


class TooManyRequests(ApiError):  # noqa: N818
    """The client must wait (429)."""

    status = 429


class Unavailable(ApiError):  # noqa: N818
    """The storage is not available; the request may be sent again (503)."""

    status = 503


class InsufficientStorage(ApiError):  # noqa: N818
    """The disk is full (507)."""

    status = 507


FAILURES: Counter[tuple[str, str]] = Counter()
"""Number of failures below the server since the process started, by part and reason."""

_counting = threading.Lock()


def count_failure(part: str, reason: str) -> None:
    """Count a failure of something below the server.

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
    """Return the error for a lock, or all connections, that others hold for too long."""
    count_failure("database", "busy")
    return Unavailable("the database is busy; try again", headers={"Retry-After": "1"})


def database_full() -> InsufficientStorage:
    """Return the error for a database that has no space left."""
    count_failure("database", "full")
    return InsufficientStorage("the server's disk is full")


def database_failed(reason: object) -> Unavailable:
    """Return the error for another failure of the database; clients see the reason."""
    count_failure("database", "failed")
    return Unavailable(f"the database failed: {reason}", headers={"Retry-After": "5"})


def takes_too_long() -> BadRequest:
    """Return the error for a query that was interrupted because it took too long."""
    return BadRequest("the request takes too long to answer; ask for less at once, or for fewer conditions")


_FULL = {errno.ENOSPC, errno.EDQUOT} if hasattr(errno, "EDQUOT") else {errno.ENOSPC}


@contextmanager
def storage_failures() -> Iterator[None]:
    """Turn failures of files and folders into error responses.

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
"""Bounds of the disk reserve, which otherwise is a twentieth of the disk."""


def refuse_full(folder: Path, size: int = 0) -> None:
    """Refuse to use up the reserve of a disk, with which users can still sign in, list and delete.

    Parameters
    ----------
    folder : Path
        Folder on the disk.
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
