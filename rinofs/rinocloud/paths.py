"""Paths of Rinocloud: names joined by slashes, and ids.

A part of a path is the name of an object, exactly. ``@848`` addresses an object by its id instead; a name
that looks like that is written with one more ``@``. A record whose name cannot be a part of a path is shown
as its id.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

from rinofs.errors import InvalidPathError
from rinofs.protocol.names import InvalidNameError, check_name

_ID = re.compile(r"@[0-9]+")
_ESCAPED = re.compile(r"@@+[0-9]+")
_LOOKS_LIKE_ID = re.compile(r"@+[0-9]+")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


@dataclass(frozen=True, slots=True)
class ById:
    """A part of a path that addresses an object by its id."""

    id: int


Part: TypeAlias = str | ById


def parse(path: str) -> tuple[Part, ...]:
    """Take a path apart.

    Parameters
    ----------
    path : str
        A path without protocol and without slashes around it; empty for the top level.

    Returns
    -------
    tuple of str or ById
        The names and ids on the way from the top level.

    Raises
    ------
    InvalidPathError
        If a part is neither an id nor what can be a name.
    """
    return tuple(_parse_part(part, path) for part in path.split("/")) if path else ()


def _parse_part(part: str, path: str) -> Part:
    name = part
    if part.startswith("@"):
        if _ID.fullmatch(part):
            return ById(int(part[1:]))
        name = part[1:] if _ESCAPED.fullmatch(part) else part
    try:
        check_name(name)
    except InvalidNameError as error:
        # The slashes of a protocol stand around a name that is empty.
        reason = "it is a URL of something else" if _URL.match(path) else error
        raise InvalidPathError(f"{path!r} is not a path: {reason}") from None
    return name


def part_of(name: str, record_id: int) -> str:
    """Return the part of a path that stands for a record.

    Parameters
    ----------
    name : str
        The record's name.
    record_id : int
        The record's id, which stands for it where the name cannot.

    Returns
    -------
    str
        What `parse` turns into the name, or into the id.
    """
    if _LOOKS_LIKE_ID.fullmatch(name):
        return f"@{name}" if _is_name(name) else f"@{record_id}"
    return name if _is_name(name) else f"@{record_id}"


def _is_name(name: str) -> bool:
    try:
        check_name(name)
    except InvalidNameError:
        return False
    return True


def join(parent: str, part: str) -> str:
    """Return the path of `part` below the path `parent`."""
    return f"{parent}/{part}" if parent else part
