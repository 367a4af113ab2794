"""Sign-in to the Rinocloud API: the OAuth2 password grant, revocation, and the user's own tokens."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from rinofs.server.api.calls import Call, address_of, presented_token, run_in_thread
from rinofs.server.api.rinocloud.requests import text, whole_number
from rinofs.server.auth.account_tokens import ACCESS, READ
from rinofs.server.auth.oauth import MAX_FORM
from rinofs.server.auth.passwords import check_new_password
from rinofs.server.errors import BadRequest, Forbidden, NotFound, Unauthorized
from rinofs.server.web.bodies import read_fields
from rinofs.server.web.responses import json_response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from rinofs.server.services import Services

LIFETIME = 3600
"""Lifetime of an access token in seconds."""
LONGEST_LIFETIME = 100 * 365 * 24 * 3600

_NO_STORE = {"cache-control": "no-store"}
_SCOPES = {"all": None, "read": READ}


async def token(call: Call) -> Response:
    """Show the token of the user."""
    return json_response({"token": await _lasting(call)}, headers=_NO_STORE)


async def details(call: Call) -> Response:
    """Show the token and the details of the user."""
    user = call.user
    known = {"username": user.username, "email": user.email, "project": user.project}
    return json_response({"token": await _lasting(call), **known}, headers=_NO_STORE)


async def _lasting(call: Call) -> str:
    if call.token.kind != ACCESS:
        return presented_token(call.request)
    presented = presented_token(call.request)
    return await run_in_thread(call.services.accounts.tokens.lasting, presented, source=call.address)


async def list_tokens(call: Call) -> Response:
    """List the tokens of the user, without their values."""
    _extended(call)
    found = await call.run_in_thread(call.services.accounts.tokens.of_user)
    listed = [{**one.to_json(), "current": one.id == call.token.id} for one in found]
    return json_response({"result": listed}, headers=_NO_STORE)


async def create_token(call: Call) -> Response:
    """Create a token with at most the permissions of the request's token."""
    _extended(call)
    fields = await call.fields(text_fields=("name", "scope"))
    name = text(fields, "name")
    if name is None:
        raise BadRequest("name: what to call the token is missing", field="name")
    made = await run_in_thread(
        call.services.accounts.tokens.derive,
        call.token,
        name,
        scope=_scope(fields),
        lifetime=_lifetime(fields),
        source=call.address,
    )
    found = await run_in_thread(call.services.accounts.tokens.authenticate, made)
    return json_response({"token": made, **found.to_json()}, 201, _NO_STORE)


def _scope(fields: Mapping[str, object]) -> str | None:
    scope = text(fields, "scope") or "all"
    if scope not in _SCOPES:
        raise BadRequest("scope: `all` or `read` is expected", field="scope")
    return _SCOPES[scope]


def _lifetime(fields: Mapping[str, object]) -> int | None:
    if fields.get("lifetime") is None:
        return None
    lifetime = whole_number(fields, "lifetime")
    if not 0 < lifetime <= LONGEST_LIFETIME:
        raise BadRequest("lifetime: a number of seconds from 1 to 100 years is expected", field="lifetime")
    return lifetime


async def delete_token(call: Call) -> Response:
    """Revoke a token of the user by its id or name."""
    _extended(call)
    fields = await call.fields(text_fields=("id",))
    called = fields.get("id")
    if isinstance(called, bool) or not isinstance(called, int | str):
        raise BadRequest("id: the id or name of a token is missing", field="id")
    ended = await call.run_in_thread(
        call.services.accounts.tokens.revoke_by_name, called, source=call.address
    )
    return json_response(ended.to_json(), headers=_NO_STORE)


async def change_password(call: Call) -> Response:
    """Change the password, given the current one; see `Accounts.set_password`."""
    _extended(call)
    fields = await call.fields(text_fields=("password", "new_password"))
    present, new = text(fields, "password"), text(fields, "new_password")
    if present is None or new is None:
        raise BadRequest("password, new_password: both are needed", field="password")
    check_new_password(new)
    accounts, user, address = call.services.accounts, call.user, call.address
    try:
        await accounts.in_turn(address, accounts.change_password, user, present, new, address)
    except Unauthorized as error:
        # The token is valid: a client must not take this for an expired sign-in.
        raise Forbidden("password: the present password is wrong") from error
    return json_response({"username": user.username}, headers=_NO_STORE)


def _extended(call: Call) -> None:
    if not call.extended:
        raise NotFound(f"{call.request.url.path} does not exist on this server")


def password_grant(services: Services) -> Callable[[Request], Awaitable[Response]]:
    """Return the endpoint that exchanges a username and password for an access token."""
    accounts = services.accounts

    sign_in = partial(accounts.access_token, lifetime=LIFETIME)

    async def endpoint(request: Request) -> Response:
        fields = await read_fields(request, limit=MAX_FORM)
        if fields.get("grant_type") != "password":
            return _refused("unsupported_grant_type", "only grant_type=password is supported")
        username, password = fields.get("username"), fields.get("password")
        if not isinstance(username, str) or not isinstance(password, str):
            return _refused("invalid_request", "username and password are needed")
        address = address_of(request)
        try:
            made = await accounts.in_turn(address, sign_in, username, password, address)
        except Unauthorized as error:
            return _refused("invalid_grant", error.message)
        granted = {
            "access_token": made,
            "token_type": "Bearer",
            "expires_in": LIFETIME,
            "scope": "read write",
        }
        return json_response(granted, headers=_NO_STORE)

    return endpoint


def revocation(services: Services) -> Callable[[Request], Awaitable[Response]]:
    """Return the endpoint that revokes a token (RFC 7009)."""

    async def endpoint(request: Request) -> Response:
        fields = await read_fields(request, text_fields=("token",), limit=MAX_FORM)
        presented = fields.get("token")
        if not isinstance(presented, str) or not presented:
            return _refused("invalid_request", "token: the token to revoke is missing")
        source = address_of(request)
        if not await run_in_thread(services.accounts.tokens.revoke, presented, source=source):
            return _refused("unsupported_token_type", "token: this token cannot be revoked here")
        return json_response({}, headers=_NO_STORE)

    return endpoint


def _refused(error: str, description: str) -> Response:
    return json_response({"error": error, "error_description": description}, 400, _NO_STORE)
