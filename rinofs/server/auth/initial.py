"""The first user of a server: how the command that starts it lets somebody in."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rinofs.server.auth.accounts import new_token
from rinofs.server.auth.passwords import check_new_password

if TYPE_CHECKING:
    from rinofs.server.auth.accounts import Accounts

__all__ = ["InitialCredentials", "prepare_user"]


@dataclass(frozen=True, slots=True)
class InitialCredentials:
    """What opens an account, as far as it is known: stored are hashes only.

    Attributes
    ----------
    token, password : str or None
        The one that was given or just made; None where an earlier one still holds.
    """

    token: str | None = field(repr=False)
    password: str | None = field(repr=False)


def prepare_user(
    accounts: Accounts, username: str, *, token: str | None, password: str | None
) -> InitialCredentials:
    """See to it that a user can sign in.

    Parameters
    ----------
    accounts : Accounts
        The users.
    username : str
        The user; made where missing, with a random token and password in place of omitted ones.
    token, password : str or None
        What holds from now on in place of earlier ones; None to keep them.

    Raises
    ------
    BadRequest, Conflict
        If the token cannot be one, or is another user's, or if the password is too short.
    """
    if password is not None:
        check_new_password(password)
    user = accounts.user(username)
    if user is None:
        token = new_token() if token is None else token
        password = secrets.token_urlsafe(12) if password is None else password
        user = accounts.add_user(username)
    if token is not None:
        accounts.set_token(user, token)
    if password is not None and not accounts.is_password(user, password):
        accounts.set_password(user, password)
    return InitialCredentials(token, password)
