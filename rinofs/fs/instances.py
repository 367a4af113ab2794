"""Creation, identity and pickling of filesystem objects, and the HTTP sessions that they share."""

from __future__ import annotations

import inspect
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from fsspec.config import conf
from fsspec.spec import AbstractFileSystem

from rinofs.credentials import ChosenLogin, ConfiguredToken, configured_options, digest_of
from rinofs.errors import CredentialsError
from rinofs.fs.process import Registry
from rinofs.http.session.session import HttpSession

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from rinofs.credentials import Credentials, Service
    from rinofs.http.session.shared import Auth
    from rinofs.options import Options


class Instances(type(AbstractFileSystem)):  # type: ignore[misc]
    """Create filesystem objects as fsspec does, without configured secrets in the options that they store.

    fsspec merges its configuration and environment into ``storage_options``, which are pickled and part of
    ``to_json``. A token from there is removed again, since the process that loads the pickle has its own
    configuration. Objects with different tokens are never shared: the token, its digest, or the login's
    owner is part of fsspec's instance key.
    """

    service: Service
    protocol: str | tuple[str, ...]

    @property
    def __signature__(cls) -> inspect.Signature:
        """The options with their defaults, for `help`, which would show the signature of `__call__`."""
        return inspect.signature(partial(cls.__init__, None))  # type: ignore[misc]

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        """Return the filesystem with these options: a new one, or one that this thread created earlier."""
        if args or getattr(cls, "service", None) is None:
            return super().__call__(*args, **kwargs)
        # fsspec looks under the protocols of the class, which may be a user's subclass with its own.
        protocols = (cls.protocol,) if isinstance(cls.protocol, str) else tuple(cls.protocol)
        service = replace(cls.service, protocols=protocols)
        filesystem = super().__call__(**configured_options(service, kwargs, conf))
        filesystem.storage_options = dict(_remembered(filesystem.storage_options))
        return filesystem


def _remembered(options: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in options.items():
        if isinstance(value, ConfiguredToken) or (name == "token" and value is None):
            continue
        if isinstance(value, ChosenLogin):
            if value:
                yield name, str(value)
        else:
            yield name, value


def remake(kind: Instances, options: Mapping[str, Any]) -> Any:
    """Recreate a filesystem from its pickle.

    Parameters
    ----------
    kind : type
        Class of the filesystem.
    options : mapping
        Its options, without configured secrets.

    Returns
    -------
    filesystem
        If there are no credentials for it, an object that raises the error when it is used.
    """
    try:
        return kind(**options)
    except CredentialsError:
        return WithoutLogin(kind, options)


class WithoutLogin:
    """A filesystem whose pickle was loaded in a process without credentials for it.

    Every use tries again to create the filesystem, and raises the error if that fails. An error during
    unpickling would stop every worker of a dask cluster, and its client would wait for ever.

    Parameters
    ----------
    kind : type
        Class of the filesystem.
    options : mapping
        Its options.
    """

    __slots__ = ("_kind", "_options")

    def __init__(self, kind: Instances, options: Mapping[str, Any]) -> None:
        self._kind = kind
        self._options = options

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)  # Python and libraries probe these on any object
        return getattr(self._kind(**self._options), name)

    def __reduce__(self) -> tuple[Any, ...]:
        return remake, (self._kind, self._options)


_sessions: Registry[HttpSession] = Registry()


def shared_session(
    endpoint_url: str,
    credentials: Credentials,
    auth_for: Callable[[Credentials], Auth],
    options: Options,
    observe: Callable[[int, Mapping[str, str]], None],
    headers: Mapping[str, str] | None = None,
) -> HttpSession:
    """Return the session for an endpoint and an identity.

    Parameters
    ----------
    endpoint_url : str
        The endpoint.
    credentials : Credentials
        Token or login of the user.
    auth_for : callable
        Creates the authorization from the credentials; the same function for all filesystems of a service.
    options : Options
        Timeouts and limits.
    observe : callable
        Called with the status and headers of each response.
    headers : mapping, optional
        Sent with every request.
    """
    # The origin is part of the key: an error about the token must name where this filesystem's token came
    # from.
    who = (
        credentials.profile.name
        if credentials.profile
        else (digest_of(credentials.token), credentials.origin)
    )
    identity = (auth_for, endpoint_url, credentials.identity, who)
    return _sessions.get(
        (*identity, options.timeout, options.max_concurrency),
        lambda: HttpSession(
            endpoint_url,
            auth_for(credentials),
            timeout=options.timeout,
            max_concurrency=options.max_concurrency,
            headers=headers or {},
            observe=observe,
            token_advice=credentials.advice or None,
        ),
    )
