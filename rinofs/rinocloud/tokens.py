"""A user's own tokens and password, on servers with the extension ``tokens``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rinofs.errors import InvalidRequestError, ProtocolError
from rinofs.http.session.shared import StaticAuth
from rinofs.protocol.extensions import RINOCLOUD_EXTENSIONS, RinocloudExtension, extensions_in
from rinofs.rinocloud.login import open_session

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["UserTokens"]

TIMEOUT = 30.0
"""Seconds that the server may be silent."""


class UserTokens:
    """The tokens of the user whom a token belongs to.

    Parameters
    ----------
    endpoint_url : str
        The server.
    token : str
        A token of the user.

    Raises
    ------
    CredentialsError
        If the endpoint is neither https nor on this machine.
    """

    def __init__(self, endpoint_url: str, token: str) -> None:
        self._session = open_session(endpoint_url, StaticAuth("Token", token), TIMEOUT)

    def list(self) -> list[dict[str, Any]]:
        """Return what is known of the tokens: ``id``, ``name``, ``scope``, ``expires``, ``last_used``..."""
        found = self._ask("tokens", {}).get("result")
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise ProtocolError("the response is not a list of tokens", self._session.endpoint_url)
        return found

    def add(self, name: str, *, read_only: bool = False, lifetime: int | None = None) -> str:
        """Create a token and return it; it is not shown again.

        Parameters
        ----------
        name : str
            What to call it.
        read_only : bool
            Whether it may only read.
        lifetime : int, optional
            Seconds until it expires. By default it does not, unless the token that creates it does.
        """
        wanted = {"name": name, "scope": "read" if read_only else "all", "lifetime": lifetime}
        token = self._ask("create_token", wanted).get("token")
        if not isinstance(token, str):
            raise ProtocolError("the response has no token", self._session.endpoint_url)
        return token

    def revoke(self, name_or_id: str) -> None:
        """Revoke a token, by its name or id."""
        self._ask("delete_token", {"id": name_or_id})

    def change_password(self, present: str, new: str) -> None:
        """Change the password. That ends sessions, grants, and tokens from earlier password logins."""
        self._ask("change_password", {"password": present, "new_password": new})

    def _ask(self, endpoint: str, fields: Mapping[str, object]) -> dict[str, Any]:
        answer = self._session.request(
            "POST",
            f"api/1/users/{endpoint}/",
            json=dict(fields),
            repeatable=False,
            expect={200, 201, 404, 405},
            label=self._session.endpoint_url,
        )
        extensions = extensions_in(answer.headers.get(RINOCLOUD_EXTENSIONS, ""))
        if RinocloudExtension.TOKENS not in extensions:
            raise InvalidRequestError(
                "this server does not let users manage tokens or passwords; ask its administrator, "
                "or use the service's web page",
                self._session.endpoint_url,
                status=answer.status,
            )
        body = answer.json()
        if answer.status >= 400 or not isinstance(body, dict):
            said = body.get("error") if isinstance(body, dict) else None
            raise InvalidRequestError(
                self._session.shown(str(said or "unexpected response")),
                self._session.endpoint_url,
                status=answer.status,
            )
        return body
