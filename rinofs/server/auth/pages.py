"""Responses with HTML pages: escaped, never cached, never framed, and without scripts."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import Receive, Scope, Send

__all__ = ["STYLE_PATH", "page", "root_path", "style"]

STYLE_PATH = "/oauth/style.css"

_HEADERS = {
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "x-frame-options": "DENY",
}


def page(
    name: str,
    status: int = 200,
    *,
    headers: Mapping[str, str] | None = None,
    leads_to: str | None = None,
    **values: object,
) -> Response:
    """Return a response with a page.

    Parameters
    ----------
    name : str
        Name of the template, without the suffix.
    status : int
        HTTP status.
    headers : mapping of str, optional
        Additional headers.
    leads_to : str, optional
        Additional target of the form, as a source of a Content-Security-Policy. Without it, the page has no
        form.
    **values
        Values for the template.
    """
    targets = "'none'" if leads_to is None else f"'self' {leads_to}".strip()
    policy = (
        "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'; "
        f"form-action {targets}"
    )
    # With no-referrer, browsers would send a form with `Origin: null`.
    referrer = "no-referrer" if leads_to is None else "same-origin"
    secured = {**_HEADERS, "content-security-policy": policy, "referrer-policy": referrer, **(headers or {})}
    return _Page(name, values, status, secured)


def root_path(scope: Scope) -> str:
    """Return the path below which the server of a request is mounted."""
    path: str = scope["app"].state.settings.root_path
    return path


class _Page(Response):
    """A page that is rendered when it is sent: only then is the root path of the server known."""

    def __init__(
        self, name: str, values: Mapping[str, object], status: int, headers: Mapping[str, str]
    ) -> None:
        super().__init__(None, status, headers, "text/html")
        self._name = name
        self._values = values

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the page."""
        style = f"{root_path(scope)}{STYLE_PATH}"
        text = _templates().get_template(f"{self._name}.html").render(style=style, **self._values)
        self.body = text.encode()
        self.headers["content-length"] = str(len(self.body))
        await super().__call__(scope, receive, send)


async def style(_request: object) -> Response:
    """Send the style sheet."""
    sheet = files("rinofs.server.auth").joinpath("static", "style.css").read_text("utf-8")
    return Response(sheet, headers={"cache-control": "no-cache"}, media_type="text/css")


@cache
def _templates() -> Environment:
    loader = PackageLoader("rinofs.server.auth")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
