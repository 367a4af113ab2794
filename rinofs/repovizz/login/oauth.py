"""OAuth2 client: authorization code with PKCE, and refresh tokens (RFC 6749, 7636, 9700)."""

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
"""Page of the service that shows the code, to be copied by the user."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of a login.

    Attributes
    ----------
    access : str
        Access token.
    refresh : str or None
        Refresh token.
    expires_in : float or None
        Lifetime of the access token in seconds, if the service reports it.
    """

    access: str = field(repr=False)
    refresh: str | None = field(default=None, repr=False)
    expires_in: float | None = None


@dataclass(frozen=True, slots=True)
class Authorization:
    """A pending login.

    Attributes
    ----------
    url : str
        Page that the user must open.
    redirect_uri : str
        Where the user is redirected afterwards.
    state : str
        Random value that the redirect must contain.
    verifier : str
        PKCE code verifier, which proves that this process requested the code.
    """

    url: str
    redirect_uri: str
    state: str = field(repr=False)
    verifier: str = field(repr=False)


class _Client:
    """Client authentication with id and secret, if there is a secret."""

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
    """An OAuth client of one service.

    Parameters
    ----------
    endpoint_url : str
        URL of the service.
    client_id : str
        Client id.
    client_secret : str, optional
        Client secret; a public client has none and relies on PKCE.
    timeout : float
        Seconds without any data from the service until a request fails.

    Raises
    ------
    CredentialsError
        If the endpoint is neither https nor local: secrets are never sent unencrypted.
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
        """Start a login.

        Parameters
        ----------
        redirect_uri : str
            Redirect URI, exactly as registered.
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
            If the service does not accept the code or the client.
        """
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": authorization.redirect_uri,
            "code_verifier": authorization.verifier,
        }
        return self._tokens(form, repeatable=False)

    def refresh(self, token: str) -> Tokens:
        """Exchange a refresh token for new tokens.

        Raises
        ------
        AuthenticationError
            If the service no longer accepts it.
        """
        # If the response is lost, the old refresh token may be invalid already, so the only option is to
        # repeat.
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
