"""The rules of this server for OAuth2, in the form that oauthlib calls.

oauthlib implements the flows and their responses. This module decides which programs, codes and tokens are
valid, and stores them. It also makes the checks of RFC 9700 that oauthlib lacks.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

from oauthlib.oauth2 import AuthorizationCodeGrant, RequestValidator
from oauthlib.oauth2.rfc6749.errors import InvalidGrantError, InvalidRequestError

if TYPE_CHECKING:
    from oauthlib.common import Request

    from rinofs.server.auth.clients import Client, Clients
    from rinofs.server.auth.grants import Grants

__all__ = ["SCOPE", "CodeGrant", "Rules", "check_authorization"]

SCOPE = "basic"
"""The only scope, which allows everything in the repovizz2 API."""

_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")
_ONCE = ("code_challenge", "code_challenge_method", "response_mode")


def check_authorization(request: Request) -> dict[str, object]:
    """Refuse authorization requests that oauthlib lets pass; called once client and redirect URI are known.

    Raises
    ------
    InvalidRequestError
        If the response mode is not the query, the PKCE challenge is missing or invalid, or neither PKCE nor a
        state ties the response to the browser of the request.
    """
    problem = _authorization_problem(request)
    if problem is not None:
        raise InvalidRequestError(description=problem, request=request)
    return {}


def _authorization_problem(request: Request) -> str | None:
    repeated = [name for name in _ONCE if name in request.duplicate_params]
    if repeated:
        return f"Duplicate {repeated[0]} parameter."
    if request.response_mode not in (None, "query"):
        return "Only response_mode=query is supported."
    if request.code_challenge is None:
        # RFC 6749, section 4.1.1, leaves the state to programs with a secret.
        tied = request.state or not request.client.public
        return None if tied else "Either state or code_challenge is needed."
    if request.code_challenge_method != "S256":
        return "Only code_challenge_method=S256 is supported."
    if not _CHALLENGE.fullmatch(request.code_challenge):
        return "The code_challenge is not a SHA-256 in base64url."
    return None


class CodeGrant(AuthorizationCodeGrant):  # type: ignore[misc]
    """The authorization code grant, with codes of 256 bits."""

    def create_authorization_code(self, request: Request) -> dict[str, str]:
        """Return a new code and the state of the request."""
        granted: dict[str, str] = super().create_authorization_code(request)
        return {**granted, "code": secrets.token_urlsafe(32)}


class Rules(RequestValidator):  # type: ignore[misc]
    """Decides which programs, codes and tokens are valid.

    Parameters
    ----------
    clients : Clients
        Registered programs.
    grants : Grants
        Access that users granted to programs.
    """

    def __init__(self, clients: Clients, grants: Grants) -> None:
        super().__init__()
        self._clients = clients
        self._grants = grants

    # Programs

    def client_authentication_required(self, request: Request, *_args: Any, **_kwargs: Any) -> bool:
        """Return whether the program must authenticate: all programs that have a secret."""
        if "Authorization" in request.headers or request.client_secret:
            return True
        client = self._clients.get(request.client_id or "")
        return client is None or not client.public

    def authenticate_client(self, request: Request, *_args: Any, **_kwargs: Any) -> bool:
        """Return whether the id and secret, from the header or the form, match."""
        shown = _shown_secret(request)
        client = self._clients.authenticate(*shown) if shown else None
        return _be(request, client)

    def authenticate_client_id(self, client_id: str, request: Request, *_args: Any, **_kwargs: Any) -> bool:
        """Return whether this is a program without a secret."""
        client = self._clients.get(client_id or "")
        return _be(request, client if client is not None and client.public else None)

    def validate_client_id(self, client_id: str, request: Request, *_args: Any, **_kwargs: Any) -> bool:
        """Return whether the program exists."""
        return _be(request, self._clients.get(client_id))

    def validate_redirect_uri(
        self, _client_id: str, redirect_uri: str, request: Request, *_args: Any, **_kwargs: Any
    ) -> bool:
        """Return whether the redirect URI is exactly one of the registered ones."""
        return redirect_uri in request.client.redirect_uris

    def get_default_redirect_uri(self, *_args: Any, **_kwargs: Any) -> None:
        """Return None: requests must contain the redirect URI."""

    # Authorization

    def validate_response_type(
        self, _client_id: str, response_type: str, *_args: Any, **_kwargs: Any
    ) -> bool:
        """Return whether the response type is allowed: only ``code``."""
        return response_type == "code"

    def validate_scopes(self, _client_id: str, scopes: list[str], *_args: Any, **_kwargs: Any) -> bool:
        """Return whether the scopes are allowed."""
        return set(scopes) == {SCOPE}

    def get_default_scopes(self, *_args: Any, **_kwargs: Any) -> list[str]:
        """Return the scopes for requests without any."""
        return [SCOPE]

    def is_pkce_required(self, _client_id: str, request: Request) -> bool:
        """Return whether the program must use PKCE: all programs without a secret."""
        return bool(request.client.public)

    def save_authorization_code(
        self, client_id: str, code: dict[str, str], request: Request, *_args: Any, **_kwargs: Any
    ) -> None:
        """Store a code."""
        self._grants.add_code(
            code["code"],
            request.user,
            client_id,
            redirect_uri=request.redirect_uri,
            scope=" ".join(request.scopes),
            challenge=request.code_challenge,
            check=request.check_consent,
        )

    # Tokens

    def validate_grant_type(self, _client_id: str, grant_type: str, *_args: Any, **_kwargs: Any) -> bool:
        """Return whether the grant type is allowed."""
        return grant_type in {"authorization_code", "refresh_token"}

    def validate_code(
        self, client_id: str, code: str, _client: Client, request: Request, *_args: Any, **_kwargs: Any
    ) -> bool:
        """Return whether a code is valid, and its PKCE verifier well-formed."""
        found = self._grants.code(code, client_id)
        if found is None:
            return False
        verifier = request.code_verifier
        if found.challenge is None:
            # PKCE downgrade: somebody removed the challenge from the request (RFC 9700, section 4.8.2).
            if verifier is not None:
                return False
        elif verifier is not None and not _VERIFIER.fullmatch(verifier):
            return False
        request.found_code = found
        request.user = found.user
        request.scopes = found.scope.split()
        return True

    def get_code_challenge(self, _code: str, request: Request) -> str | None:
        """Return the PKCE challenge in the request for the code."""
        challenge: str | None = request.found_code.challenge
        return challenge

    def get_code_challenge_method(self, _code: str, _request: Request) -> str:
        """Return the PKCE challenge method."""
        return "S256"

    def confirm_redirect_uri(
        self,
        _client_id: str,
        _code: str,
        redirect_uri: str,
        _client: Client,
        request: Request,
        *_args: Any,
        **_kwargs: Any,
    ) -> bool:
        """Return whether the code was sent to this redirect URI."""
        return bool(redirect_uri == request.found_code.redirect_uri)

    def validate_refresh_token(
        self, refresh_token: str, client: Client, request: Request, *_args: Any, **_kwargs: Any
    ) -> bool:
        """Return whether a refresh token is valid."""
        grant = self._grants.refreshable(refresh_token, client.client_id)
        if grant is None:
            return False
        request.user = grant.user
        request.granted_scope = grant.scope
        return True

    def get_original_scopes(self, _refresh_token: str, request: Request, *_args: Any, **_kwargs: Any) -> str:
        """Return the granted scopes."""
        scope: str = request.granted_scope
        return scope

    def save_token(self, token: dict[str, Any], request: Request, *_args: Any, **_kwargs: Any) -> None:
        """Store tokens. Of several simultaneous requests, only the first to store them succeeds."""
        fresh = {"access": token["access_token"], "refresh": token["refresh_token"]}
        if request.grant_type == "authorization_code":
            good = self._grants.redeem(request.code, **fresh)
        else:
            good = self._grants.rotate(request.refresh_token, request.client.client_id, **fresh)
        if not good:
            raise InvalidGrantError(request=request)

    def invalidate_authorization_code(self, *_args: Any, **_kwargs: Any) -> None:
        """Do nothing: storing the tokens invalidates the code."""

    def revoke_token(
        self, token: str, _token_type_hint: str | None, request: Request, *_args: Any, **_kwargs: Any
    ) -> None:
        """Revoke a token."""
        self._grants.revoke(token, request.client.client_id)


def _be(request: Request, client: Client | None) -> bool:
    if client is None:
        return False
    request.client = client
    request.client_id = client.client_id
    return True


def _shown_secret(request: Request) -> tuple[str, str] | None:
    header = request.headers.get("Authorization")
    if header is None:
        return (
            (request.client_id, request.client_secret)
            if request.client_id and request.client_secret
            else None
        )
    scheme, _, encoded = header.partition(" ")
    try:
        client_id, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    client_id, secret = unquote_plus(client_id), unquote_plus(secret)
    same = request.client_id in (None, client_id) and request.client_secret in (None, secret)
    return (client_id, secret) if scheme.lower() == "basic" and same else None
