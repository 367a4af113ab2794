"""The HTTP sessions of a process: one for each service, endpoint and identity."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rinofs.credentials import digest_of
from rinofs.fs.process import Registry
from rinofs.http.session.session import HttpSession

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rinofs.credentials import Credentials
    from rinofs.http.session.shared import Auth
    from rinofs.options import Options

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
    who = credentials.profile.name if credentials.profile else digest_of(credentials.token)
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
        ),
    )
