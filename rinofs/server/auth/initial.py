"""The first user of a server, whose token and password `rinofs serve` sets."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rinofs.server.auth.account_tokens import new_token
from rinofs.server.auth.passwords import check_new_password

if TYPE_CHECKING:
    from rinofs.server.auth.accounts import Accounts

__all__ = ["InitialCredentials", "prepare_user"]


@dataclass(frozen=True, slots=True)
class InitialCredentials:
    """Token and password of an account, as far as known: only their hashes are stored.

    Attributes
    ----------
    token, password : str or None
        The given or newly created one, or None if an earlier one is still valid.
    """

    token: str | None = field(repr=False)
    password: str | None = field(repr=False)


def prepare_user(
    accounts: Accounts, username: str, *, token: str | None, password: str | None
) -> InitialCredentials:
    """Make sure that a user can sign in.

    Parameters
    ----------
    accounts : Accounts
        Users of the server.
    username : str
        The user, who is created if missing, with a random token and password unless given.
    token, password : str or None
        New values, which replace earlier ones, or None to keep those.

    Raises
    ------
    BadRequest, Conflict
        If the token is not valid or belongs to another user, or the password is too short.
    """
    if password is not None:
        check_new_password(password)
    user = accounts.user(username)
    if user is None:
        token = new_token() if token is None else token
        password = secrets.token_urlsafe(12) if password is None else password
        user = accounts.add_user(username)
    if token is not None:
        accounts.tokens.set_primary(user, token)
    if password is not None and not accounts.is_password(user, password):
        accounts.set_password(user, password)
    return InitialCredentials(token, password)
