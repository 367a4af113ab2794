"""Show a figure in notebooks, and save it to a file."""

from __future__ import annotations

import io
import os
import secrets
import threading
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from rinofs.errors import InvalidOptionError

if TYPE_CHECKING:
    from collections.abc import Iterator

DPI = 110.0

_MOST_PIXELS = 1 << 16  # limit of matplotlib's Agg renderer for each side
_UNDATED = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
_SETTINGS: dict[Any, Any] = {
    "figure.autolayout": False,
    "figure.constrained_layout.use": False,
    "text.usetex": False,
    "text.parse_math": False,  # dollar signs in names are not formulas
    "axes.formatter.useoffset": False,
    "pdf.fonttype": 42,  # TrueType: journals reject matplotlib's default, Type 3
    "ps.fonttype": 42,
}
_lock = threading.RLock()


def _after_fork() -> None:
    global _lock
    _lock = threading.RLock()  # another thread of the parent may hold the old one for ever


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@contextmanager
def drawing_settings() -> Iterator[None]:
    """Set matplotlib's settings for these pictures, and restore the user's afterwards."""
    # Settings are global, so two threads would restore each other's.
    with _lock, rc_context(_SETTINGS), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # missing glyphs are drawn as boxes
        yield


class Picture(Figure):
    """A matplotlib figure that notebooks display, with or without ``%matplotlib inline``."""

    def savefig(self, fname: Any, *, transparent: bool | None = None, **kwargs: Any) -> None:
        """Write the figure to a file, with fonts embedded as TrueType (Type 42)."""
        with drawing_settings():
            super().savefig(fname, transparent=transparent, **kwargs)

    def _repr_png_(self) -> bytes:
        return _png(self, DPI)


def save(figure: Figure, path: str | os.PathLike[str], *, dpi: float = DPI) -> None:
    """Write a figure to a file: png, svg or pdf, by its extension. The file is replaced only when complete.

    Fonts are embedded in PDF as Type 42 (TrueType).

    Parameters
    ----------
    figure : Figure
        Figure to save.
    path : str or path
        Local path.
    dpi : float, optional
        Dots per inch.

    Raises
    ------
    InvalidOptionError
        If a side has more than 65,535 pixels.
    """
    target = Path(path)
    staging = target.with_name(f".{target.stem}.{secrets.token_hex(4)}{target.suffix}")
    kind = target.suffix.lower()
    if kind == ".png":
        _check_size(figure, target, dpi)
    try:
        if kind == ".png":
            staging.write_bytes(_png(figure, dpi))
        else:
            with drawing_settings():
                # Without a date, the same data gives the same file.
                figure.savefig(staging, dpi=dpi, metadata=_UNDATED.get(kind))
        staging.replace(target)
    finally:
        staging.unlink(missing_ok=True)


def _check_size(figure: Figure, target: Path, dpi: float) -> None:
    longest = float(max(figure.get_size_inches()))
    if longest * dpi >= _MOST_PIXELS:
        most = int((_MOST_PIXELS - 1) / longest)
        raise InvalidOptionError(
            f"{target}: a PNG of {longest:.0f} inches is too large at {dpi:g} dpi; use at most {most} dpi"
        )


def _png(figure: Figure, dpi: float) -> bytes:
    drawn = io.BytesIO()
    with drawing_settings():
        figure.savefig(drawn, dpi=dpi, format="png", pil_kwargs={"optimize": True})
    return drawn.getvalue()
