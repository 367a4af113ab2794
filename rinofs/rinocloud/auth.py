"""Authorization of Rinocloud sessions: API tokens."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NoReturn

from rinofs.fs.process import after_fork_in_child
from rinofs.http.session.shared import Auth, StaticAuth
from rinofs.profiles import ProfileStore

if TYPE_CHECKING:
    from rinofs.credentials import Credentials
    from rinofs.profiles import Profile


def auth_for(credentials: Credentials) -> Auth:
    """Return the authorization for credentials; the token of a profile is read again when it is refused."""
    if credentials.profile is None:
        return StaticAuth("Token", credentials.token)
    return ProfileAuth(credentials.profile)


class ProfileAuth:
    """The token of a stored login, which the user may replace at any time.

    Parameters
    ----------
    profile : Profile
        Login at the time when the filesystem was created.
    """

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._make_lock()
        after_fork_in_child(self._make_lock)

    def _make_lock(self) -> None:
        self._lock = threading.Lock()

    def header(self) -> str:
        """Return ``Token`` and the token."""
        return f"Token {self._profile.token}"

    def renew(self, refused: str) -> bool:
        """Check whether there is a new login for the same endpoint."""
        with self._lock:
            if self.header() != refused:
                return True
            stored = ProfileStore().load(self._profile.service, self._profile.name)
            if stored is None or not stored.is_for(self._profile.endpoint_url):
                return False
            self._profile = stored
            return self.header() != refused

    def __repr__(self) -> str:
        return f"ProfileAuth({self._profile.name!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("credentials cannot be pickled; create them from the options")
