"""Browser sessions of the login pages, and protection of their forms against forgery (CSRF)."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING

from rinofs.server.catalog.users import signins as rows
from rinofs.server.catalog.users.audit import AuditEvent

if TYPE_CHECKING:
    from rinofs.server.catalog.database import Connection, Database
    from rinofs.server.catalog.records import User

__all__ = ["LIFETIME", "Sessions", "SignedOutError"]

LIFETIME = 3600
"""Seconds until a session, or a form, expires."""


class SignedOutError(Exception):
    """The user is no longer signed in with this browser."""


class Sessions:
    """Sessions of browsers, each identified by a random cookie.

    The database stores digests of the cookies of signed-in users.

    Parameters
    ----------
    database : Database
        The database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def sign_in(self, connection: Connection, user: User, *, source: str) -> str:
        """Start a session for a user.

        Parameters
        ----------
        connection : Connection
            The transaction in which the user signs in.
        user : User
            The user.
        source : str
            Address of the browser, for the audit log.

        Returns
        -------
        str
            The value of the cookie.
        """
        session = secrets.token_urlsafe(32)
        expires = int(self._database.moment(connection) + LIFETIME)
        rows.add_session(connection, _digest(session), user, expires)
        self._database.note(connection, AuditEvent.SIGN_IN, user.username, source)
        return session

    def user(self, session: str) -> User | None:
        """Return the user who is signed in, or None."""
        if not session:
            return None
        with self._database.read() as connection:
            return rows.session_user(connection, _digest(session), self._database.moment(connection))

    def hold(self, connection: Connection, session: str, user: User) -> None:
        """Keep a user signed in until a writing transaction ends.

        Raises
        ------
        SignedOutError
            If the session was ended by another tab or a new password.
        """
        if not rows.hold_session(connection, _digest(session), user, self._database.moment(connection)):
            raise SignedOutError

    def sign_out(self, session: str) -> None:
        """End a session."""
        with self._database.write() as connection:
            rows.end_session(connection, _digest(session))

    def form_token(self, session: str, purpose: str) -> str:
        """Return a token for a form, which proves that the form comes from the browser it was shown to.

        Parameters
        ----------
        session : str
            The cookie of the browser; it is the key of the token's HMAC.
        purpose : str
            Purpose of the form; a token is valid for only one.
        """
        with self._database.read() as connection:
            moment = self._database.moment(connection)
        head = f"{int(moment)}.{secrets.token_urlsafe(12)}"
        return f"{head}.{_mac(session, purpose, head)}"

    def is_good(self, token: str, session: str, purpose: str) -> bool:
        """Return whether the token of a form is valid; each is valid once."""
        head, _, mac = token.rpartition(".")
        if not token.isascii() or not hmac.compare_digest(mac, _mac(session, purpose, head)):
            return False
        begun = head.partition(".")[0]
        if not begun.isdigit() or len(begun) > 15:  # the browser has the key, and can sign anything
            return False
        with self._database.write() as connection:
            moment = self._database.moment(connection)
            if not -60 <= moment - int(begun) <= LIFETIME:
                return False
            return rows.mark_sent(connection, _digest(mac), moment, int(moment + LIFETIME))


def _mac(session: str, purpose: str, head: str) -> str:
    signed = f"{purpose}\0{head}".encode("utf-8", "surrogatepass")
    return hmac.new(session.encode("utf-8", "surrogatepass"), signed, hashlib.sha256).hexdigest()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
