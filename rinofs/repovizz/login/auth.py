"""Authorization of repovizz2 sessions: access tokens, and their renewal."""

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

_EARLY = 30.0  # seconds before its expiry that a token is renewed
_NOT_AGAIN = 30.0  # seconds between two attempts to renew a token that is still valid


def auth_for(credentials: Credentials) -> Auth:
    """Return the authorization for credentials; the token of a profile is renewed when it expires."""
    if credentials.profile is None:
        return StaticAuth("Bearer", credentials.token)
    return RefreshingAuth(credentials.profile)


class RefreshingAuth:
    """The tokens of a stored login, renewed before they expire.

    Threads and processes that share the login renew it only once: the others read the new tokens from the
    profile store.

    Parameters
    ----------
    profile : Profile
        Login at the time when the filesystem was created.
    store : ProfileStore, optional
        Store of the login.
    clock : callable, optional
        Monotonic clock, in seconds.
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
        # A short-lived token is used until shortly before its expiry.
        early = 0.0 if lifetime is None else min(_EARLY, lifetime / 10)
        self._due = None if lifetime is None else self._clock() + lifetime - early
        self._profile = profile

    def header(self) -> str:
        """Return ``Bearer`` and the token, renewed if it is about to expire."""
        if self._due is not None and self._clock() >= self._due and self._profile.refresh_token:
            # The token may still be valid. If not, the service refuses it, and the error is raised then.
            with contextlib.suppress(RinofsError):
                self.renew(self._value())
        return self._value()

    def _value(self) -> str:
        return f"Bearer {self._profile.token}"

    def renew(self, refused: str) -> bool:
        """Get new tokens: from the store if another process renewed them, else from the service.

        Raises
        ------
        CredentialsError
            If the service does not renew them; a new login is required.
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
