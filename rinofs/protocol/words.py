r"""Whole words in texts: what ``$matches`` means, in one place for both evaluators.

A pattern is found where a text holds it as whole words, whatever their case. A word is made of letters and
digits; all else, ``_`` too, separates words. In a pattern of one word, ``*`` stands for any characters but
blanks and ``?`` for one; in one of several words, they stand for themselves, and a blank for one or more. A
backslash takes away the meaning of what follows.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["escape", "has_wildcards", "unescape", "words_matcher"]

_PIECE = re.compile(r"\\(.)|(\*+)|(\?)|(\s+)|([^\\*?\s]+|\\)", re.DOTALL)
_BLANK = re.compile(r"\s")
_RUN = re.compile(r"\S+")
_START, _END = r"(?<![^\W_])", r"(?![^\W_])"


def escape(text: str) -> str:
    """Return the pattern in which no character of a text has a meaning."""
    return re.sub(r"([\\*?])", r"\\\1", text)


def unescape(pattern: str) -> str:
    """Return a pattern as the text that it stands for, if it has no wildcards."""
    return re.sub(r"\\(.)", r"\1", pattern, flags=re.DOTALL)


def has_wildcards(pattern: str) -> bool:
    """Return whether a pattern of one word has ``*`` or ``?`` that stand for others."""
    return any(match[2] or match[3] for match in _PIECE.finditer(pattern))


@lru_cache(256)
def words_matcher(pattern: str) -> Callable[[str], bool]:
    """Return what tells whether a text holds a pattern as whole words, in time linear in the text."""
    parts = _parts(pattern.strip().lower())
    if parts is None:
        return lambda _text: False
    expressions = [re.compile(part) for part in parts]
    if len(expressions) == 1:
        return lambda text: expressions[0].search(text.lower()) is not None
    return _Wild(expressions)


class _Wild:
    """Looks for parts in their order, in a run of characters without blanks.

    A single expression with ``.*`` in it would try all places for each of its parts.
    """

    def __init__(self, parts: list[re.Pattern[str]]) -> None:
        self._parts = parts

    def __call__(self, text: str) -> bool:
        return any(self._is_in(run[0]) for run in _RUN.finditer(text.lower()))

    def _is_in(self, run: str) -> bool:
        place = 0
        for part in self._parts:
            # The first place is as good as any later one for what follows.
            found = part.search(run, place)
            if found is None:
                return False
            place = found.end()
        return True


def _parts(pattern: str) -> list[str] | None:
    """Return the expressions between the ``*`` of a pattern; None where it has nothing to look for."""
    is_phrase = _BLANK.search(pattern) is not None
    parts, shapes = [""], [""]  # a shape has a letter for what stands for any character
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
