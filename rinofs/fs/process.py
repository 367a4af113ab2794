"""What a process shares between its filesystem objects, and what a fork does to it."""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from rinofs.credentials import digest_of
from rinofs.http.session.session import HttpSession

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

    from rinofs.credentials import Credentials
    from rinofs.http.session.auth import Auth
    from rinofs.options import Options

Value = TypeVar("Value")


def after_fork_in_child(method: Callable[[], None]) -> None:
    """Have a bound method called in the child of every fork, for as long as its object lives.

    A lock that another thread holds while the process forks would stay locked in the child for ever.
    """
    if not hasattr(os, "register_at_fork"):
        return
    reference: weakref.ref[Any] = weakref.WeakMethod(method)

    def call() -> None:
        alive = reference()
        if alive is not None:
            alive()

    os.register_at_fork(after_in_child=call)


class Registry(Generic[Value]):
    """One object per key, made when it is first asked for, and shared by all threads."""

    def __init__(self) -> None:
        self._values: dict[Hashable, Value] = {}
        self._make_lock()
        after_fork_in_child(self._make_lock)

    def _make_lock(self) -> None:
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """Return the object for `key`, calling `make` where there is none yet."""
        with self._lock:
            if key not in self._values:
                self._values[key] = make()
            return self._values[key]


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
