"""Browser sessions of the login pages."""

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
"""Seconds for which a browser stays signed in, and a form may be sent."""


class SignedOutError(Exception):
    """Nobody is signed in any more with a browser."""


class Sessions:
    """What is known about the browsers that look at the pages.

    A browser is known by a random value in a cookie, of which a digest is kept once somebody signed in.

    Parameters
    ----------
    database : Database
        Where that is kept.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def sign_in(self, connection: Connection, user: User, *, source: str) -> str:
        """Return a fresh value for the cookie of a browser with which a user has signed in.

        Parameters
        ----------
        connection : Connection
            The transaction in which the user has.
        user : User
            Who it is.
        source : str
            The address of the browser.
        """
        session = secrets.token_urlsafe(32)
        expires = int(self._database.moment(connection) + LIFETIME)
        rows.add_session(connection, _digest(session), user, expires)
        self._database.note(connection, AuditEvent.SIGN_IN, user.username, source)
        return session

    def user(self, session: str) -> User | None:
        """Return who is signed in, or None."""
        if not session:
            return None
        with self._database.read() as connection:
            return rows.session_user(connection, _digest(session), self._database.moment(connection))

    def hold(self, connection: Connection, session: str, user: User) -> None:
        """Have a user stay signed in until a writing transaction ends.

        Raises
        ------
        SignedOutError
            If the user is not any more, since another tab or a new password has ended that.
        """
        if not rows.hold_session(connection, _digest(session), user, self._database.moment(connection)):
            raise SignedOutError

    def sign_out(self, session: str) -> None:
        """Forget who is signed in."""
        with self._database.write() as connection:
            rows.end_session(connection, _digest(session))

    def form_token(self, session: str, purpose: str) -> str:
        """Return what a form has to carry to count as sent by the browser that it was shown to.

        Parameters
        ----------
        session : str
            The cookie of the browser, which is the secret that forms are sealed with.
        purpose : str
            What exactly the form is for.
        """
        with self._database.read() as connection:
            moment = self._database.moment(connection)
        head = f"{int(moment)}.{secrets.token_urlsafe(12)}"
        return f"{head}.{_mac(session, purpose, head)}"

    def is_good(self, token: str, session: str, purpose: str) -> bool:
        """Tell whether a form comes from the browser that it was shown to; each may be sent once."""
        head, _, mac = token.rpartition(".")
        if not token.isascii() or not hmac.compare_digest(mac, _mac(session, purpose, head)):
            return False
        begun = head.partition(".")[0]
        if not begun.isdigit() or len(begun) > 15:  # whoever knows the session can seal anything
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
