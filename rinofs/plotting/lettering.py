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
    from collections.abc import Iterable

INK = "#333333"
QUIET = "#767676"

_RESOLUTIONS = (72, 90, 100, 110, 150)  # at which hinting makes letters wider or narrower, by a tenth
_MARGIN = 1.03
_JOINERS = "\u200c\u200d"
_MARKS = 2  # combining marks that stay on one letter
_BREAKS = " /_-.,;"


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of text of a block, at its place.

    Attributes
    ----------
    text : str
        What it says.
    x : float
        Inches from the left of its block.
    size : float
        Of the font, in points.
    colour : str
        Its colour.
    bold : bool
        Whether it is bold.
    """

    text: str
    x: float = 0.0
    size: float = 8.0
    colour: str = INK
    bold: bool = False


Line = tuple[Piece, ...]


def cleaned(text: Any) -> str:
    """Return a text as one line that says the same: without controls, and with few marks on a letter."""
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
    """Return how wide a text is, in inches."""
    return _measured(text, size, bold, tuple(rcParams["font.family"]))


@lru_cache(4096)
def _measured(text: str, size: float, bold: bool, _family: tuple[str, ...]) -> float:
    if not text:
        return 0.0
    font = FontProperties(size=size, weight="bold" if bold else "normal")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # they are drawn as boxes
        widths = [
            _renderer(dpi).get_text_width_height_descent(text, font, ismath=False)[0] / dpi  # type: ignore[no-untyped-call]
            for dpi in _RESOLUTIONS
        ]
    return float(max(widths)) * _MARGIN


@cache
def _renderer(dpi: float) -> RendererAgg:
    return RendererAgg(1, 1, dpi)  # type: ignore[no-untyped-call]


def shortened(text: str, inches: float, size: float = 8.0, *, bold: bool = False) -> str:
    """Return a text that fits, without its middle where it is too long: names often differ at their ends."""
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


def wrapped(text: str, inches: float, size: float = 8.0, *, lines: int = 3, bold: bool = False) -> list[str]:
    """Return a text in lines that fit; what the last has no room for is left out of its middle."""
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
    """Return how many letters of the start of a text fit, one at least."""
    low, high = 1, len(text)
    while low < high:
        count = (low + high + 1) // 2
        if measured(text[:count], size, bold=bold) <= inches:
            low = count
        else:
            high = count - 1
    return low


def height_of(line: Line) -> float:
    """Return how tall a line is, in inches, with the room to the next."""
    return 1.4 / 72 * max(piece.size for piece in line)


def key(entries: Iterable[tuple[str, str]], inches: float) -> list[Line]:
    """Return which colour means what, as lines of entries beside each other.

    Parameters
    ----------
    entries : iterable of tuple of str
        Names with their colours.
    inches : float
        How wide the lines may be.
    """
    lines: list[Line] = []
    current: list[Piece] = []
    x = 0.0
    swatch = measured("■ ")
    for name, colour in entries:
        text = shortened(name, inches - swatch)
        wide = swatch + measured(text)
        if current and x + wide > inches:
            lines.append(tuple(current))
            current, x = [], 0.0
        current += [Piece("■", x, colour=colour), Piece(text, x + swatch)]
        x += wide + 0.15
    return [*lines, tuple(current)] if current else lines
