"""OAuth2: tokens for programs that users granted access to."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from anyio import to_thread
from oauthlib.oauth2 import (
    AuthorizationEndpoint,
    BearerToken,
    OAuth2Error,
    RefreshTokenGrant,
    RevocationEndpoint,
    TokenEndpoint,
)
from starlette.responses import Response

from rinofs.server.auth.account_tokens import new_token
from rinofs.server.auth.grants import ACCESS_LIFETIME, new_refresh_token
from rinofs.server.auth.oauth_rules import CodeGrant, Rules, check_authorization
from rinofs.server.errors import BadRequest, UnsupportedMedia
from rinofs.server.web.bodies import body_stream, content_type_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from oauthlib.common import Request as OAuthRequest
    from starlette.requests import Request

    from rinofs.server.auth.clients import Clients
    from rinofs.server.auth.grants import Grants

__all__ = ["Provider", "read_form", "read_form_text"]

MAX_FORM = 16 * 1024
"""Maximum size of a form in bytes."""
_MAX_FIELDS = 100
_NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}

# At the level DEBUG it logs codes and tokens.
logging.getLogger("oauthlib").setLevel(logging.INFO)


class Provider(AuthorizationEndpoint, TokenEndpoint, RevocationEndpoint):  # type: ignore[misc]
    """The OAuth2 flows that this server supports.

    Parameters
    ----------
    clients : Clients
        Registered programs.
    grants : Grants
        Access that users granted to programs.
    """

    def __init__(self, clients: Clients, grants: Grants) -> None:
        rules = Rules(clients, grants)
        code = CodeGrant(rules, pre_auth=[check_authorization])
        bearer = BearerToken(
            rules,
            token_generator=lambda _request: new_token(),
            refresh_token_generator=_refresh_token,
            expires_in=ACCESS_LIFETIME,
        )
        AuthorizationEndpoint.__init__(
            self, default_response_type="code", response_types={"code": code}, default_token_type=bearer
        )
        grant_types = {"authorization_code": code, "refresh_token": RefreshTokenGrant(rules)}
        TokenEndpoint.__init__(
            self, default_grant_type="authorization_code", grant_types=grant_types, default_token_type=bearer
        )
        RevocationEndpoint.__init__(self, rules)

    async def token(self, request: Request) -> Response:
        """Exchange a code or a refresh token for tokens (``/oauth/token``)."""
        return await _answer(request, self.create_token_response)

    async def revoke(self, request: Request) -> Response:
        """Revoke a token (``/oauth/revoke``, RFC 7009)."""
        return await _answer(request, self.create_revocation_response)


def _refresh_token(request: OAuthRequest) -> str:
    return new_refresh_token(request.refresh_token)


async def _answer(request: Request, create: Callable[..., tuple[Mapping[str, str], str, int]]) -> Response:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    if "authorization" in request.headers:
        headers["Authorization"] = request.headers["authorization"]
    body = await read_form_text(request)
    query = request.url.query
    uri = f"http://localhost{request.url.path}" + (f"?{query}" if query else "")

    def work() -> tuple[Mapping[str, str], str, int]:
        try:
            return create(uri, "POST", body, headers)
        except OAuth2Error as error:
            return error.headers, error.json, error.status_code

    own, text, status = await to_thread.run_sync(work)
    return Response(text, status, {**own, **_NO_STORE}, media_type="application/json")


async def read_form_text(request: Request) -> str:
    """Return the text of a form.

    Raises
    ------
    UnsupportedMedia
        If the body is not a form.
    BadRequest
        If the form is not ASCII.
    TooLarge
        If the form is too long.
    """
    kind = content_type_of(request)
    if kind != "application/x-www-form-urlencoded":
        raise UnsupportedMedia("a form (application/x-www-form-urlencoded) is expected here")
    raw = b"".join([data async for data in body_stream(request, MAX_FORM)])
    try:
        return raw.decode("ascii")
    except UnicodeDecodeError as error:
        raise BadRequest("the form is not percent-encoded") from error


async def read_form(request: Request) -> dict[str, str]:
    """Return the fields of a form; the last one counts if a field is repeated.

    Raises
    ------
    BadRequest
        If the form is malformed.
    """
    text = await read_form_text(request)
    try:
        return dict(parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_MAX_FIELDS))
    except ValueError as error:
        raise BadRequest("the form cannot be read") from error
