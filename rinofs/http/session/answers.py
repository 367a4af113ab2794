"""Answers read whole, and what JSON may be in them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

from rinofs.errors import ProtocolError
from rinofs.http.session.redact import excerpt

if TYPE_CHECKING:
    from collections.abc import Mapping


def is_web_page(headers: Mapping[str, str], content: bytes = b"") -> bool:
    """Return whether an answer is HTML: by its type, or by how it begins."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in {"text/html", "application/xhtml+xml"}:
        return True
    return content[:64].lstrip()[:14].lower().startswith((b"<!doctype html", b"<html"))


def parse_json(content: bytes) -> Any:
    """Read strict JSON.

    Raises
    ------
    ValueError
        If it is malformed, not UTF-8, too deep, or holds NaN, Infinity or a number of thousands of digits.
    """
    try:
        return json.loads(content.decode("utf-8-sig"), parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer.

    Attributes
    ----------
    status : int
        The HTTP status.
    headers : Mapping
        The headers; names in any case.
    content : bytes
        The body.
    url : str
        The URL that answered.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    content: bytes = field(repr=False)
    url: str = field(repr=False)
    _label: str = field(default="", repr=False, compare=False)
    _secrets: tuple[str, ...] = field(default=(), repr=False, compare=False)
    _parsed: list[Any] = field(default_factory=list, repr=False, compare=False)

    def json(self) -> Any:
        """Return the body as JSON.

        Raises
        ------
        ProtocolError
            If the body is a web page, not JSON, too deep, or holds NaN or Infinity.
        """
        if self._parsed:
            return self._parsed.pop()
        try:
            return parse_json(self.content)
        except ValueError as error:
            # The decoder's own error holds the whole body: no cause is kept.
            reason = str(error) if not isinstance(error, UnicodeDecodeError) else "not UTF-8"
        if is_web_page(self.headers, self.content):
            raise ProtocolError(web_page_message(self.status), self._label or self.url)
        shown = excerpt(self.content, *self._secrets)
        raise ProtocolError(
            f"the answer ({self.status}) is not the JSON that was asked for ({reason}): {shown!r};"
            " check endpoint_url, or try again",
            self._label or self.url,
        )

    @property
    def secrets(self) -> tuple[str, ...]:
        """What was sent with the request, and must not be shown, should the answer quote it."""
        return self._secrets

    def check_json(self) -> None:
        """Raise what `json` would; what is read here is kept for it."""
        self._parsed.append(self.json())


def web_page_message(status: int) -> str:
    """Return what to say of a web page in the place of an answer."""
    return f"got HTML ({status}): a proxy or login page? check endpoint_url and the network's sign-in"
