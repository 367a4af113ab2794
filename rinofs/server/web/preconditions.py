"""Conditional requests (RFC 9110, section 13)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.datastructures import Headers

__all__ = ["etags_in", "expected_tags", "failed_precondition", "holds_for_range"]

_TAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')


def failed_precondition(method: str, headers: Headers, etag: str, modified: datetime) -> int | None:
    """Evaluate the conditions of a request in the order of RFC 9110, section 13.2.2.

    Parameters
    ----------
    method : str
        The method of the request.
    headers : Headers
        Its headers.
    etag : str
        Strong etag of the current content, without quotes.
    modified : datetime
        When the content was last modified, with time zone.

    Returns
    -------
    int or None
        304 or 412 if a condition failed, or None.
    """
    safe = method in {"GET", "HEAD"}
    modified = modified.replace(microsecond=0)  # the resolution of Last-Modified
    if "if-match" in headers:
        if not _names(headers.getlist("if-match"), etag, weak=False):
            return 412
    elif (before := _date(headers.get("if-unmodified-since"))) and modified > before:
        return 412
    if "if-none-match" in headers:
        if _names(headers.getlist("if-none-match"), etag, weak=True):
            return 304 if safe else 412
    elif safe and (since := _date(headers.get("if-modified-since"))) and modified <= since:
        return 304
    return None


def expected_tags(headers: Headers) -> tuple[frozenset[str] | None, frozenset[str]]:
    """Return the etags one of which an object needs to be changed (None: any), and those it must not have.

    For ``If-Unmodified-Since``, every object counts as modified just now: dates cannot tell changes within a
    second apart.
    """
    one_of: frozenset[str] | None = None
    if "if-match" in headers:
        joined = ", ".join(headers.getlist("if-match"))
        if joined.strip() != "*":
            one_of = frozenset(tag for mark, tag in _TAG.findall(joined) if not mark)
    elif (before := _date(headers.get("if-unmodified-since"))) and datetime.now(UTC) > before:
        one_of = frozenset()
    joined = ", ".join(headers.getlist("if-none-match"))
    if joined.strip() == "*":
        return frozenset(), frozenset()
    return one_of, frozenset(tag for _, tag in _TAG.findall(joined))


def etags_in(value: str) -> frozenset[str]:
    """Return the strong etags in the value of an ``If-Match`` header, or ``*`` for any."""
    if value.strip() == "*":
        return frozenset({"*"})
    return frozenset(tag for mark, tag in _TAG.findall(value) if not mark)


def holds_for_range(condition: str | None, etag: str, modified: datetime) -> bool:
    """Return whether an ``If-Range`` header allows a response with a range.

    Parameters
    ----------
    condition : str or None
        The value of the header.
    etag : str
        The strong etag of the current content, without quotes.
    modified : datetime
        When the content was last modified, with its time zone.
    """
    if condition is None:
        return True
    date = _date(condition)
    if date is None:
        return condition.strip() == f'"{etag}"'
    # A date identifies a version only if the content did not change again within the same second.
    settled = datetime.now(UTC) - modified > timedelta(seconds=1)
    return settled and date == modified.replace(microsecond=0)


def _names(values: list[str], etag: str, *, weak: bool) -> bool:
    joined = ", ".join(values)
    if joined.strip() == "*":
        return True
    return any(tag == etag and (weak or not mark) for mark, tag in _TAG.findall(joined))


def _date(value: str | None) -> datetime | None:
    if not value or value.lstrip().startswith(('"', "W/")):
        return None
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
