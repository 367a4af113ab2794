"""Page layout: panels below each other, and the text around them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.ticker import MaxNLocator

from rinofs.plotting import drawing
from rinofs.plotting.axis import (
    ClockFormatter,
    MinutesFormatter,
    PlainFormatter,
    TimeLocator,
)
from rinofs.plotting.lettering import INK, QUIET, Piece, height_of, key, measured, shortened, wrapped
from rinofs.plotting.panels import TOGETHER, EventPanel, StreamPanel
from rinofs.plotting.picture import Picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from rinofs.plotting.axis import PanelAxis
    from rinofs.plotting.lettering import Line
    from rinofs.plotting.panels import Panel

_EDGE = 0.15  # inches, margin of the figure
_GAP = 0.12  # between a panel and the text above the next one
_TICKS = 0.24  # below a panel, for tick labels
_LINE = 0.16  # height of an axis label
_DAY = 86_400.0
_MINUTES, _HOURS = 180.0, 3600.0  # seconds from which the axis counts in minutes and in hours
_MOST_MARKED = 60


@dataclass(slots=True)
class _PanelRow:
    """A panel and its position.

    Attributes
    ----------
    panel : Panel
        Panel to draw.
    ax : Axes
        Axes to draw on.
    low, high : float
        Limits of the axis.
    base : float
        Value at the origin of the axis: the previous midnight, if values are Unix seconds.
    is_last : bool
        Whether it is the lowest of the panels that share its axis, which has the tick labels.
    above : list of Line
        Text above the panel.
    labels : list
        Labels of events, with their positions.
    footer : list of str
        Text below the tick labels.
    """

    panel: Panel
    ax: Axes
    low: float
    high: float
    base: float
    is_last: bool
    above: list[Line] = field(default_factory=list)
    labels: list[tuple[float, int, str]] = field(default_factory=list)
    footer: list[str] = field(default_factory=list)

    @property
    def top(self) -> float:
        """Space above the panel in inches."""
        return sum(map(height_of, self.above)) + 0.08

    @property
    def bottom(self) -> float:
        """Space below the panel in inches."""
        return _TICKS + _LINE * len(self.footer) + _EDGE if self.is_last else _GAP


class FigurePage:
    """Panels below each other, grouped by axis.

    All lengths are in inches. Streams are drawn first, since their tick labels determine the left margin;
    then everything that depends on the width of the panels, and finally the height of the page.

    Parameters
    ----------
    panels : list of Panel
        Panels to draw.
    width : float
        Width of the page.
    start, stop : float or None
        Limits that the user chose, for axes of seconds.
    began : tuple of float and PanelAxis, or None
        Start time of the whole datapack, if known.
    """

    def __init__(
        self,
        panels: list[Panel],
        width: float,
        start: float | None,
        stop: float | None,
        began: tuple[float, PanelAxis] | None,
    ) -> None:
        self._width = width
        self._began = began
        self._figure = Picture(figsize=(width, 1), facecolor="white")
        FigureCanvasAgg(self._figure)
        kinds = list(dict.fromkeys(panel.axis for panel in panels))
        self._rows: list[_PanelRow] = []
        for kind in kinds:
            members = [panel for panel in panels if panel.axis == kind]
            low, high, base = _span(members, start, stop)
            for panel in members:
                ax = self._figure.add_axes((0.2, 0.2, 0.5, 0.5), label=str(len(self._rows)))
                self._rows.append(_PanelRow(panel, ax, low, high, base, panel is members[-1]))

    def finished(self, name: str, about: str, left_out: list[str]) -> Picture:
        """Draw the panels and the text around them.

        Parameters
        ----------
        name, about : str
            Name and description of the datapack.
        left_out : list of str
            What is not drawn.
        """
        left, right = self._draw_streams()
        inches = self._width - left - right
        for row in self._rows:
            self._draw_rest(row, left, inches)
        heading = self._title(name, about, left, 13.0) if name else []
        note = f"not drawn: {', '.join(left_out)}" if left_out else ""
        footnote = wrapped(note, self._width - 2 * _EDGE, lines=6) if note else []
        top = sum(map(height_of, heading)) + (_EDGE if heading else 0) + _EDGE
        height = top + sum(row.top + row.panel.height + row.bottom for row in self._rows)
        height += _LINE * len(footnote) + (_EDGE / 2 if footnote else 0)
        self._figure.set_size_inches(self._width, height)
        self._write(heading, left, height - _EDGE, height)
        edge = height - top
        for row in self._rows:
            self._write(row.above, left, edge, height)
            edge -= row.top + row.panel.height
            row.ax.set_position(
                (left / self._width, edge / height, inches / self._width, row.panel.height / height)
            )
            self._label(row, left, edge, height)
            edge -= row.bottom
        lines: list[Line] = [(Piece(line, colour=QUIET),) for line in footnote]
        self._write(lines, _EDGE, _EDGE + _LINE * len(lines), height)
        return self._figure

    def _draw_streams(self) -> tuple[float, float]:
        """Draw the signals; returns the width of the left and right margin in inches."""
        names, sides = 0.25 * self._width, max(0.85, 0.2 * self._width)
        left, right = 0.0, 0.35
        for row in self._rows:
            drawing.style(row.ax)
            row.ax.tick_params(length=3, labelsize=8, colors=INK)
            row.ax.set_xlim(row.low - row.base, row.high - row.base)
            if not isinstance(row.panel, StreamPanel):
                continue
            row.ax.set_position((0.2, 0.2, 0.5, row.panel.height))  # of a page of one by one inch
            right = max(right, drawing.stream(row.ax, row.panel, row.base, names, sides) + _EDGE / 2)
            row.ax.set_xlim(row.low - row.base, row.high - row.base)
            left = max(left, _tick_inches(row.ax))
        for row in self._rows:
            if isinstance(row.panel, EventPanel):
                narrowest = self._width - max(left, names) - right - 0.7
                row.panel = drawing.arranged(row.panel, row.low, row.high, narrowest)
            if isinstance(row.panel, EventPanel) and row.panel.row_names:
                drawing.name_rows(row.ax, row.panel, names)
                left = max(left, _tick_inches(row.ax))
        lines = max(row.ax.get_ylabel().count("\n") + bool(row.ax.get_ylabel()) for row in self._rows)
        left += 0.12 + _EDGE + 0.14 * lines
        for row in self._rows:
            row.ax.yaxis.label.set_verticalalignment("top")
        return left, right

    def _draw_rest(self, row: _PanelRow, left: float, inches: float) -> None:
        """Draw everything that depends on the width of the panels."""
        panel, ax = row.panel, row.ax
        row.above = self._title(panel.title, panel.text, left, 9.0)
        wide = self._width - left - _EDGE
        if isinstance(panel, EventPanel):
            row.labels, missing = drawing.event_labels(panel, row.low, row.high, inches)
            drawing.events(ax, panel, row.base, row.labels)
            colours = {word: fill for word, fill in drawing.event_colours(panel).items() if word}
            if missing and len(set(colours.values())) > 1:
                row.above += key(colours.items(), wide)
            elif missing:
                note = "not every event has room for its label; a shorter time shows more"
                row.above += [(Piece(line, colour=QUIET),) for line in wrapped(note, wide)]
        else:
            if panel.is_together and 1 < len(panel.labels) <= TOGETHER and ax.get_legend() is None:
                row.above += key(zip(panel.labels, drawing.COLOURS, strict=False), wide)
            events = [other.panel for other in self._rows if other.panel.axis == panel.axis]
            marked = [
                each for each in events if isinstance(each, EventPanel) and len(each.starts) <= _MOST_MARKED
            ]
            drawing.marks(ax, marked, row.base)
        ax.set_xlim(row.low - row.base, row.high - row.base)
        text = _set_ticks(row, inches, self._began)
        ax.tick_params(labelbottom=row.is_last)
        if row.is_last:
            row.footer = wrapped(text, self._width - 2 * _EDGE, 9)

    def _title(self, name: str, about: str, left: float, size: float) -> list[Line]:
        """Return a title, with the description to its right, or below it if there is no room."""
        wide = self._width - left - _EDGE
        small = 8.0 if size < 10 else 9.0
        room = wide - measured(name, size, bold=True) - measured(about, small)
        if about and room >= 0.3:
            x = wide - measured(about, small)
            return [(Piece(name, 0, size, bold=True), Piece(about, x, small, QUIET))]
        # A name that is too long starts at the edge of the page.
        x = 0.0 if measured(name, size, bold=True) <= wide else _EDGE - left
        lines: list[Line] = [
            (Piece(line, x, size, bold=True),) for line in wrapped(name, wide - x, size, lines=4, bold=True)
        ]
        return lines + [(Piece(line, 0, small, QUIET),) for line in wrapped(about, wide, small, lines=3)]

    def _write(self, lines: list[Line], left: float, top: float, height: float) -> None:
        for line in lines:
            top -= height_of(line)
            for piece in line:
                self._figure.text(
                    (left + piece.x) / self._width,
                    (top + 0.3 * max(each.size for each in line) / 72) / height,
                    piece.text,
                    fontsize=piece.size,
                    color=piece.colour,
                    weight="bold" if piece.bold else "normal",
                )

    def _label(self, row: _PanelRow, left: float, edge: float, height: float) -> None:
        """Write the labels of a panel's axes."""
        inches = self._width * row.ax.get_position().width
        row.ax.yaxis.set_label_coords(
            (_EDGE - 0.05) / self._width, (edge + row.panel.height / 2) / height, self._figure.transFigure
        )
        if not row.footer:
            return
        half = max(measured(line, 9) for line in row.footer) / 2
        centre = min(max(left + inches / 2, half + _EDGE), self._width - half - _EDGE)
        row.ax.set_xlabel("\n".join(row.footer), fontsize=9, color=INK, va="top")
        row.ax.xaxis.set_label_coords(
            centre / self._width, (edge - _TICKS) / height, self._figure.transFigure
        )


def _span(panels: list[Panel], start: float | None, stop: float | None) -> tuple[float, float, float]:
    """Return the limits of an axis, and the value at its origin."""
    ends = [panel.ends for panel in panels]
    low, high = min(low for low, _ in ends), max(high for _, high in ends)
    if not panels[0].axis.is_absolute:
        low, high = (low if start is None else start), (high if stop is None else stop)
        return low, high if high > low else low + 1, 0.0
    return low, high if high > low else low + 1, low // _DAY * _DAY


def _tick_inches(ax: Axes) -> float:
    """Return the width of the tick labels of the vertical axis."""
    low, high = sorted(ax.get_ylim())
    room = 1e-6 * (high - low)
    locations = [tick for tick in ax.get_yticks() if low - room <= tick <= high + room]
    size = ax.yaxis.get_tick_params()["labelsize"]
    return max(
        (measured(text, size) for text in ax.yaxis.get_major_formatter().format_ticks(locations)), default=0.0
    )


def _set_ticks(row: _PanelRow, inches: float, began: tuple[float, PanelAxis] | None) -> str:
    """Choose ticks whose labels have room; returns the label of the axis."""
    axis, kind = row.ax.xaxis, row.panel.axis
    span = row.high - row.low
    if kind.is_absolute:
        wide = 0.95 if span > _DAY or span < 10 else 0.75
        axis.set_major_locator(TimeLocator(int(inches / wide)))
        axis.set_major_formatter(ClockFormatter(row.base))
        return f"time on {_days(row.low, row.high)}{' (UTC)' if kind.kind == 'utc' else ''}"
    in_minutes = kind.kind == "seconds" and span >= _MINUTES
    if in_minutes:
        in_hours = row.high >= _HOURS
        axis.set_major_locator(TimeLocator(int(inches / 0.65)))
        axis.set_major_formatter(MinutesFormatter(hours=in_hours))
        units = "h:min:s" if in_hours else "min:s"
    else:
        texts = PlainFormatter().format_ticks([row.low, row.high])
        wide = min(max(max(map(measured, texts)), 0.3), 1.2) + 0.2
        axis.set_major_locator(MaxNLocator(max(1, min(9, int(inches / wide))), steps=[1, 2, 2.5, 5, 10]))
        axis.set_major_formatter(PlainFormatter())
        units = kind.units
    text = f"{shortened(kind.name, 1.5, 9)} ({shortened(units, 1.2, 9)})" if units else kind.name
    if kind.kind == "seconds" and began:
        zone = " UTC" if began[1].kind == "utc" else ""
        text += f" from {datetime.fromtimestamp(began[0], UTC):%Y-%m-%d %H:%M:%S}{zone}"
    return text


def _days(low: float, high: float) -> str:
    first, last = (f"{datetime.fromtimestamp(each, UTC):%Y-%m-%d}" for each in (low, high))
    return first if first == last else f"{first} to {last}"
