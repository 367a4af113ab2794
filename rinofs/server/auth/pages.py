"""Pages as answers: escaped, never stored, never framed, with nothing in them that runs."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["STYLE_PATH", "page", "style"]

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
    """Answer with a page.

    Parameters
    ----------
    name : str
        Its template, without the suffix.
    status : int
        The HTTP status.
    headers : mapping of str, optional
        Further headers.
    leads_to : str, optional
        Where else its form may lead, as a source of a Content-Security-Policy; a page without it has no form.
    **values
        What the template shows.
    """
    targets = "'none'" if leads_to is None else f"'self' {leads_to}".strip()
    policy = (
        "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'; "
        f"form-action {targets}"
    )
    # Without any referrer, browsers would not say either from which page a form is sent.
    referrer = "no-referrer" if leads_to is None else "same-origin"
    secured = {**_HEADERS, "content-security-policy": policy, "referrer-policy": referrer, **(headers or {})}
    text = _templates().get_template(f"{name}.html").render(style=STYLE_PATH, **values)
    return Response(text, status, secured, "text/html")


async def style(_request: object) -> Response:
    """Send the style sheet."""
    sheet = files("rinofs.server.auth").joinpath("static", "style.css").read_text("utf-8")
    return Response(sheet, headers={"cache-control": "no-cache"}, media_type="text/css")


@cache
def _templates() -> Environment:
    loader = PackageLoader("rinofs.server.auth")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
