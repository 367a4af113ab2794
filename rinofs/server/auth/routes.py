"""Routes of the sign-in pages, and of the OAuth2 endpoints for programs.

It is short because it is the one place to look up a path, like the `routes` of each API.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from starlette.routing import Route

from rinofs.server.auth.authorize import PATH, AuthorizePage
from rinofs.server.auth.oauth import Provider
from rinofs.server.auth.pages import STYLE_PATH, page, style
from rinofs.server.auth.redirect_uris import SHOW_TOKEN
from rinofs.server.auth.sessions import Sessions

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from rinofs.server.auth.accounts import Accounts
    from rinofs.server.auth.clients import Clients
    from rinofs.server.auth.grants import Grants
    from rinofs.server.catalog.database import Database

__all__ = ["routes"]

_CODE = re.compile(r"[A-Za-z0-9_-]{1,200}")


def routes(database: Database, accounts: Accounts, clients: Clients, grants: Grants) -> list[Route]:
    """Return the routes of OAuth2.

    Parameters
    ----------
    database : Database
        Database with the sessions.
    accounts : Accounts
        Users of the server.
    clients : Clients
        Programs that may ask users for access.
    grants : Grants
        Access that users granted to programs.
    """
    provider = Provider(clients, grants)
    return [
        Route(PATH, AuthorizePage(accounts, Sessions(database), provider).endpoint, methods=["GET", "POST"]),
        Route("/oauth/token", provider.token, methods=["POST"]),
        Route("/oauth/revoke", provider.revoke, methods=["POST"]),
        Route(SHOW_TOKEN, _show_token, methods=["GET"]),
        Route(STYLE_PATH, style, methods=["GET"]),
    ]


async def _show_token(request: Request) -> Response:
    """Show the code in the redirect, for the user to copy by hand."""
    code = request.query_params.get("code", "")
    if _CODE.fullmatch(code):
        return page("code", code=code)
    if request.query_params.get("error") == "access_denied":
        return page("refused", problem="You did not allow access. You can close this page.")
    return page("refused", 400, problem="This address contains no code.")
