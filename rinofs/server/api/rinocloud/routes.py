"""Routes of the Rinocloud API, version 1."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from starlette.routing import Route

from rinofs.server.api.calls import Call, Workers, signed_in
from rinofs.server.api.rinocloud import bundles, changes, labview, reads, users

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.responses import Response

    from rinofs.server.services import Services

    Handler: TypeAlias = Callable[[Call], Awaitable[Response]]

__all__ = ["BASE", "ENDPOINTS", "routes"]

BASE = "/api/1/"

_POST = ("POST",)
_BOTH = ("GET", "POST")

ENDPOINTS: tuple[tuple[str, tuple[str, ...], Handler], ...] = (
    # Routes are tried in order, so the most frequent ones come first.
    ("files/get_metadata/", _POST, reads.get_metadata),
    ("files/download/", _BOTH, reads.download),
    ("files/children/", _POST, reads.children),
    ("files/upload/", _POST, changes.upload),
    ("files/create_folder/", _POST, changes.create_folder),
    ("files/create_folder_if_not_exist/", _POST, changes.create_folder_if_not_exist),
    ("files/create_object/", _POST, changes.create_object),
    ("files/create_empty/", _POST, changes.create_object),
    ("files/upload_multipart/", _POST, changes.upload),
    ("files/upload_binary/", _POST, changes.upload_binary),
    ("files/update/", _POST, changes.update),
    ("files/update_metadata/", _POST, changes.update),
    ("files/delete_metadata_field/", _POST, changes.delete_metadata_field),
    ("files/append/", _POST, changes.append),
    ("files/move/", _POST, changes.move),
    ("files/copy/", _POST, changes.copy),
    ("files/delete/", _BOTH, changes.delete),
    ("files/ancestors/", _POST, reads.ancestors),
    ("files/direct/", _POST, reads.direct),
    ("files/download_many/", _POST, bundles.download_many),
    ("files/upload_many/", _POST, bundles.upload_many),
    ("files/query/", _POST, reads.query),
    ("files/query_count/", _POST, reads.query_count),
    ("files/search/", _POST, reads.search),
    ("files/autocomplete_search/", _POST, reads.autocomplete_search),
    ("files/autocomplete_values/", _POST, reads.autocomplete_values),
    ("users/token/", _BOTH, users.token),
    ("users/token", _BOTH, users.token),
    ("users/details/", _POST, users.details),
    ("users/tokens/", _POST, users.list_tokens),
    ("users/create_token/", _POST, users.create_token),
    ("users/delete_token/", _POST, users.delete_token),
    ("users/change_password/", _POST, users.change_password),
    # Names in the oldest clients.
    ("files/get/", _POST, reads.get_metadata),
    ("files/autocomplete/", _POST, reads.autocomplete_search),
    ("objects/", _POST, labview.create),
)
"""Path below the base, methods and handler of every endpoint for signed-in users."""

_READING = frozenset(
    {
        reads.get_metadata,
        reads.download,
        reads.children,
        reads.ancestors,
        reads.direct,
        bundles.download_many,
        reads.query,
        reads.query_count,
        reads.search,
        reads.autocomplete_search,
        reads.autocomplete_values,
        users.token,
        users.details,
        users.list_tokens,
    }
)
"""Handlers that change nothing. Read-only tokens cannot use the others."""


def routes(services: Services, workers: Workers) -> list[Route]:
    """Return the routes of the API.

    Parameters
    ----------
    services : Services
        Services of the server.
    workers : Workers
        Worker threads for users' requests.
    """
    found = [
        Route(
            BASE + path,
            signed_in(services, workers, handle, changes=handle not in _READING),
            methods=list(methods),
        )
        for path, methods, handle in ENDPOINTS
    ]
    return [
        *found,
        Route("/o/token/", users.password_grant(services), methods=["POST"]),
        Route("/o/revoke_token/", users.revocation(services), methods=["POST"]),
    ]
