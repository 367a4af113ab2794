"""Log in: get an API token for a username and password."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rinofs.endpoints import canonical_endpoint, is_loopback
from rinofs.errors import AuthenticationError, CredentialsError, ProtocolError, UnavailableError
from rinofs.http.session.session import HttpSession
from rinofs.http.session.shared import StaticAuth
from rinofs.http.session.status import service_message
from rinofs.protocol.extensions import REQUESTED_WITH

if TYPE_CHECKING:
    from rinofs.http.connection.response import Response
    from rinofs.http.session.shared import Auth

__all__ = ["CLIENT_ID", "Account", "account_of", "log_in", "open_session"]

CLIENT_ID = "rinofs"
"""Client id of rinofs for a server's password grant."""

_GRANT = "o/token/"
_DETAILS = "api/1/users/details/"


@dataclass(frozen=True, slots=True)
class Account:
    """A user with an API token.

    Attributes
    ----------
    token : str
        API token; not in the repr.
    username : str
        Username for logins.
    email, project : str or None
        As reported by the server, if at all.
    """

    token: str = field(repr=False)
    username: str
    email: str | None = None
    project: str | None = None


class _Nobody:
    """Sends no authorization: the response to the login provides it."""

    def header(self) -> str:
        return ""

    def renew(self, refused: str) -> bool:  # noqa: ARG002 - the protocol's signature
        return False


def log_in(
    endpoint_url: str, username: str, password: str, *, client_id: str = CLIENT_ID, timeout: float = 30.0
) -> Account:
    """Log in with a username and password.

    Parameters
    ----------
    endpoint_url : str
        URL of the server.
    username, password : str
        As on the service's login page.
    client_id : str
        OAuth client id, if the server requires one.
    timeout : float
        Seconds without any data from the server until the request fails.

    Returns
    -------
    Account
        User with an API token, which is new if the server creates one for each login.

    Raises
    ------
    AuthenticationError
        If the username or password is wrong.
    CredentialsError
        If the endpoint is neither https nor local: a password is never sent unencrypted.
    UnavailableError
        If there were too many attempts recently.
    ServiceError, ConnectionFailedError, DeadlineError, ProtocolError
        If the server did not send a usable response.
    """
    session = open_session(endpoint_url, _Nobody(), timeout)
    form = {"grant_type": "password", "client_id": client_id, "username": username, "password": password}
    answer = session.request(
        "POST", _GRANT, data=form, repeatable=False, expect={200, 400, 401, 429}, label=session.endpoint_url
    )
    if answer.status != 200:
        raise _refusal(answer, session.endpoint_url)
    access_token = _text(_object(answer), "access_token", session.endpoint_url)
    return _account(open_session(endpoint_url, StaticAuth("Bearer", access_token), timeout))


def account_of(endpoint_url: str, token: str, *, timeout: float = 30.0) -> Account:
    """Return the user of an API token.

    Raises
    ------
    AuthenticationError
        If the token is not valid.
    CredentialsError
        If the token is malformed, or the endpoint is neither https nor local.
    ServiceError, ConnectionFailedError, DeadlineError, ProtocolError
        If the server did not send a usable response.
    """
    found = _account(open_session(endpoint_url, StaticAuth("Token", token), timeout))
    return Account(token, found.username, found.email, found.project)


def open_session(endpoint_url: str, auth: Auth, timeout: float) -> HttpSession:
    """Return a session for an account, over https or on this machine only.

    Raises
    ------
    CredentialsError
        If the endpoint is neither.
    """
    where = canonical_endpoint(endpoint_url)
    if where.startswith("http://") and not is_loopback(where):
        raise CredentialsError("passwords and tokens are only sent over https; use the https URL", where)
    return HttpSession(where, auth, timeout=timeout, headers={REQUESTED_WITH: "XMLHttpRequest"})


def _account(session: HttpSession) -> Account:
    answer = session.request("POST", _DETAILS, json={}, repeatable=False, label=session.endpoint_url)
    details = _object(answer)
    email, project = (details.get(key) for key in ("email", "project"))
    return Account(
        _text(details, "token", session.endpoint_url),
        _text(details, "username", session.endpoint_url),
        email if isinstance(email, str) else None,
        None if project is None else str(project),
    )


def _refusal(answer: Response, endpoint_url: str) -> Exception:
    said = service_message(answer.content)
    if answer.status == 429:
        return UnavailableError(said or "too many attempts; try again later", endpoint_url, status=429)
    if _error_code(answer) in {"invalid_client", "unauthorized_client", "unsupported_grant_type"}:
        return CredentialsError(
            f"the server does not accept password logins from rinofs ({said}); use --token-stdin",
            endpoint_url,
        )
    return AuthenticationError(
        f"the login was refused: {said or answer.status}", endpoint_url, status=answer.status
    )


def _error_code(answer: Response) -> object:
    try:
        body = answer.json()
    except ProtocolError:
        return None
    return body.get("error") if isinstance(body, dict) else None


def _object(answer: Response) -> dict[str, Any]:
    body = answer.json()
    if not isinstance(body, dict):
        raise ProtocolError(
            "the response to the login is not a JSON object; is this a Rinocloud server?", answer.url
        )
    return body


def _text(body: dict[str, Any], key: str, endpoint_url: str) -> str:
    value = body.get(key)
    if not isinstance(value, str) or not value:
        raise ProtocolError(
            f"the response to the login has no {key}; is this a Rinocloud server?", endpoint_url
        )
    return value
