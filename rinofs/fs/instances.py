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
    """Make filesystem objects as fsspec does, keeping configured secrets out of what they remember.

    fsspec merges its configuration and environment into ``storage_options``, which are pickled and shown by
    ``to_json``. A token from there is taken out again: whoever loads the pickle has a configuration of its
    own. Two tokens never share an object, since the token, or its digest, or whose login it is, is
    part of what tells them apart.
    """

    service: Service
    protocol: str | tuple[str, ...]

    @property
    def __signature__(cls) -> inspect.Signature:
        """The options with their defaults, for `help`, which would show the arguments of `__call__`."""
        return inspect.signature(partial(cls.__init__, None))  # type: ignore[misc]

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        """Return the filesystem with these options, made now or earlier by this thread."""
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
    """Make a filesystem again from its pickle.

    Parameters
    ----------
    kind : type
        Its class.
    options : mapping
        What it was made with, without configured secrets.

    Returns
    -------
    filesystem
        Where there are no credentials for it, one that says so when it is used.
    """
    try:
        return kind(**options)
    except CredentialsError:
        return WithoutLogin(kind, options)


class WithoutLogin:
    """A filesystem whose pickle was loaded where there are no credentials for it.

    Using it tries to make it once more, and raises what is missing. Raising that while the pickle is loaded
    would take down every worker of a dask cluster, and leave its client waiting without a word.

    Parameters
    ----------
    kind : type
        The class of the filesystem.
    options : mapping
        What it was made with.
    """

    __slots__ = ("_kind", "_options")

    def __init__(self, kind: Instances, options: Mapping[str, Any]) -> None:
        self._kind = kind
        self._options = options

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)  # what Python and others look for in any object
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
    """Return the session of an endpoint and an identity.

    Parameters
    ----------
    endpoint_url : str
        The endpoint.
    credentials : Credentials
        Whose requests they are.
    auth_for : callable
        Makes of the credentials what the service wants to see of them; one function for each service.
    options : Options
        Say how long to wait, and for how many requests at once.
    observe : callable
        Is told of every answer's status and headers.
    headers : mapping, optional
        Sent with every request.
    """
    # With the origin: an error about the token must not name the place that another filesystem's came from.
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
