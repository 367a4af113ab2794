"""Routes of the repovizz2 API, version 1.0, and its error responses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.convertors import Convertor, register_url_convertor
from starlette.routing import Route

from rinofs.server.api.calls import authorized, release
from rinofs.server.api.repovizz import contents, datapacks
from rinofs.server.errors import ApiError
from rinofs.server.web.responses import json_response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from typing import TypeAlias

    from starlette.requests import Request
    from starlette.responses import Response

    from rinofs.server.api.calls import Call, Workers
    from rinofs.server.services import Services

    Handler: TypeAlias = Callable[[Call], Awaitable[Response]]

__all__ = ["BASE", "refusal", "routes"]

BASE = "/api/v1.0"

_UNAUTHORIZED = "You are unauthorized to make this request."


class _LinkConvertor(Convertor[str]):
    """Matches the rest of a path, including line breaks, unlike Starlette's own convertor."""

    regex = r"[\s\S]*"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("link", _LinkConvertor())


def routes(services: Services, workers: Workers) -> list[Route]:
    """Return the routes of the API.

    Parameters
    ----------
    services : Services
        Services of the server.
    workers : Workers
        Worker threads for users' requests.
    """
    endpoints: list[tuple[str, str, Handler]] = [
        ("/user", "GET", datapacks.me),
        ("/users/{name}", "GET", datapacks.user),
        ("/datapacks", "POST", datapacks.create),
        ("/datapacks/{id}", "GET", datapacks.show),
        ("/datapacks/{id}", "POST", datapacks.edit),
        ("/datapacks/{id}/content", "GET", contents.show_all),
        ("/datapacks/{id}/content/{link:link}", "POST", contents.put),
        ("/datapacks/{id}/content/{link:link}", "GET", contents.send),
        # The path in the oldest clients.
        ("/datapack/{id}/content/{link:link}", "POST", contents.put),
        ("/datapack/{id}/content/{link:link}", "GET", contents.send),
    ]
    if services.settings.repovizz_extensions:
        endpoints += [
            ("/datapacks", "GET", datapacks.show_all),
            ("/datapacks/{id}", "DELETE", datapacks.delete),
            ("/datapacks/{id}/content", "POST", contents.store),
        ]
    return [
        Route(BASE + path, _signed_in(services, workers, handle, changes=method != "GET"), methods=[method])
        for path, method, handle in endpoints
    ]


def _signed_in(
    services: Services, workers: Workers, handle: Handler, *, changes: bool
) -> Callable[[Request], Awaitable[Response]]:
    """Return an endpoint that calls a handler for signed-in users, with the errors of the service."""

    async def endpoint(request: Request) -> Response:
        try:
            return await handle(await authorized(services, workers, request, changes=changes, granted=True))
        except ApiError as error:
            return _refusal(request, error)
        finally:
            release(request)

    return endpoint


def _refusal(request: Request, error: ApiError) -> Response:
    if error.status != 401:
        return refusal(error.status, error.message, error.headers)
    # Clients refresh their token when they see this (RFC 6750, section 3.1).
    presented = "authorization" in request.headers
    challenge = 'Bearer error="invalid_token"' if presented else "Bearer"
    return refusal(401, _UNAUTHORIZED, {"www-authenticate": challenge})


def refusal(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return an error response in the format of the repovizz2 API."""
    return json_response({"error": message, "error_code": status}, status, headers)
