"""Draw one panel: signals or events."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import offset_copy

from rinofs.plotting.axis import PlainFormatter
from rinofs.plotting.envelope import envelope
from rinofs.plotting.lettering import INK, cleaned, measured, shortened, shortened_uniquely, wrapped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from rinofs.plotting.envelope import Envelope
    from rinofs.plotting.panels import EventPanel, StreamPanel

# Okabe and Ito's colour-blind safe palette (https://jfly.uni-koeln.de/color/), without light ones for thin
# lines.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
_FILLS = ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#F0E442", "#D55E00")
_PART = 0.4  # inches; below this width, no part of a label is drawn
_PAD = 0.04  # inches, beside the label of an event
_MOST_ROWS = 30  # of events with a row for each label
_ROW = 0.15  # inches of a row of events that has room for labels
_SMALL_ROW = 0.17  # inches; below this height of a channel's row, its letters are small


def style(ax: Axes) -> None:
    """Draw the frame of a panel in light grey, without the top and right sides."""
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color("#bbbbbb")


def stream(ax: Axes, panel: StreamPanel, base: float, name_inches: float, side_inches: float) -> float:
    """Draw a signal: a few channels on one scale, or many channels in rows.

    Parameters
    ----------
    ax : Axes
        Axes to draw on.
    panel : StreamPanel
        Signal to draw.
    base : float
        Value at the origin of the axis.
    name_inches, side_inches : float
        Maximum width of channel names on the left and of text on the right, in inches.

    Returns
    -------
    float
        Width that the text on the right needs, in inches.
    """
    drawn = envelope(panel.signal).shifted(panel.shift - base)
    attrs = panel.signal.attrs
    quantity = cleaned(attrs.get("long_name", panel.signal.name or "")).replace("_", " ")
    ax.margins(x=0)
    lines = wrapped(quantity, panel.height, lines=2)
    if not panel.is_together:
        ax.set_ylabel("\n".join(lines), fontsize=8, color=INK)
        return _above_each_other(ax, drawn, panel, name_inches, side_inches)
    for number, label in enumerate(panel.labels):
        _signal(ax, drawn, number, COLOURS[number], label)
    if panel.units[0]:
        lines.append(f"({shortened(panel.units[0], panel.height - 0.1)})")
    ax.set_ylabel("\n".join(lines), fontsize=8, color=INK)
    ax.grid(axis="y", color="#e6e6e6", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.yaxis.set_major_locator(MaxNLocator(4))
    ax.yaxis.set_major_formatter(PlainFormatter())
    return _legend(ax, panel.labels, side_inches)


def _legend(ax: Axes, labels: Sequence[str], inches: float) -> float:
    """Add a legend on the right if there is room; otherwise the panel's title contains it."""
    needed = 0.35 + max(map(measured, labels))
    if len(labels) < 2 or needed > inches:
        return 0.0
    ax.legend(
        loc="upper left",
        bbox_to_anchor=(1.0, 1.05),
        frameon=False,
        fontsize=8,
        handlelength=1.0,
        labelcolor=INK,
        borderaxespad=0.3,
    )
    return needed


def _signal(ax: Axes, drawn: Envelope, number: int, colour: str, label: str, shift: float = 0.0) -> None:
    low, high = drawn.low[:, number] + shift, drawn.high[:, number] + shift
    # Matplotlib leaves labels that begin with an underscore out of the legend
    # (https://matplotlib.org/stable/api/_as_gen/matplotlib.axes.Axes.legend.html).
    label = f"\u200c{label}" if label.startswith("_") else label
    if drawn.is_exact:
        marker = "." if len(drawn.times) == 1 else ""
        ax.plot(drawn.times, low, color=colour, linewidth=0.9, label=label, marker=marker)
    else:
        ax.fill_between(drawn.times, low, high, color=colour, linewidth=0.6, label=label, alpha=0.9)


def _above_each_other(
    ax: Axes, drawn: Envelope, panel: StreamPanel, name_inches: float, side_inches: float
) -> float:
    """Draw each channel in its own row; with its own scale if units differ."""
    count = len(panel.labels)
    finite = np.isfinite(drawn.low) & np.isfinite(drawn.high)
    centres = (drawn.low + drawn.high) / 2
    columns = range(count)
    middle = np.array([np.median(centres[finite[:, n], n]) if finite[:, n].any() else 0.0 for n in columns])
    reaches = np.where(finite, np.maximum(drawn.high - middle, middle - drawn.low), 0).max(axis=0)
    mixed = len(set(panel.units)) > 1
    reaches = np.where(reaches > 0, reaches, 1.0) if mixed else np.full(count, reaches.max() or 1.0)
    scaled = drawn.scaled(middle, reaches)
    small = panel.height / count < _SMALL_ROW
    size = 7 if small else 8
    for number in columns:
        _signal(ax, scaled, number, COLOURS[0], panel.labels[number], -1.2 * number)
    names = shortened_uniquely(panel.labels, name_inches, size)
    ax.set_yticks([-1.2 * number for number in columns], names, parse_math=False)
    ax.tick_params(axis="y", labelsize=size)
    ax.set_ylim(-1.2 * (count - 1) - 1.1, 1.1)
    if not mixed:
        return _scale_bar(ax, sum(ax.get_ylim()) / 2, float(reaches[0]), panel.units[0], side_inches)
    return max(
        _scale_bar(ax, -1.2 * number, float(reaches[number]), panel.units[number], side_inches, size)
        for number in columns
    )


def _scale_bar(ax: Axes, centre: float, reach: float, units: str, inches: float, size: float = 8) -> float:
    """Draw a scale bar beside channels that are drawn in rows."""
    length = _round_number(reach)
    half = length / reach / 2
    text = shortened(f"{length:g} {units}".strip(), inches - 0.25, size)
    bar, beside = (
        offset_copy(ax.get_yaxis_transform(), fig=ax.get_figure(root=True), x=x, units="inches")
        for x in (0.08, 0.15)
    )
    ends = [centre - half, centre + half]
    ax.plot([1, 1], ends, transform=bar, color=INK, linewidth=1.6, clip_on=False, solid_capstyle="butt")
    ax.text(1, centre, text, transform=beside, fontsize=size, color=INK, va="center")
    return measured(text, size) + 0.25


def _round_number(value: float) -> float:
    """Return the largest 1, 2 or 5 times a power of ten that is at most `value`."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(factor * power for factor in (5, 2, 1) if factor * power <= value * (1 + 1e-9))


def event_colours(panel: EventPanel) -> dict[str, str]:
    """Return a colour for each label; the same for all if there are many."""
    words = list(dict.fromkeys(panel.labels))
    if len(words) > len(_FILLS):
        return dict.fromkeys(words, _FILLS[0])
    return {word: _FILLS[number] for number, word in enumerate(words)}


def arranged(panel: EventPanel, low: float, high: float, inches: float) -> EventPanel:
    """Return events in rows by their labels, if those are too many for colours and have no room beside bars.

    The parameters are those of `event_labels`.
    """
    if len(set(panel.labels)) <= len(_FILLS) or not event_labels(panel, low, high, inches)[1]:
        return panel
    sorted_ = panel.by_label()
    return sorted_ if sorted_.rows <= _MOST_ROWS else panel


def name_rows(ax: Axes, panel: EventPanel, inches: float) -> None:
    """Write what the rows of events are, at most so many inches wide."""
    ax.set_ylim(panel.rows - 0.4, -0.6)
    rows = [row for row, name in enumerate(panel.row_names) if name]
    names = shortened_uniquely([panel.row_names[row] for row in rows], inches)
    ax.set_yticks(rows, names, parse_math=False)
    ax.tick_params(axis="y", length=0)


def event_labels(
    panel: EventPanel, low: float, high: float, inches: float
) -> tuple[list[tuple[float, int, str]], set[str]]:
    """Return the positions of event labels, and the labels for which at least one event has no room.

    A label is drawn inside its bar if it fits, or after it if there is room before the next event in its row.
    Labels that are too many for a key are shortened to the room that there is.

    Parameters
    ----------
    panel : EventPanel
        Events.
    low, high : float
        Limits of the axis.
    inches : float
        Length of the axis in inches.
    """
    scale = inches / (high - low)
    room = _room(panel, high)
    written: list[tuple[float, int, str]] = []
    missing: set[str] = set()
    if panel.row_names:
        return written, missing
    has_key = len(set(panel.labels)) <= len(_FILLS)
    crowded = panel.height / (panel.rows + 0.2) < _ROW
    for index, word in enumerate(panel.labels):
        if not word:
            continue
        start, stop = max(float(panel.starts[index]), low), min(float(panel.stops[index]), high)
        if start > high or stop < low:
            continue
        wide = (measured(word) + 2 * _PAD) / scale
        most = max(stop - start, room[index] - stop)
        if crowded or most < wide:
            missing.add(word)
            if crowded or has_key or most * scale < _PART:
                continue
            word, wide = shortened(word, most * scale - 2 * _PAD), most
        at = start if stop - start >= wide else stop
        written.append((at + _PAD / scale, int(panel.lanes[index]), word))
    return written, missing


def _room(panel: EventPanel, end: float) -> Any:
    """Return the limit for each label: the start of the next event in its row."""
    room = np.full(len(panel.starts), end)
    following: dict[int, float] = {}
    for index in range(len(panel.starts) - 1, -1, -1):
        lane = int(panel.lanes[index])
        room[index] = following.get(lane, end)
        following[lane] = float(panel.starts[index])
    return room


def events(ax: Axes, panel: EventPanel, base: float, labels: Sequence[tuple[float, int, str]]) -> None:
    """Draw events as bars with labels, and events without an end as ticks."""
    fills = event_colours(panel)
    bars: dict[tuple[int, str], list[tuple[float, float]]] = {}
    for index, (start, stop) in enumerate(zip(panel.starts - base, panel.stops - base, strict=True)):
        lane, word = int(panel.lanes[index]), panel.labels[index]
        if stop > start:
            bars.setdefault((lane, fills[word]), []).append((start, stop - start))
        else:
            colour = fills[word] if len(set(fills.values())) > 1 else COLOURS[1]
            ax.plot([start, start], [lane - 0.38, lane + 0.38], color=colour, linewidth=1.2)
    for (lane, fill), ranges in bars.items():
        ax.broken_barh(ranges, (lane - 0.38, 0.76), color=fill, linewidth=0)
    for at, lane, word in labels:
        ax.text(at - base, lane, word, fontsize=8, color="black", va="center")
    if not panel.row_names:
        ax.set_ylim(panel.rows - 0.4, -0.6)
        ax.set_yticks([])
    ax.spines["left"].set_visible(False)


def marks(ax: Axes, panels: Sequence[EventPanel], base: float) -> None:
    """Shade the times of events behind a signal."""
    for panel in panels:
        for start, stop in zip(panel.starts - base, panel.stops - base, strict=True):
            if stop > start:
                ax.axvspan(start, stop, color="#000000", alpha=0.045, linewidth=0, zorder=0)
            else:
                ax.axvline(start, color="#000000", alpha=0.15, linewidth=0.8, zorder=0)
