r"""Whole words in text: the meaning of ``$matches``, defined once for client and server.

A pattern matches if the text contains it as whole words, ignoring case. A word consists of letters and
digits; everything else, including ``_``, separates words. In a pattern of one word, ``*`` stands for any
characters but blanks and ``?`` for one of them; in a pattern of several words, they are literal, and a blank
stands for one or more blanks. A backslash makes the next character literal.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["escape", "has_wildcards", "literal_parts", "unescape", "words_matcher"]

_PIECE = re.compile(r"\\(.)|(\*+)|(\?)|(\s+)|([^\\*?\s]+|\\)", re.DOTALL)
_BLANK = re.compile(r"\s")
_RUN = re.compile(r"\S+")
_START, _END = r"(?<![^\W_])", r"(?![^\W_])"


def escape(text: str) -> str:
    """Return the pattern that matches a text literally."""
    return re.sub(r"([\\*?])", r"\\\1", text)


def unescape(pattern: str) -> str:
    """Return the literal text of a pattern without wildcards."""
    return re.sub(r"\\(.)", r"\1", pattern, flags=re.DOTALL)


def has_wildcards(pattern: str) -> bool:
    """Return whether a pattern of one word has an unescaped ``*`` or ``?``."""
    return any(match[2] or match[3] for match in _PIECE.finditer(pattern))


def literal_parts(pattern: str) -> list[str]:
    """Return what a text that matches a pattern contains, in lower case: what is between its wildcards."""
    pattern = pattern.strip().lower()
    is_phrase = _BLANK.search(pattern) is not None
    found = [""]
    for match in _PIECE.finditer(pattern):
        escaped, stars, one, blank, plain = match.groups()
        if blank or ((stars or one) and not is_phrase):
            found.append("")
        else:
            found[-1] += escaped or stars or one or plain
    return [part for part in found if part]


@lru_cache(256)
def words_matcher(pattern: str) -> Callable[[str], bool]:
    """Return a function that checks for a pattern as whole words, in time linear in the text."""
    parts = _parts(pattern.strip().lower())
    if parts is None:
        return lambda _text: False
    expressions = [re.compile(part) for part in parts]
    if len(expressions) == 1:
        return lambda text: expressions[0].search(text.lower()) is not None
    return _WildcardMatcher(expressions)


class _WildcardMatcher:
    """Finds parts in order in a run of characters without blanks.

    A single regular expression with ``.*`` would backtrack over all positions of each part.
    """

    def __init__(self, parts: list[re.Pattern[str]]) -> None:
        self._parts = parts

    def __call__(self, text: str) -> bool:
        return any(self._is_in(run[0]) for run in _RUN.finditer(text.lower()))

    def _is_in(self, run: str) -> bool:
        place = 0
        for part in self._parts:
            # The first position leaves the most text for the following parts.
            found = part.search(run, place)
            if found is None:
                return False
            place = found.end()
        return True


def _parts(pattern: str) -> list[str] | None:
    """Return the regular expressions between the ``*`` of a pattern; None for one without characters."""
    is_phrase = _BLANK.search(pattern) is not None
    parts, shapes = [""], [""]  # in `shapes`, a letter replaces each wildcard for one character
    for match in _PIECE.finditer(pattern):
        escaped, stars, one, blank, plain = match.groups()
        if stars and not is_phrase:
            parts.append("")
            shapes.append("")
        elif one and not is_phrase:
            parts[-1] += r"\S"
            shapes[-1] += "x"
        elif blank:
            parts[-1] += r"\s+"
            shapes[-1] += " "
        else:
            parts[-1] += re.escape(escaped or stars or one or plain)
            shapes[-1] += escaped or stars or one or plain
    if not any(map(str.strip, shapes)):
        return None
    if shapes[0] and shapes[0][0].isalnum():
        parts[0] = _START + parts[0]
    if shapes[-1] and shapes[-1][-1].isalnum():
        parts[-1] += _END
    return [part for part in parts if part]
