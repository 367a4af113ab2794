"""Reading content: pinned to one version, resumed where it breaks, never short."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rinofs.http.session import HttpSession


def etag_header(headers: Mapping[str, str]) -> str | None:
    """Return the strong etag that an answer names, without its quotes, or None."""
    raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Content:
    """What is to be read.

    Attributes
    ----------
    path : str
        Path below the endpoint, percent-encoded.
    params : tuple of (str, str)
        The query.
    label : str
        What it is called in messages, such as ``rino://exp1/a.csv``.
    size : int, optional
        Bytes, where known.
    etag : str, optional
        The version to read, where known.
    conditional : bool
        Whether the server honours ``If-Match`` with this etag.
    version_of : callable
        Names the version that an answer's headers speak of; None if they do not say.
    """

    path: str
    params: tuple[tuple[str, str], ...]
    label: str
    size: int | None = None
    etag: str | None = None
    conditional: bool = False
    version_of: Callable[[Mapping[str, str]], str | None] = etag_header


class ContentStream(io.RawIOBase):
    """The bytes [start, stop) of one version of a content; ends exactly at its stop, or raises.

    Attributes
    ----------
    headers : Mapping
        Headers of the first answer.
    size : int or None
        Bytes of the whole content, where anyone said.
    etag : str or None
        The version, where anyone said.
    """

    headers: Mapping[str, str]
    size: int | None
    etag: str | None


def open_content(
    session: HttpSession, content: Content, start: int = 0, stop: int | None = None
) -> ContentStream:
    """Start reading the bytes [start, stop) of `content`; the request is sent now."""
    raise NotImplementedError


def read_content(
    session: HttpSession,
    content: Content,
    start: int = 0,
    stop: int | None = None,
    *,
    verify: bool = False,
) -> bytes:
    """Read the bytes [start, stop) of `content` into one buffer.

    Negative numbers count from the end. With `verify`, a whole read is checked against the digest that
    the service offers.
    """
    raise NotImplementedError
