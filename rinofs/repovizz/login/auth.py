"""The access token that a repovizz2 session sends, and its renewal."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

from rinofs.errors import AuthenticationError, CredentialsError, RinofsError
from rinofs.fs.process import after_fork_in_child
from rinofs.http.session.shared import Auth, StaticAuth
from rinofs.profiles import DEFAULT_PROFILE, ProfileStore
from rinofs.repovizz.login.oauth import OAuthClient

if TYPE_CHECKING:
    from collections.abc import Callable

    from rinofs.credentials import Credentials
    from rinofs.profiles import Profile

_EARLY = 30.0  # seconds before its end that a token is renewed
_NOT_AGAIN = 30.0  # seconds between two tries to renew a token that is still good


def auth_for(credentials: Credentials) -> Auth:
    """Return what gives the session its token; that of a profile is renewed when it ends."""
    if credentials.profile is None:
        return StaticAuth("Bearer", credentials.token)
    return RefreshingAuth(credentials.profile)


class RefreshingAuth:
    """The tokens of a stored login, which are renewed as they end.

    All threads and processes that use the login renew it once: whoever comes later finds the new tokens in
    the store.

    Parameters
    ----------
    profile : Profile
        The login as it was when the filesystem was made.
    store : ProfileStore, optional
        Where it is kept.
    clock : callable, optional
        Seconds on a clock that never goes back.
    """

    def __init__(
        self,
        profile: Profile,
        store: ProfileStore | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store or ProfileStore()
        self._clock = clock
        self._use(profile)
        self._make_lock()
        after_fork_in_child(self._make_lock)

    def _make_lock(self) -> None:
        self._lock = threading.Lock()

    def _use(self, profile: Profile, lifetime: float | None = None) -> None:
        if lifetime is None and profile.expires_at is not None:
            lifetime = profile.expires_at - time.time()
        # A token that does not live much longer than that is used until shortly before its end.
        early = 0.0 if lifetime is None else min(_EARLY, lifetime / 10)
        self._due = None if lifetime is None else self._clock() + lifetime - early
        self._profile = profile

    def header(self) -> str:
        """Return the word ``Bearer`` and the token, renewed if it is about to end."""
        if self._due is not None and self._clock() >= self._due and self._profile.refresh_token:
            # It may still be good; if not, the service will say so, and then what is wrong is told.
            with contextlib.suppress(RinofsError):
                self.renew(self._value())
        return self._value()

    def _value(self) -> str:
        return f"Bearer {self._profile.token}"

    def renew(self, refused: str) -> bool:
        """Get new tokens, from the store if others renewed them or logged in, else from the service.

        Raises
        ------
        CredentialsError
            If the service does not renew them: a new login is needed.
        """
        with self._lock:
            if self._value() != refused:
                return True
            with self._store.locked():
                stored = self._store.load(self._profile.service, self._profile.name)
                if stored is not None and stored.is_for(self._profile.endpoint_url):
                    self._use(stored)
                if self._value() != refused:
                    return True
                return self._refresh()

    def _refresh(self) -> bool:
        profile = self._profile
        if not profile.refresh_token or not profile.client_id:
            return False
        client = OAuthClient(profile.endpoint_url, profile.client_id, profile.client_secret)
        if self._due is not None:
            self._due = self._clock() + _NOT_AGAIN
        try:
            fresh = client.refresh(profile.refresh_token)
        except AuthenticationError as error:
            named = "" if profile.name == DEFAULT_PROFILE else f" --profile {profile.name}"
            raise CredentialsError(
                f"the login expired and could not be renewed ({error.message}); log in again with "
                f"`rinofs login repovizz --endpoint-url {profile.endpoint_url}{named}`",
                profile.endpoint_url,
            ) from None
        ends = None if fresh.expires_in is None else time.time() + fresh.expires_in
        renewed = replace(profile, token=fresh.access, refresh_token=fresh.refresh, expires_at=ends)
        self._use(renewed, fresh.expires_in)
        self._store.save(renewed)
        return True

    def __repr__(self) -> str:
        return f"RefreshingAuth({self._profile.name!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("credentials cannot be pickled; create them from the options")
