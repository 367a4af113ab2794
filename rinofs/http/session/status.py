"""Turn the HTTP status of a response into an error."""

from __future__ import annotations

import re
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
    400: (InvalidRequestError, "invalid request", ""),
    401: (AuthenticationError, "the token was refused", "log in again with `rinofs login`, or pass a token"),
    403: (NotAllowedError, "permission denied", "ask the owner for access, or use a token with more rights"),
    405: (InvalidRequestError, "the service does not support this request", "check endpoint_url"),
    408: (UnavailableError, "the service timed out waiting for the request", "try again"),
    409: (ConflictError, "the name is taken", "choose another name, or delete the existing object"),
    412: (PreconditionError, "changed by somebody else in the meantime", "read it again, then retry"),
    413: (TooLargeError, "too large for the service", "send less at a time"),
    415: (InvalidRequestError, "the service does not support this type of content", ""),
    422: (InvalidRequestError, "the service rejected the content of the request", ""),
    425: (UnavailableError, "the service does not accept requests yet", "try again later"),
    429: (UnavailableError, "too many requests", "try again later, or lower max_concurrency"),
    503: (UnavailableError, "the service is not available", "try again later"),
    507: (UnavailableError, "the service is out of storage", "free some space, or ask its administrator"),
}
# What proxies in front of a service answer themselves, when it did not.
_OF_PROXIES: dict[int, tuple[type[ServiceError], str]] = {
    413: (TooLargeError, "refused the request as too large"),
    502: (UnavailableError, "got no answer from the service"),
    503: (UnavailableError, "did not pass the request on, or got no answer"),
    504: (UnavailableError, "stopped waiting for the service"),
}
_LIMITS = {
    "nginx": "raise client_max_body_size in its configuration",
    "Caddy": "raise max_size of request_body",
}
_PROXIES = frozenset(
    {"nginx", "openresty", "caddy", "haproxy", "envoy", "traefik", "varnish", "awselb", "cloudflare"}
)
_MISSING = {404, 410}
_REFUSED = (InvalidRequestError, "the service refused the request", "")
_CRASHED = (UnavailableError, "the service failed", "try again later")


def error_for(
    status: int,
    headers: Mapping[str, str],
    content: bytes,
    *,
    label: str,
    secrets: tuple[str, ...] = (),
    token_advice: str | None = None,
) -> ServiceError | ProtocolError:
    """Return the error for a response.

    Parameters
    ----------
    status : int
        Status that the caller did not expect.
    headers, content : Mapping, bytes
        Rest of the response, or its beginning. The error quotes the service's message from it.
    label : str
        Path or URL of the request.
    secrets : tuple of str
        Secrets to mask if the service quotes them.
    token_advice : str, optional
        Where a refused token came from and how to replace it, instead of the default advice.
    """
    page = is_web_page(headers, content)
    if status < 400 or (page and status == 404):
        # A web server's own "not found" page says nothing about the object. If it meant a missing object, a
        # wrong endpoint would look like an empty one.
        return ProtocolError(_unexpected(status, headers, secrets, page=page), label, status=status)
    proxy = proxy_name(status, headers, content)
    if proxy is not None:
        kind, happened = _OF_PROXIES[status]
        limit = _LIMITS.get(proxy, "raise its limit on the size of requests")
        advice = limit if status == 413 else "try again, or check that the service runs"
        return kind(f"a proxy ({proxy}) {happened} ({status}); {advice}", label, status=status)
    kind, meaning, advice = _MEANINGS.get(status, _CRASHED if status >= 500 else _REFUSED)
    words = "" if page else service_message(content, secrets)
    if status in _MISSING:
        return NotFoundError(path=label, status=status, detail=_what_exists(words))
    if status == 401:
        words = "" if words.lower().rstrip(".") == "invalid token" else words
        advice = advice if token_advice is None else token_advice
    elif status == 409 and words:
        meaning, words, advice = _conflict(words, meaning, advice)
    told = f"{meaning} ({status}): {words}" if words else f"{meaning} ({status})"
    return kind(f"{told}; {advice}" if advice else told, label, status=status)


def proxy_name(status: int, headers: Mapping[str, str], content: bytes) -> str | None:
    """Return which proxy an error is from, None if it is the service's own or nobody's name is on it.

    Proxies put their name on the answers of the service as well, but those are JSON. An error of a proxy is a
    web page, or empty.
    """
    if status not in _OF_PROXIES:
        return None
    said = headers.get("server") or headers.get("via", "").rpartition(",")[2].strip().partition(" ")[2]
    match = re.match(r"[A-Za-z][\w.-]{0,30}", said)
    if match is None:
        return None
    if is_web_page(headers, content) or (not content and match[0].lower() in _PROXIES):
        return match[0]
    return None


def _what_exists(words: str) -> str:
    """Return how much of a missing path exists, or the service's own explanation."""
    words = re.sub(r"^\w+: ", "", words)  # the field of the request
    if not words or re.fullmatch(r"not found\.?|(?:object )?\d+ does not exist", words, re.IGNORECASE):
        return ""
    folder = re.fullmatch(r"'.*' does not exist in (.+)", words)
    return f"{folder[1]!r} exists" if folder else words


def _conflict(words: str, meaning: str, advice: str) -> tuple[str, str, str]:
    """Return the meaning of a conflict: a name that is taken, or the state of the object."""
    if re.fullmatch(r"name: '.*' is taken", words):
        return meaning, "", advice
    if re.search(r"taken|exists?\b", words):
        return meaning, words, advice
    return "the service refused the request", words, ""


def raise_for_status(response: Response, label: str) -> None:
    """Raise the error for a response, unless its status is a success (2xx).

    Parameters
    ----------
    response : Response
        Response of any status, as `HttpSession.request` returns it if the caller expects that status.
    label : str
        Path or URL of the request.
    """
    if not 200 <= response.status < 300:
        raise error_for(
            response.status, response.headers, response.content, label=label, secrets=response.secrets
        )


def service_message(content: bytes, secrets: tuple[str, ...] = ()) -> str:
    """Return the service's message in the body of an error; empty if there is none.

    Reads ``{"error": ...}``, ``{"detail": ...}`` and OAuth's ``error_description``
    (https://www.rfc-editor.org/rfc/rfc6749#section-5.2), and lists the fields of a refused form.
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
        return f"unexpected redirect ({status}) to {target}, not followed; check endpoint_url"
    if page:
        return web_page_message(status)
    return f"unexpected status {status}; check endpoint_url"
