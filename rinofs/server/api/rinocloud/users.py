"""Signing in to the Rinocloud API: the OAuth2 password grant, and what it leads to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anyio import CapacityLimiter, to_thread

from rinofs.server.api.calls import Call, presented_token, run_in_thread
from rinofs.server.auth.accounts import ACCESS
from rinofs.server.errors import Unauthorized
from rinofs.server.web.bodies import read_fields
from rinofs.server.web.responses import json_response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from rinofs.server.services import Services

LIFETIME = 3600
"""Seconds for which an access token holds."""

_NO_STORE = {"cache-control": "no-store"}


async def token(call: Call) -> Response:
    """Show the token of the user."""
    return json_response({"token": await _lasting(call)}, headers=_NO_STORE)


async def details(call: Call) -> Response:
    """Show the token of the user, and who that is."""
    user = call.user
    known = {"username": user.username, "email": user.email, "project": user.project}
    return json_response({"token": await _lasting(call), **known}, headers=_NO_STORE)


async def _lasting(call: Call) -> str:
    presented = presented_token(call.request)
    return await run_in_thread(call.services.accounts.lasting_token, call.user, presented)


def password_grant(services: Services) -> Callable[[Request], Awaitable[Response]]:
    """Make the endpoint that gives an access token for a username and a password."""
    # Waiting for a turn must not take the threads that other requests need.
    turns = CapacityLimiter(2)

    async def endpoint(request: Request) -> Response:
        fields = await read_fields(request)
        if fields.get("grant_type") != "password":
            return _refused("unsupported_grant_type", "only grant_type=password is supported")
        username, password = fields.get("username"), fields.get("password")
        if not isinstance(username, str) or not isinstance(password, str):
            return _refused("invalid_request", "username and password are needed")
        address = request.client.host if request.client else ""
        try:
            user = await to_thread.run_sync(
                services.accounts.log_in, username, password, address, limiter=turns
            )
        except Unauthorized as error:
            return _refused("invalid_grant", error.message)
        made = await run_in_thread(services.accounts.mint_token, user, kind=ACCESS, lifetime=LIFETIME)
        granted = {
            "access_token": made,
            "token_type": "Bearer",
            "expires_in": LIFETIME,
            "scope": "read write",
        }
        return json_response(granted, headers=_NO_STORE)

    return endpoint


def revocation(services: Services) -> Callable[[Request], Awaitable[Response]]:
    """Make the endpoint that makes a token void for whoever has it (RFC 7009)."""

    async def endpoint(request: Request) -> Response:
        fields = await read_fields(request, text_fields=("token",))
        presented = fields.get("token")
        if not isinstance(presented, str) or not presented:
            return _refused("invalid_request", "token: the token to revoke is missing")
        if not await run_in_thread(services.accounts.revoke_token, presented):
            return _refused("unsupported_token_type", "token: this token cannot be revoked here")
        return json_response({}, headers=_NO_STORE)

    return endpoint


def _refused(error: str, description: str) -> Response:
    return json_response({"error": error, "error_description": description}, 400, _NO_STORE)
