"""The only place that turns a status into an error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rinofs.errors import (
    AuthenticationError,
    ConflictError,
    InvalidRequestError,
    NotAllowedError,
    NotFoundError,
    PreconditionError,
    ProtocolError,
    ServiceError,
    TooLargeError,
    UnavailableError,
)
from rinofs.http.connection.redact import excerpt
from rinofs.http.connection.response import is_web_page, parse_json, web_page_message

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rinofs.http.connection.response import Response

_MEANINGS: dict[int, tuple[type[ServiceError], str, str]] = {
    400: (InvalidRequestError, "the service does not accept the request", ""),
    401: (AuthenticationError, "the token was refused", "log in again with `rinofs login`, or pass a token"),
    403: (NotAllowedError, "this user may not do that", "ask the owner for access"),
    404: (NotFoundError, "not found", ""),
    405: (InvalidRequestError, "the service does not know this request", "check endpoint_url"),
    408: (UnavailableError, "the service waited too long for the request", "try again"),
    409: (ConflictError, "the name is taken", "choose another, or remove what has it"),
    410: (NotFoundError, "no longer there", ""),
    412: (PreconditionError, "it is not as it was when last looked at", "look again and decide"),
    413: (TooLargeError, "too large for the service", "send less at a time"),
    415: (InvalidRequestError, "the service does not take this kind of content", ""),
    422: (InvalidRequestError, "the service does not accept the content of the request", ""),
    425: (UnavailableError, "the service takes no requests yet", "try again later"),
    429: (UnavailableError, "too many requests", "try again later, or lower max_concurrency"),
    503: (UnavailableError, "the service is not available", "try again later"),
    507: (UnavailableError, "the service has no room left", "free some, or ask its administrator"),
}
_REFUSED = (InvalidRequestError, "the service refused the request", "")
_CRASHED = (UnavailableError, "the service failed", "try again later")


def error_for(
    status: int, headers: Mapping[str, str], content: bytes, *, label: str, secrets: tuple[str, ...] = ()
) -> ServiceError | ProtocolError:
    """Return the error that a response stands for.

    Parameters
    ----------
    status : int
        The status, one that was not asked for.
    headers, content : Mapping, bytes
        The rest of the response, or its beginning; the service's own words are quoted from it.
    label : str
        The path or URL that the request was about.
    secrets : tuple of str
        What must not be shown, should the service quote it.
    """
    page = is_web_page(headers, content)
    if status < 400 or (page and status == 404):
        # A web server's own "not found" page says nothing of the object: taken for absence, a wrong
        # endpoint would look like an empty one.
        return ProtocolError(_unexpected(status, headers, secrets, page=page), label, status=status)
    kind, meaning, advice = _MEANINGS.get(status, _CRASHED if status >= 500 else _REFUSED)
    words = "" if page else service_message(content, secrets)
    parts = [f"{meaning} ({status})", f"the service says: {words}" if words else "", advice]
    return kind("; ".join(part for part in parts if part), label, status=status)


def raise_for_status(response: Response, label: str) -> None:
    """Raise what a response stands for, unless it is a success (2xx).

    Parameters
    ----------
    response : Response
        A response of any status, as `HttpSession.request` returns where it is told to expect it.
    label : str
        The path or URL that the request was about.
    """
    if not 200 <= response.status < 300:
        raise error_for(
            response.status, response.headers, response.content, label=label, secrets=response.secrets
        )


def service_message(content: bytes, secrets: tuple[str, ...] = ()) -> str:
    """Return what the service itself says in an error's body; empty where it says nothing.

    ``{"error": ...}``, ``{"detail": ...}`` and OAuth's ``error_description`` are understood; fields of a
    refused form are listed.
    """
    try:
        body = parse_json(content)
    except ValueError:
        return excerpt(content, *secrets)
    if isinstance(body, dict):
        for key in ("error_description", "error", "detail", "message"):
            if body.get(key):
                body = body[key]
                break
    return excerpt(body if isinstance(body, str) else str(body), *secrets) if body else ""


def _unexpected(status: int, headers: Mapping[str, str], secrets: tuple[str, ...], *, page: bool) -> str:
    if 300 <= status < 400:
        target = excerpt(headers.get("location", "nowhere").partition("?")[0], *secrets)
        return f"redirected ({status}) to {target}, which is not followed here; check endpoint_url"
    if page:
        return web_page_message(status)
    return f"an answer with status {status} was not expected; check endpoint_url"
