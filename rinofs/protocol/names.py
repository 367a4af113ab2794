"""What can be the name of an object."""

from __future__ import annotations

import unicodedata

MAX_NAME_LENGTH = 255
"""Longest name, in characters (code points)."""


class InvalidNameError(ValueError):
    """A name that no object can have."""


def check_name(name: str) -> None:
    """Refuse what cannot be the name of an object.

    Names are kept exactly as they are given: case matters and nothing is normalised.

    Parameters
    ----------
    name : str
        The name, one part of a path.

    Raises
    ------
    InvalidNameError
        If the name is empty, longer than 255 characters, ``.`` or ``..``, or holds a slash, a control
        character or half of a surrogate pair.
    """
    if not name:
        raise InvalidNameError("a name must not be empty")
    if len(name) > MAX_NAME_LENGTH:
        raise InvalidNameError(f"a name has at most {MAX_NAME_LENGTH} characters, this one has {len(name)}")
    if name in {".", ".."}:
        raise InvalidNameError(f"invalid name {name!r}")
    if name.isascii() and name.isprintable() and "/" not in name:
        return  # as nearly all are
    for character in name:
        if character == "/":
            raise InvalidNameError(f"a name must not contain a slash: {name!r}")
        if unicodedata.category(character) in {"Cc", "Cs"}:
            raise InvalidNameError(f"a name must not contain the character {character!r}: {name!r}")
