"""What this server allows in OAuth2, as oauthlib asks for it.

oauthlib knows the steps of the flows and their answers; this says who and what is good, and keeps what comes
of it. Where RFC 9700 asks for more than oauthlib looks at, the checks are here too.
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
"""The one thing that programs may ask for: everything that the repovizz2 API does."""

_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")
_ONCE = ("code_challenge", "code_challenge_method", "response_mode")


def check_authorization(request: Request) -> dict[str, object]:
    """Refuse an authorization request that oauthlib lets pass; called when client and redirect are known.

    Raises
    ------
    InvalidRequestError
        If the answer would be to another place than the query, the proof of possession is not what it has to
        be, or nothing ties the answer to the browser that asked.
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
        # Where a program has a secret, RFC 6749 leaves the state to it (4.1.1).
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
        """Return a fresh code, and the state of the request."""
        granted: dict[str, str] = super().create_authorization_code(request)
        return {**granted, "code": secrets.token_urlsafe(32)}


class Rules(RequestValidator):  # type: ignore[misc]
    """Whom and what this server trusts.

    Parameters
    ----------
    clients : Clients
        The programs.
    grants : Grants
        What users granted to them.
    """

    def __init__(self, clients: Clients, grants: Grants) -> None:
        super().__init__()
        self._clients = clients
        self._grants = grants

    # Programs

    def client_authentication_required(self, request: Request, *_args: Any, **_kwargs: Any) -> bool:
        """Tell whether the program has to show its secret: all but those that have none."""
        if "Authorization" in request.headers or request.client_secret:
            return True
        client = self._clients.get(request.client_id or "")
        return client is None or not client.public

    def authenticate_client(self, request: Request, *_args: Any, **_kwargs: Any) -> bool:
        """Tell whether id and secret belong together, which come as a header or in the form."""
        shown = _shown_secret(request)
        client = self._clients.authenticate(*shown) if shown else None
        return _be(request, client)

    def authenticate_client_id(self, client_id: str, request: Request, *_args: Any, **_kwargs: Any) -> bool:
        """Tell whether this is a program without a secret."""
        client = self._clients.get(client_id or "")
        return _be(request, client if client is not None and client.public else None)

    def validate_client_id(self, client_id: str, request: Request, *_args: Any, **_kwargs: Any) -> bool:
        """Tell whether there is such a program."""
        return _be(request, self._clients.get(client_id))

    def validate_redirect_uri(
        self, _client_id: str, redirect_uri: str, request: Request, *_args: Any, **_kwargs: Any
    ) -> bool:
        """Tell whether users may be sent there: to one of the registered addresses, to the letter."""
        return redirect_uri in request.client.redirect_uris

    def get_default_redirect_uri(self, *_args: Any, **_kwargs: Any) -> None:
        """Return None: programs have to say where users are to be sent."""

    # Authorization

    def validate_response_type(
        self, _client_id: str, response_type: str, *_args: Any, **_kwargs: Any
    ) -> bool:
        """Tell whether that may be asked for: a code."""
        return response_type == "code"

    def validate_scopes(self, _client_id: str, scopes: list[str], *_args: Any, **_kwargs: Any) -> bool:
        """Tell whether that may be asked for."""
        return set(scopes) == {SCOPE}

    def get_default_scopes(self, *_args: Any, **_kwargs: Any) -> list[str]:
        """Return what programs ask for that do not say."""
        return [SCOPE]

    def is_pkce_required(self, _client_id: str, request: Request) -> bool:
        """Tell whether the program must prove that it is the one that asked: those without a secret."""
        return bool(request.client.public)

    def save_authorization_code(
        self, client_id: str, code: dict[str, str], request: Request, *_args: Any, **_kwargs: Any
    ) -> None:
        """Keep a code."""
        self._grants.add_code(
            code["code"],
            request.user,
            client_id,
            redirect_uri=request.redirect_uri,
            scope=" ".join(request.scopes),
            challenge=request.code_challenge,
        )

    # Tokens

    def validate_grant_type(self, _client_id: str, grant_type: str, *_args: Any, **_kwargs: Any) -> bool:
        """Tell whether tokens are given for that."""
        return grant_type in {"authorization_code", "refresh_token"}

    def validate_code(
        self, client_id: str, code: str, _client: Client, request: Request, *_args: Any, **_kwargs: Any
    ) -> bool:
        """Tell whether a code is good, and the proof with it in shape."""
        found = self._grants.code(code, client_id)
        if found is None:
            return False
        verifier = request.code_verifier
        if found.challenge is None:
            # Somebody has taken the challenge out of the request, and put the code into another answer.
            if verifier is not None:
                return False
        elif verifier is not None and not _VERIFIER.fullmatch(verifier):
            return False
        request.found_code = found
        request.user = found.user
        request.scopes = found.scope.split()
        return True

    def get_code_challenge(self, _code: str, request: Request) -> str | None:
        """Return the challenge that the code was asked for with."""
        challenge: str | None = request.found_code.challenge
        return challenge

    def get_code_challenge_method(self, _code: str, _request: Request) -> str:
        """Return how challenges are made."""
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
        """Tell whether the code was sent there."""
        return bool(redirect_uri == request.found_code.redirect_uri)

    def validate_refresh_token(
        self, refresh_token: str, client: Client, request: Request, *_args: Any, **_kwargs: Any
    ) -> bool:
        """Tell whether a refresh token is good."""
        grant = self._grants.refreshable(refresh_token, client.client_id)
        if grant is None:
            return False
        request.user = grant.user
        request.granted_scope = grant.scope
        return True

    def get_original_scopes(self, _refresh_token: str, request: Request, *_args: Any, **_kwargs: Any) -> str:
        """Return what was granted."""
        scope: str = request.granted_scope
        return scope

    def save_token(self, token: dict[str, Any], request: Request, *_args: Any, **_kwargs: Any) -> None:
        """Keep tokens; at this moment it is decided which of several requests at once gets them."""
        fresh = {"access": token["access_token"], "refresh": token["refresh_token"]}
        if request.grant_type == "authorization_code":
            good = self._grants.redeem(request.code, **fresh)
        else:
            good = self._grants.rotate(request.refresh_token, request.client.client_id, **fresh)
        if not good:
            raise InvalidGrantError(request=request)

    def invalidate_authorization_code(self, *_args: Any, **_kwargs: Any) -> None:
        """Do nothing: a code ends when its tokens are kept."""

    def revoke_token(
        self, token: str, _token_type_hint: str | None, request: Request, *_args: Any, **_kwargs: Any
    ) -> None:
        """Make a token void."""
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
