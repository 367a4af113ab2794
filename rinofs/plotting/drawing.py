"""One panel: how signals and events look."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from rinofs.datapack.document.messages import shortened
from rinofs.plotting.envelope import envelope
from rinofs.plotting.panels import TOGETHER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from rinofs.plotting.envelope import Envelope
    from rinofs.plotting.panels import EventPanel, StreamPanel

INK = "#333333"
QUIET = "#767676"

# Okabe and Ito's, which people tell apart whatever colours they see; light ones are left out for thin lines.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
_FILLS = ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#F0E442", "#D55E00")
_LETTER = 0.075  # inches that a letter of a label takes


def title(ax: Axes, path: str, text: str) -> None:
    """Write what a panel shows above it."""
    ax.text(0, 1.0, f"{path}\n", transform=ax.transAxes, fontsize=9, weight="bold", color=INK, va="center")
    if text:
        shown = f"{shortened(text, 90)}\n"
        ax.text(1, 1.0, shown, transform=ax.transAxes, fontsize=8, color=QUIET, ha="right", va="center")
    ax.yaxis.set_label_coords(-0.085, 0.5)
    ax.yaxis.label.set_verticalalignment("center")
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color("#bbbbbb")


def heading(figure: Figure, name: str, about: str, height: float) -> None:
    """Write the datapack's name at the top."""
    left = 0.95 / figure.get_size_inches()[0]
    figure.text(left, height, name, fontsize=13, weight="bold", color=INK, va="center")
    if about:
        shown = shortened(about, 90)
        figure.text(1 - 0.85 / 0.95 * left, height, shown, fontsize=9, color=QUIET, va="center", ha="right")


def footnote(figure: Figure, text: str, height: float) -> None:
    """Write something small at the bottom."""
    left = 0.95 / figure.get_size_inches()[0]
    figure.text(left, height, shortened(text, 120), fontsize=8, color=QUIET)


def stream(ax: Axes, panel: StreamPanel) -> None:
    """Draw a signal: few channels on one scale, many above each other."""
    drawn = envelope(panel.signal)
    labels = _labels(panel)
    attrs = panel.signal.attrs
    units = str(attrs.get("units", ""))
    quantity = str(attrs.get("long_name", panel.signal.name or "")).replace("_", " ")
    ax.margins(x=0)
    if len(labels) > TOGETHER:
        _above_each_other(ax, drawn, labels, units)
        ax.set_ylabel(quantity, fontsize=8, color=INK)
        return
    for number, label in enumerate(labels):
        _signal(ax, drawn, number, COLOURS[number], label)
    ax.set_ylabel(f"{quantity}\n({units})" if units else quantity, fontsize=8, color=INK)
    ax.grid(axis="y", color="#e6e6e6", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.locator_params(axis="y", nbins=4)
    if len(labels) > 1:
        ax.legend(
            loc="upper left",
            bbox_to_anchor=(1.0, 1.05),
            frameon=False,
            fontsize=8,
            handlelength=1.0,
            labelcolor=INK,
            borderaxespad=0.3,
        )


def _labels(panel: StreamPanel) -> list[str]:
    channel = panel.signal.dims[1]
    if channel in panel.signal.coords:
        return [str(label) for label in panel.signal[channel].values.tolist()]
    return [str(number) for number in range(1, panel.signal.shape[1] + 1)]


def _signal(ax: Axes, drawn: Envelope, number: int, colour: str, label: str, shift: float = 0.0) -> None:
    low, high = drawn.low[:, number] + shift, drawn.high[:, number] + shift
    if drawn.is_exact:
        marker = "." if len(drawn.times) == 1 else ""
        ax.plot(drawn.times, low, color=colour, linewidth=0.9, label=label, marker=marker)
    else:
        ax.fill_between(drawn.times, low, high, color=colour, linewidth=0.6, label=label, alpha=0.9)


def _above_each_other(ax: Axes, drawn: Envelope, labels: Sequence[str], units: str) -> None:
    finite = np.isfinite(drawn.low) & np.isfinite(drawn.high)
    centres = (drawn.low + drawn.high) / 2
    columns = range(len(labels))
    middle = np.array([np.median(centres[finite[:, n], n]) if finite[:, n].any() else 0.0 for n in columns])
    reach = float(np.where(finite, np.maximum(drawn.high - middle, middle - drawn.low), 0).max()) or 1.0
    space = 1.2 * reach
    shifts = -space * np.arange(len(labels)) - middle
    for number, shift in enumerate(shifts):
        _signal(ax, drawn, number, COLOURS[0], labels[number], float(shift))
    ax.set_yticks([-space * number for number in range(len(labels))], labels)
    ax.set_ylim(-space * (len(labels) - 1) - 1.1 * reach, 1.1 * reach)
    _scale_bar(ax, _round_number(reach), units)


def _scale_bar(ax: Axes, length: float, units: str) -> None:
    """Draw how long some units are, beside channels that are above each other."""
    centre = sum(ax.get_ylim()) / 2
    ax.plot(
        [1.012, 1.012],
        [centre - length / 2, centre + length / 2],
        transform=ax.get_yaxis_transform(),
        color=INK,
        linewidth=1.6,
        clip_on=False,
        solid_capstyle="butt",
    )
    ax.text(
        1.022,
        centre,
        f"{length:g} {units}".strip(),
        transform=ax.get_yaxis_transform(),
        fontsize=8,
        color=INK,
        va="center",
    )


def _round_number(value: float) -> float:
    """Return the largest 1, 2 or 5 times a power of ten up to a value."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(factor * power for factor in (5, 2, 1) if factor * power <= value * (1 + 1e-9))


def events(ax: Axes, panel: EventPanel, inches: float) -> None:
    """Draw events as bars with their labels, those without an end as ticks; the axis is some inches long."""
    words = list(dict.fromkeys(panel.labels))
    fills = {word: _FILLS[number % len(_FILLS)] for number, word in enumerate(words)}
    if len(words) > len(_FILLS):
        fills = dict.fromkeys(words, _FILLS[0])
    low, high = ax.get_xlim()
    scale = inches / (high - low)
    room = _room(panel, high)
    for index, (start, stop) in enumerate(zip(panel.starts, panel.stops, strict=True)):
        lane, word = float(panel.lanes[index]), panel.labels[index]
        if stop > start:
            ax.broken_barh([(start, stop - start)], (lane - 0.38, 0.76), color=fills[word], linewidth=0)
        else:
            ax.plot([start, start], [lane - 0.38, lane + 0.38], color=COLOURS[1], linewidth=1.2)
        if word and len(word) * _LETTER <= (room[index] - max(start, low)) * scale:
            at = max(start, low) + 0.04 / scale
            ax.text(at, lane, word, fontsize=8, color="black", va="center", clip_on=True)
    ax.set_ylim(float(panel.lanes.max()) + 0.6, -0.6)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)


def _room(panel: EventPanel, end: float) -> Any:
    """Return up to where each label may reach: the next event in its row."""
    room = np.full(len(panel.starts), end)
    following: dict[int, float] = {}
    for index in range(len(panel.starts) - 1, -1, -1):
        lane = int(panel.lanes[index])
        room[index] = following.get(lane, end)
        following[lane] = float(panel.starts[index])
    return room


def marks(ax: Axes, panels: Sequence[EventPanel]) -> None:
    """Shade the times of events behind a signal."""
    for panel in panels:
        for start, stop in zip(panel.starts, panel.stops, strict=True):
            if stop > start:
                ax.axvspan(start, stop, color="#000000", alpha=0.045, linewidth=0, zorder=0)
            else:
                ax.axvline(start, color="#000000", alpha=0.15, linewidth=0.8, zorder=0)
