"""The access token that a repovizz2 session sends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rinofs.http.auth import Auth, StaticAuth

if TYPE_CHECKING:
    from rinofs.credentials import Credentials


def auth_for(credentials: Credentials) -> Auth:
    """Return what gives the session its token; that of a profile is renewed when it ends."""
    return StaticAuth("Bearer", credentials.token)
