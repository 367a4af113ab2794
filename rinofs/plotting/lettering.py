"""Measure, wrap and shorten text of any length and script."""

from __future__ import annotations

import unicodedata
import warnings
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from matplotlib import rcParams
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.font_manager import FontProperties

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

INK = "#333333"
QUIET = "#767676"

_RESOLUTIONS = (72, 90, 100, 110, 150)  # dpi; hinting changes the width of letters
_MARGIN = 1.03
_JOINERS = "\u200c\u200d"
_MARKS = 2  # maximum number of combining marks on a letter
_BREAKS = " /_-.,;"


@dataclass(frozen=True, slots=True)
class Piece:
    """A positioned piece of text in a block.

    Attributes
    ----------
    text : str
        Text.
    x : float
        Inches from the left edge of the block.
    size : float
        Font size in points.
    colour : str
        Colour.
    bold : bool
        Whether the font is bold.
    """

    text: str
    x: float = 0.0
    size: float = 8.0
    colour: str = INK
    bold: bool = False


Line = tuple[Piece, ...]


def cleaned(text: Any) -> str:
    """Return a text as one line, without control characters and with few combining marks on a letter."""
    letters: list[str] = []
    marks = 0
    for letter in unicodedata.normalize("NFC", str(text)):
        category = unicodedata.category(letter)
        marks = marks + 1 if category in {"Mn", "Me"} else 0
        if category in {"Cc", "Zl", "Zp"}:
            letters.append(" ")
        elif category in {"Cs", "Cn"}:
            letters.append("\ufffd")
        elif marks <= _MARKS and (category != "Cf" or letter in _JOINERS):
            letters.append(letter)
    return " ".join("".join(letters).split())


def measured(text: str, size: float = 8.0, *, bold: bool = False) -> float:
    """Return the width of a text in inches."""
    return _measured(text, size, bold, tuple(rcParams["font.family"]))


@lru_cache(4096)
def _measured(text: str, size: float, bold: bool, _family: tuple[str, ...]) -> float:
    if not text:
        return 0.0
    font = FontProperties(size=size, weight="bold" if bold else "normal")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # missing glyphs are drawn as boxes
        widths = [
            _renderer(dpi).get_text_width_height_descent(text, font, ismath=False)[0] / dpi  # type: ignore[no-untyped-call]
            for dpi in _RESOLUTIONS
        ]
    return float(max(widths)) * _MARGIN


@cache
def _renderer(dpi: float) -> RendererAgg:
    return RendererAgg(1, 1, dpi)  # type: ignore[no-untyped-call]


def shortened(text: str, inches: float, size: float = 8.0, *, bold: bool = False) -> str:
    """Return a text that fits; a long one loses its middle, since names often differ at their ends."""
    if measured(text, size, bold=bold) <= inches:
        return text
    low, high = 0, len(text) - 1
    while low < high:
        kept = (low + high + 1) // 2
        if measured(_without_middle(text, kept), size, bold=bold) <= inches:
            low = kept
        else:
            high = kept - 1
    return _without_middle(text, low)


def _without_middle(text: str, kept: int) -> str:
    tail = kept * 2 // 5
    return f"{text[: kept - tail]}…{text[len(text) - tail :]}"


def shortened_uniquely(texts: Sequence[str], inches: float, size: float = 8.0) -> list[str]:
    """Return texts that fit, shortened such that different texts stay different.

    Texts that would look the same lose their common parts instead: first the beginning, since the end often
    is a unit. If they still look the same, they are numbered.

    Parameters
    ----------
    texts : sequence of str
        Names in one picture.
    inches, size : float
        Maximum width of each in inches, and the font size in points.
    """
    shown = {text: shortened(text, inches, size) for text in texts}
    for group in _alike(shown):
        shown |= _by_difference(group, inches, size)
    if _alike(shown):
        shown |= _by_difference(list(shown), inches, size)
    if _alike(shown):
        for number, text in enumerate(shown, 1):
            room = inches - measured(f"{number} ", size) - measured("i", size)
            shown[text] = f"{number} {shortened(text, room, size)}"
    return [shown[text] for text in texts]


def _alike(shown: Mapping[str, str]) -> list[list[str]]:
    """Return groups of texts that look the same."""
    groups: dict[str, list[str]] = {}
    for text, short in shown.items():
        groups.setdefault(short, []).append(text)
    return [group for group in groups.values() if len(group) > 1]


def _by_difference(texts: list[str], inches: float, size: float) -> dict[str, str]:
    """Return the distinguishing part of each text, with as much of the common part as fits."""
    start, end = _shared(texts)
    before = texts[0][:start]
    after = texts[0][len(texts[0]) - end :]
    differing = [text[start : len(text) - end] for text in texts]
    widest = max(measured(each, size) for each in differing) + 2 * measured("…", size)
    for kept in (after, f"…{after[len(after) // 2 :]}", f"…{after[-5:]}", "…"):
        room = inches - measured(kept, size)
        head = _head(before, room - widest, size)
        space = room - measured(head, size) - measured("i", size)
        shown = {
            text: f"{head}{shortened(each, space, size)}{kept}"
            for text, each in zip(texts, differing, strict=True)
        }
        fits = all(measured(each, size) <= inches for each in shown.values())
        if fits and not _alike(shown):
            return shown
    return {}


def _head(text: str, inches: float, size: float) -> str:
    """Return as much of the beginning of a text as fits, with an ellipsis."""
    if not text or measured(text, size) <= inches:
        return text
    count = _fitting(text, inches, size, bold=False)
    return f"{text[:count].rstrip()}…" if count > 1 else "…"


def _shared(texts: list[str]) -> tuple[int, int]:
    """Return how many letters all texts have in common at the beginning and at the end, in whole words."""
    start = _alike_letters(texts)
    start = max(texts[0].rfind(mark, 0, start) + 1 for mark in _BREAKS)
    rest = [text[start:][::-1] for text in texts]
    end = _alike_letters(rest)
    return start, max(rest[0].rfind(mark, 0, end) + 1 for mark in _BREAKS)


def _alike_letters(texts: list[str]) -> int:
    """Return the length of the common beginning of texts."""
    first, last = min(texts), max(texts)
    pairs = enumerate(zip(first, last, strict=False))
    return next((place for place, (one, other) in pairs if one != other), len(first))


def wrapped(text: str, inches: float, size: float = 8.0, *, lines: int = 3, bold: bool = False) -> list[str]:
    """Return a text as lines that fit; the last line loses its middle if there is too much text."""
    found: list[str] = []
    while text and len(found) < lines - 1 and measured(text, size, bold=bold) > inches:
        count = _fitting(text, inches, size, bold=bold)
        cut = max((text.rfind(mark, 0, count) + 1 for mark in _BREAKS), default=0)
        if text[count : count + 1] == " " or cut < count // 3:
            cut = count
        found.append(text[:cut].rstrip())
        text = text[cut:].lstrip()
    return [*found, shortened(text, inches, size, bold=bold)] if text else found


def _fitting(text: str, inches: float, size: float, *, bold: bool) -> int:
    """Return how many letters at the beginning of a text fit, at least one."""
    low, high = 1, len(text)
    while low < high:
        count = (low + high + 1) // 2
        if measured(text[:count], size, bold=bold) <= inches:
            low = count
        else:
            high = count - 1
    return low


def height_of(line: Line) -> float:
    """Return the height of a line in inches, including the space below it."""
    return 1.4 / 72 * max(piece.size for piece in line)


def key(entries: Iterable[tuple[str, str]], inches: float) -> list[Line]:
    """Return a legend, as lines with several entries each.

    Parameters
    ----------
    entries : iterable of tuple of str
        Names and colours.
    inches : float
        Maximum width of a line in inches.
    """
    lines: list[Line] = []
    current: list[Piece] = []
    x = 0.0
    swatch = measured("■ ")
    entries = list(entries)
    texts = shortened_uniquely([name for name, _ in entries], inches - swatch)
    for text, (_, colour) in zip(texts, entries, strict=True):
        wide = swatch + measured(text)
        if current and x + wide > inches:
            lines.append(tuple(current))
            current, x = [], 0.0
        current += [Piece("■", x, colour=colour), Piece(text, x + swatch)]
        x += wide + 0.15
    return [*lines, tuple(current)] if current else lines
