"""OAuth2 as a client: authorization code with PKCE, and refresh (RFC 6749, 7636, 9700)."""

from __future__ import annotations

import base64
import hashlib
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus, urlencode

from rinofs.endpoints import canonical_endpoint, is_loopback
from rinofs.errors import AuthenticationError, CredentialsError, InvalidRequestError, ProtocolError
from rinofs.http.session.session import HttpSession

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SCOPE", "SHOW_TOKEN", "Authorization", "OAuthClient", "Tokens"]

SCOPE = "basic"
SHOW_TOKEN = "/oauth/show_token"  # noqa: S105 - the path of a page
"""The page of the service that shows a code, to be copied by hand."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a login gives.

    Attributes
    ----------
    access : str
        The access token.
    refresh : str or None
        What the next tokens are asked for with.
    expires_in : float or None
        Seconds for which the access token is good, where the service says.
    """

    access: str = field(repr=False)
    refresh: str | None = field(default=None, repr=False)
    expires_in: float | None = None


@dataclass(frozen=True, slots=True)
class Authorization:
    """A login that a user is asked for.

    Attributes
    ----------
    url : str
        The page to open.
    redirect_uri : str
        Where the user is sent then.
    state : str
        What has to come back with the user.
    verifier : str
        What proves that the code was asked for from here.
    """

    url: str
    redirect_uri: str
    state: str = field(repr=False)
    verifier: str = field(repr=False)


class _Client:
    """Show who the program is: by its id and secret, where it has one."""

    def __init__(self, client_id: str, secret: str | None) -> None:
        self._header = ""
        if secret:
            both = f"{quote_plus(client_id)}:{quote_plus(secret)}"
            self._header = f"Basic {base64.b64encode(both.encode()).decode()}"

    def header(self) -> str:
        return self._header

    def renew(self, refused: str) -> bool:  # noqa: ARG002 - the protocol's signature
        return False


class OAuthClient:
    """A program that asks users of one service to let it act in their name.

    Parameters
    ----------
    endpoint_url : str
        The service.
    client_id : str
        The program's id there.
    client_secret : str, optional
        Its secret; a program without one proves by PKCE alone who it is.
    timeout : float
        Seconds that the service may be silent.

    Raises
    ------
    CredentialsError
        If the endpoint is neither https nor on this machine: nothing is sent in the clear.
    """

    def __init__(
        self, endpoint_url: str, client_id: str, client_secret: str | None = None, *, timeout: float = 30.0
    ) -> None:
        where = canonical_endpoint(endpoint_url)
        if where.startswith("http://") and not is_loopback(where):
            raise CredentialsError("codes and tokens are only sent over https; use the https URL", where)
        self.endpoint_url = where
        self.client_id = client_id
        self.client_secret = client_secret
        self._session = HttpSession(
            where, _Client(client_id, client_secret), timeout=timeout, token_advice=""
        )
        self._public = not client_secret

    def __repr__(self) -> str:
        return f"OAuthClient({self.endpoint_url!r}, {self.client_id!r})"

    def authorization(self, redirect_uri: str) -> Authorization:
        """Prepare a login.

        Parameters
        ----------
        redirect_uri : str
            Where the user is to be sent then, exactly as it is registered.
        """
        state, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(64)
        digest = hashlib.sha256(verifier.encode()).digest()
        asked = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": redirect_uri,
            "scope": SCOPE,
            "state": state,
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        url = f"{self.endpoint_url}/oauth/authorize?{urlencode(asked)}"
        return Authorization(url, redirect_uri, state, verifier)

    def exchange(self, code: str, authorization: Authorization) -> Tokens:
        """Exchange a code for tokens.

        Raises
        ------
        AuthenticationError
            If the service does not accept the code, or the program.
        """
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": authorization.redirect_uri,
            "code_verifier": authorization.verifier,
        }
        return self._tokens(form, repeatable=False)

    def refresh(self, token: str) -> Tokens:
        """Exchange a refresh token for tokens.

        Raises
        ------
        AuthenticationError
            If the service does not accept it any more.
        """
        # A lost answer leaves nothing but to ask again: the token that was sent may be void by then.
        fresh = self._tokens({"grant_type": "refresh_token", "refresh_token": token}, repeatable=True)
        return fresh if fresh.refresh else Tokens(fresh.access, token, fresh.expires_in)

    def _tokens(self, form: Mapping[str, str], *, repeatable: bool) -> Tokens:
        own = {"client_id": self.client_id} if self._public else {}
        where = f"{self.endpoint_url}/oauth/token"
        try:
            answer = self._session.request(
                "POST", "oauth/token", data={**form, **own}, repeatable=repeatable, label=where
            )
        except (InvalidRequestError, AuthenticationError) as error:
            raise AuthenticationError(error.message, where, status=error.status) from None
        return _parse(answer.json(), where)


def _parse(body: Any, where: str) -> Tokens:
    access = body.get("access_token") if isinstance(body, dict) else None
    if not isinstance(access, str) or not access:
        raise ProtocolError("the response to the login has no token; is this a repovizz2 server?", where)
    if str(body.get("token_type", "Bearer")).lower() != "bearer":
        raise ProtocolError("the service returned an unknown type of token", where)
    refresh, expires = body.get("refresh_token"), body.get("expires_in")
    seconds = float(expires) if isinstance(expires, int | float) and expires > 0 else None
    return Tokens(access, refresh if isinstance(refresh, str) and refresh else None, seconds)
