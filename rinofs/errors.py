"""The errors of rinofs.

Each is also the builtin error that fsspec, pandas and other Python code expect, so ``except
FileNotFoundError`` works as usual::

    RinofsError
    ├── InvalidPathError (ValueError)             the path is not valid
    ├── InvalidOptionError (ValueError)           the value of an option is not valid
    │   └── InvalidOptionTypeError (TypeError)    the type of a value is wrong, or the option does not exist
    ├── InvalidDatapackError (ValueError)         a document or a node cannot be used
    ├── UnknownDatatypeError (LookupError)        no datatype has this name or id
    ├── CredentialsError (PermissionError)        no usable token for the endpoint
    ├── ServiceError (OSError)                    the service refused the request
    │   ├── NotFoundError (FileNotFoundError)
    │   ├── NotAllowedError (PermissionError)
    │   │   └── AuthenticationError               the token is invalid or expired
    │   ├── ConflictError (FileExistsError)
    │   ├── PreconditionError                     the object has changed
    │   ├── InvalidRequestError (ValueError)
    │   ├── TooLargeError                         the content is too large
    │   └── UnavailableError                      the service is overloaded or down
    ├── ConnectionFailedError (ConnectionError)   the endpoint did not respond
    │   └── OutcomeUnknownError                   a change was sent, but there was no response
    ├── DeadlineError (TimeoutError)              the response was too slow
    ├── ProtocolError (OSError)                   the response is not valid
    ├── ContentChangedError (OSError)             the content was replaced while it was read or moved
    └── ContentMismatchError (OSError)            the bytes do not match the digest
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
    """Base class of all errors that rinofs raises."""


class InvalidPathError(RinofsError, ValueError):
    """The path is not valid; nothing was sent."""


class InvalidOptionError(RinofsError, ValueError):
    """The value of an option is not valid; the message has the allowed values."""


class InvalidOptionTypeError(InvalidOptionError, TypeError):
    """A value has the wrong type, or the option does not exist.

    It is a ``TypeError``, as for any Python call, and also a ``ValueError``, as all invalid options are.
    """


class InvalidDatapackError(RinofsError, ValueError):
    """A datapack's document or a node cannot be used; the message names the node."""


class UnknownDatatypeError(RinofsError, LookupError):
    """No datatype has this name or id."""


class _PathError(RinofsError, OSError):
    """An error about a path or URL, with the attributes of ``OSError``.

    Parameters
    ----------
    message : str
        What happened, and what to do next.
    path : str, optional
        The path or URL, available as ``filename``.
    """

    code = errno.EIO

    def __init__(self, message: str, path: str | None = None) -> None:
        if path is None:
            super().__init__(self.code, message)
        else:
            super().__init__(self.code, message, path)
        self.message = message

    def __str__(self) -> str:
        """Return the part of `message` before its semicolon, the path, and the rest of `message`."""
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
    """There is no token for the endpoint, or the token must not be sent to it."""

    code = errno.EACCES


class ServiceError(_PathError):
    """The service refused the request.

    Attributes
    ----------
    status : int or None
        HTTP status of the response.
    """

    def __init__(self, message: str, path: str | None = None, *, status: int | None = None) -> None:
        super().__init__(message, path)
        self.status = status


class NotFoundError(ServiceError, FileNotFoundError):
    """The object does not exist (404, 410).

    Attributes
    ----------
    detail : str
        Further information, such as which part of the path exists.
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
    """The user has no permission for the object (403)."""

    code = errno.EACCES


class AuthenticationError(NotAllowedError):
    """The token is invalid or expired (401)."""


class ConflictError(ServiceError, FileExistsError):
    """The name is taken (409)."""

    code = errno.EEXIST


class PreconditionError(ServiceError):
    """The object has changed: a condition of the request is not met (412)."""

    code = errno.EBUSY


class InvalidRequestError(ServiceError, ValueError):
    """The request is not valid (400, 405, 415, 422)."""

    code = errno.EINVAL


class TooLargeError(ServiceError):
    """The content is too large for the service (413)."""

    code = errno.EFBIG


class UnavailableError(ServiceError):
    """The service is overloaded or down (429, 5xx)."""

    code = errno.EAGAIN


class ConnectionFailedError(_PathError, ConnectionError):
    """The endpoint did not respond, or the connection was lost."""

    code = errno.ECONNABORTED


class OutcomeUnknownError(ConnectionFailedError):
    """A request that changes something was sent, but there was no response: it may have been carried out."""


class DeadlineError(_PathError, TimeoutError):
    """The response was too slow."""

    code = errno.ETIMEDOUT


class ProtocolError(_PathError):
    """The response is not valid in the service's protocol.

    Attributes
    ----------
    status : int or None
        HTTP status of the response, if it was unexpected.
    """

    code = errno.EPROTO

    def __init__(self, message: str, path: str | None = None, *, status: int | None = None) -> None:
        super().__init__(message, path)
        self.status = status


class ContentChangedError(_PathError):
    """The content was replaced while it was being read or moved; open it again to read the new version."""

    code = errno.ESTALE if hasattr(errno, "ESTALE") else errno.EIO


class ContentMismatchError(_PathError):
    """The bytes do not match the service's digest."""

    code = errno.EBADMSG if hasattr(errno, "EBADMSG") else errno.EIO


class NotWrittenWarning(RuntimeWarning):
    """A file was closed or deleted without being stored."""
