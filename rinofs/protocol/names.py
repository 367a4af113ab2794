"""Names of objects and of hosts, and URLs that are safe to show."""

from __future__ import annotations

import ipaddress
import re
import unicodedata

MAX_NAME_LENGTH = 255
"""Maximum length of a name in characters (code points)."""


class InvalidNameError(ValueError):
    """A name that is not allowed."""


def check_name(name: str) -> None:
    """Raise an error for a name that is not allowed.

    Names are stored exactly as given: they are case-sensitive and not normalised.

    Parameters
    ----------
    name : str
        One part of a path.

    Raises
    ------
    InvalidNameError
        If the name is empty, longer than 255 characters, ``.`` or ``..``, or contains a slash, a control
        character or an unpaired surrogate.
    """
    if not name:
        raise InvalidNameError("a name must not be empty")
    if len(name) > MAX_NAME_LENGTH:
        raise InvalidNameError(f"a name has at most {MAX_NAME_LENGTH} characters, this one has {len(name)}")
    if name in {".", ".."}:
        raise InvalidNameError(f"invalid name {name!r}")
    if name.isascii() and name.isprintable() and "/" not in name:
        return  # the usual case
    for character in name:
        if character == "/":
            raise InvalidNameError(f"a name must not contain a slash: {name!r}")
        if unicodedata.category(character) in {"Cc", "Cs"}:
            raise InvalidNameError(f"a name must not contain the character {character!r}: {name!r}")


def without_login(url: str) -> str:
    """Return a URL without user and password, for a message about it.

    All up to the last ``@`` is left out: in a malformed URL, a password ends nowhere else.

    Parameters
    ----------
    url : str
        A URL, or what was given in place of one.
    """
    scheme = re.match(r"(?:[A-Za-z][A-Za-z0-9+.-]*:)?//", url)
    begin = scheme[0] if scheme else ""
    return begin + url.removeprefix(begin).rpartition("@")[2]


def is_loopback(host: str) -> bool:
    """Return whether a host can only be the machine itself, so that nothing sent to it crosses a network.

    Parameters
    ----------
    host : str
        A name in lower case, or an address without brackets.
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        # https://www.rfc-editor.org/rfc/rfc6761#section-6.3
        return host == "localhost" or host.endswith(".localhost")
