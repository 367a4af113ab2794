"""The errors of rinofs.

Each is also the builtin error that fsspec, pandas and plain Python code expect, so that
``except FileNotFoundError`` works without knowing rinofs::

    RinofsError
    ├── InvalidPathError (ValueError)             a path that no object can have
    ├── InvalidOptionError (ValueError)           a value that an option does not take
    │   └── InvalidOptionTypeError (TypeError)    a value of the wrong type, or an option that does not exist
    ├── InvalidDatapackError (ValueError)         no datapack document, or a node that is unusable
    ├── UnknownDatatypeError (LookupError)        no datatype of that name or id
    ├── CredentialsError (PermissionError)        no usable token for the endpoint
    ├── ServiceError (OSError)                    the service refused
    │   ├── NotFoundError (FileNotFoundError)
    │   ├── NotAllowedError (PermissionError)
    │   │   └── AuthenticationError               the token was refused
    │   ├── ConflictError (FileExistsError)
    │   ├── PreconditionError                     the object is not as it was when it was last looked at
    │   ├── InvalidRequestError (ValueError)
    │   ├── TooLargeError                         the service takes nothing of this size
    │   └── UnavailableError                      too many requests, or the service is down
    ├── ConnectionFailedError (ConnectionError)   no answer from the endpoint
    │   └── OutcomeUnknownError                   a write was sent, and no answer came
    ├── DeadlineError (TimeoutError)              the answer was too slow
    ├── ProtocolError (OSError)                   an answer that the service's protocol does not know
    ├── ContentChangedError (OSError)             the content was replaced while it was read
    └── ContentMismatchError (OSError)            the bytes are not those that the service vouches for
"""

from __future__ import annotations

import errno

__all__ = [
    "AuthenticationError",
    "ConflictError",
    "ConnectionFailedError",
    "ContentChangedError",
    "ContentMismatchError",
    "CredentialsError",
    "DeadlineError",
    "InvalidDatapackError",
    "InvalidOptionError",
    "InvalidOptionTypeError",
    "InvalidPathError",
    "InvalidRequestError",
    "NotAllowedError",
    "NotFoundError",
    "NotWrittenWarning",
    "OutcomeUnknownError",
    "PreconditionError",
    "ProtocolError",
    "RinofsError",
    "ServiceError",
    "TooLargeError",
    "UnavailableError",
    "UnknownDatatypeError",
    "visible",
]


def visible(text: str) -> str:
    r"""Return text from outside as one line that does nothing to whatever shows it.

    Control characters, line breaks, and marks that change the direction of text are replaced by escapes such
    as ``\x1b``. Everything from a service, a file or another user passes this on its way to a terminal, an
    exception, a table or a web page.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class RinofsError(Exception):
    """Anything that rinofs itself raises."""


class InvalidPathError(RinofsError, ValueError):
    """A path that no object can have; nothing was sent."""


class InvalidOptionError(RinofsError, ValueError):
    """A value that an option does not take; the message says which it does."""


class InvalidOptionTypeError(InvalidOptionError, TypeError):
    """A value of the wrong type, or an option that does not exist.

    It is a ``TypeError``, as for any Python call, and also the ``ValueError`` of all unusable options.
    """


class InvalidDatapackError(RinofsError, ValueError):
    """A document that is no datapack's, or a node of it that cannot be used; the message names the node."""


class UnknownDatatypeError(RinofsError, LookupError):
    """No datatype of that name or id is registered."""


class _PathError(RinofsError, OSError):
    """An error about one path or URL, in the form that ``OSError`` gives such errors.

    Parameters
    ----------
    message : str
        What happened, and what to do next.
    path : str, optional
        The path or URL that it happened to; found as ``filename``.
    """

    code = errno.EIO

    def __init__(self, message: str, path: str | None = None) -> None:
        if path is None:
            super().__init__(self.code, message)
        else:
            super().__init__(self.code, message, path)
        self.message = message

    def __str__(self) -> str:
        """Return what happened, the path, and then what to do next, which `message` has after a semicolon."""
        what, mark, next_step = self.message.partition("; ")
        if self.filename is None or not mark:
            return visible(super().__str__())
        return visible(f"[Errno {self.errno}] {what}: {self.filename!r}; {next_step}")

    def __reduce__(self) -> tuple[object, ...]:
        # OSError would call the class with its own arguments: (errno, message, filename).
        return _rebuild, (type(self), self.message, self.filename, self.__dict__)


def _rebuild(kind: type[_PathError], message: str, path: str | None, state: dict[str, object]) -> _PathError:
    error = kind(message, path)
    error.__dict__.update(state)
    return error


class CredentialsError(_PathError, PermissionError):
    """There is no token for the endpoint, or the one there is must not be sent to it."""

    code = errno.EACCES


class ServiceError(_PathError):
    """The service answered with a refusal.

    Attributes
    ----------
    status : int or None
        The HTTP status of the answer.
    """

    def __init__(self, message: str, path: str | None = None, *, status: int | None = None) -> None:
        super().__init__(message, path)
        self.status = status


class NotFoundError(ServiceError, FileNotFoundError):
    """The object does not exist (404, 410).

    Attributes
    ----------
    detail : str
        What is known besides, such as which part of the path exists.
    """

    code = errno.ENOENT

    def __init__(
        self,
        message: str = "No such file or folder",
        path: str | None = None,
        *,
        status: int | None = None,
        detail: str = "",
    ) -> None:
        super().__init__(message, path, status=status)
        self.detail = detail

    def __str__(self) -> str:
        return f"{super().__str__()} ({self.detail})" if self.detail else super().__str__()


class NotAllowedError(ServiceError, PermissionError):
    """The object is not this user's to use so (403)."""

    code = errno.EACCES


class AuthenticationError(NotAllowedError):
    """The token was refused (401)."""


class ConflictError(ServiceError, FileExistsError):
    """The name is taken (409)."""

    code = errno.EEXIST


class PreconditionError(ServiceError):
    """The object is not in the state that the request asked for (412)."""

    code = errno.EBUSY


class InvalidRequestError(ServiceError, ValueError):
    """The service does not accept the request (400, 405, 415, 422)."""

    code = errno.EINVAL


class TooLargeError(ServiceError):
    """The service accepts no request of this size (413)."""

    code = errno.EFBIG


class UnavailableError(ServiceError):
    """The service has too much to do, or is down (429, 5xx)."""

    code = errno.EAGAIN


class ConnectionFailedError(_PathError, ConnectionError):
    """No answer came from the endpoint."""

    code = errno.ECONNABORTED


class OutcomeUnknownError(ConnectionFailedError):
    """A request that changes something was sent and no answer came: it may or may not be carried out."""


class DeadlineError(_PathError, TimeoutError):
    """The answer did not come, or not fast enough."""

    code = errno.ETIMEDOUT


class ProtocolError(_PathError):
    """The answer is not one that the service's protocol knows.

    Attributes
    ----------
    status : int or None
        The HTTP status of the answer, where it is what was not expected.
    """

    code = errno.EPROTO

    def __init__(self, message: str, path: str | None = None, *, status: int | None = None) -> None:
        super().__init__(message, path)
        self.status = status


class ContentChangedError(_PathError):
    """The content was replaced while it was being read; open it again to read the new version."""

    code = errno.ESTALE if hasattr(errno, "ESTALE") else errno.EIO


class ContentMismatchError(_PathError):
    """The bytes are not those that the service vouches for."""

    code = errno.EBADMSG if hasattr(errno, "EBADMSG") else errno.EIO


class NotWrittenWarning(RuntimeWarning):
    """A file was closed or dropped in a way that stores nothing."""
