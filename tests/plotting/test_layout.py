"""Nothing that is written on a picture overlaps or is cut, at any width."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.text import Text

from rinofs.plotting import plot
from rinofs.plotting.lettering import measured, shortened_uniquely
from tests.campaign import rounds

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

pytestmark = pytest.mark.filterwarnings("ignore:Glyph .* missing")  # those are drawn as boxes

WIDTHS = [3.5, 7.0, 12.0, 20.0]
HOSTILE = [
    "$",
    "$\\foo$",
    "$x^2$ and $y$",
    "<b>bold</b> &amp;",
    "שלום עולם",
    "مرحبا بالعالم",
    "a\x00b\nc\td\x1b[31m",
    "x" * 80,
    "\u202egnp.exe",
    "left arm, a sensor with a very long name 1",
    "left arm, a sensor with a very long name 2",
    "_hidden",
    "%s {0} \\n",
    "a" + "\u0336\u0321\u0322\u031b" * 5,
    "",
    "Ω",
]


def stream(
    channels: list[str], units: str, count: int = 400, scale: float = 1.0, offset: float = 0.0, **attrs: Any
) -> xr.Dataset:
    values = np.random.default_rng(1).normal(size=(count, len(channels))) * scale + offset
    return xr.Dataset(
        {"v": (("time", "channel"), values, {"units": units, "long_name": attrs.pop("long_name", "value")})},
        coords={"time": np.arange(count) / 100, "channel": channels},
        attrs=attrs,
    )


def events(words: list[str], length: float = 0.3) -> xr.Dataset:
    starts = np.arange(len(words)) * 0.4
    return xr.Dataset(
        {
            "onset": ("event", starts, {"units": "s"}),
            "offset": ("event", starts + length, {"units": "s"}),
            "what": ("event", np.array(words, object)),
        }
    )


def hostile() -> xr.DataTree:
    long = "a very long description of where it was worn, " * 5
    return xr.DataTree.from_dict(
        {
            "/": xr.Dataset(
                attrs={
                    "name": "$\\alpha$ of a session with a long name, " * 3,
                    "description": "שלום " * 30,
                    "other_files": [f"clip {number} $.mp4" for number in range(12)],
                }
            ),
            "/$x$/a_container_without_blanks_in_its_long_name_and_more": stream(
                HOSTILE, "µV" * 9, long_name="electrodermal_activity_of_the_left_hand, " * 3
            ),
            "/three": stream(HOSTILE[8:11], "N", scale=1e-7, offset=1e-3, text=long),
            "/large": stream(["a", "b"], "$m^2$", scale=1e7, offset=1e9, text="הה"),
            "/fine": stream(["a"], "s", scale=1e-4, offset=1e9),
            "/many": stream([f"channel number {number}" for number in range(64)], "g"),
            "/raw": stream(["u"], "", 14_310).drop_vars("time"),
            "/unix": stream(["u", "v"], "K").assign_coords(time=1.7e9 + np.arange(400) * 600.0),
            "/mixed": stream(["t", "h", "p"], "", channel_units="°C, %, hPa"),
            "/marks": events(["left", "right $", *HOSTILE[:8]]),
        }
    )


def boxes(figure: Figure) -> dict[str, Bbox]:
    """Return where each text is that is drawn, in pixels."""
    figure.draw_without_rendering()
    shown: list[Text] = []
    ticks: list[Text] = []
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            both = axis.get_ticklabels() + axis.get_ticklabels(minor=True)
            ticks += both
            low, high = sorted(axis.get_view_interval())
            for number, label in enumerate(both):
                place = label.get_position()[axis is axes.yaxis]
                if low <= place <= high and label.get_visible():
                    shown.append(label)
                    label.set_gid(f"tick {number}")
    shown += [text for text in figure.findobj(Text) if all(text is not tick for tick in ticks)]
    drawn = [text for text in shown if text.get_visible() and text.get_text().strip()]
    # Offsets and the like are texts, but empty ones.
    return {f"{number} {text.get_text()!r}": text.get_window_extent() for number, text in enumerate(drawn)}


def overlapping(one: Bbox, other: Bbox) -> bool:
    wide = min(one.x1, other.x1) - max(one.x0, other.x0)
    tall = min(one.y1, other.y1) - max(one.y0, other.y0)
    return bool(wide > 0.5 and tall > 0.5)


def check(figure: Figure, dpi: float = 110) -> None:
    figure.set_dpi(dpi)
    found = boxes(figure)
    width, height = figure.get_size_inches() * figure.dpi
    cut = [
        name
        for name, box in found.items()
        if box.x0 < 0 or box.y0 < 0 or box.x1 > width + 0.5 or box.y1 > height + 0.5
    ]
    assert cut == []
    clashes = [
        (one, other)
        for one, other in itertools.combinations(found, 2)
        if overlapping(found[one], found[other])
    ]
    assert clashes == []
    places = [axes.get_window_extent() for axes in figure.axes]
    over = [
        name
        for name, box in found.items()
        for axes, place in zip(figure.axes, places, strict=True)
        if overlapping(box, place) and not (axes.texts and len(axes.get_yticks()) == 0)  # labels of events
    ]
    assert over == []
    assert min(place.width for place in places) > 0.2 * width


@pytest.mark.covering
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("dpi", [72, 110, 163, 300])  # letters are wider at some than at others
def test_nothing_overlaps_and_nothing_is_cut(width: float, dpi: int) -> None:
    check(plot(hostile(), width=width), dpi)


@pytest.mark.covering
@pytest.mark.parametrize("width", [3.5, 9.0])
@pytest.mark.parametrize("name", HOSTILE)
def test_every_name_is_a_title_and_a_label(name: str, width: float) -> None:
    one = stream([name], "N", long_name=name, name=name)
    check(plot(one, width=width))
    two = stream([name, f"{name} 2"], name, long_name=name, name=name)
    check(plot(two, width=width))


@settings(max_examples=rounds(4, 40), deadline=None)
@given(
    names=st.lists(st.text(max_size=60), min_size=1, max_size=16, unique=True),
    units=st.text(max_size=30),
    words=st.lists(st.text(max_size=30), min_size=1, max_size=8),
    width=st.floats(3.5, 20),
    scale=st.sampled_from([1e-12, 1e-3, 1.0, 1e6]),
    offset=st.sampled_from([0.0, -1e-3, 1e5]),
)
def test_any_names_at_any_width(
    names: list[str], units: str, words: list[str], width: float, scale: float, offset: float
) -> None:
    first = stream(names, units, 50, scale, offset, long_name=names[0], text=names[-1])
    check(plot(xr.DataTree.from_dict({"/a": first, "/b": events(words)}), width=width))


@pytest.mark.parametrize("width", [3.5, 7.0, 12.0])
def test_long_names_that_share_their_beginning_stay_different(width: float) -> None:
    names = [f"A very long name of a channel that all share, number {number} (mV)" for number in range(1, 13)]
    [axes] = plot(stream(names, "mV"), width=width).axes
    shown = [label.get_text() for label in axes.get_yticklabels()]
    assert len(set(shown)) == len(names)
    assert [name.partition(" (")[0][-1] for name in names] == [name.partition(" (")[0][-1] for name in shown]
    assert all(name.endswith(" (mV)") for name in shown)


_words = st.text("abcxyz01 _-.,$µש", max_size=40)


@settings(max_examples=rounds(8, 100), deadline=None)
@given(
    parts=st.lists(st.tuples(_words, st.sampled_from(["", "1", "11", "left"])), min_size=2, max_size=16),
    before=_words,
    after=_words,
    width=st.sampled_from([3.5, 7.0, 12.0]),
    size=st.sampled_from([7.0, 8.0]),
)
def test_different_names_stay_different_and_fit(
    parts: list[tuple[str, str]], before: str, after: str, width: float, size: float
) -> None:
    names = [f"{before * 2}{middle}{number}{after * 2}" for middle, number in parts]
    inches = 0.25 * width
    shown = shortened_uniquely(names, inches, size)
    assert len(set(zip(names, shown, strict=True))) == len(set(names)) == len(set(shown))
    assert all(measured(text, size) <= inches for text in shown)


def test_a_name_with_dollars_is_a_name() -> None:
    shown = boxes(plot(hostile(), width=12))
    assert any("'$\\\\foo$'" in name for name in shown)
    assert any("$m^2$" in name for name in shown)
    assert not any(text.get_parse_math() for text in plot(hostile()).findobj(Text) if "$" in text.get_text())


def test_a_label_lies_in_its_bar_or_behind_it() -> None:
    figure = plot(xr.DataTree.from_dict({"/marks": events(["left", "right"] * 12)}), width=9)
    figure.draw_without_rendering()
    [axes] = figure.axes
    bars = [path.get_extents(axes.transData) for each in axes.collections for path in each.get_paths()]
    labels = [text for text in axes.texts if text.get_text() in {"left", "right"}]
    for label in labels:
        box = label.get_window_extent()
        inside = [bar for bar in bars if bar.x0 <= box.x0 and box.x1 <= bar.x1]
        assert inside or not [bar for bar in bars if bar.x0 < box.x1 and box.x0 < bar.x1]
    said = {text.get_text() for text in figure.findobj(Text)}
    assert {"left", "right"} <= said  # by the key, where there is no room beside the bars


@pytest.mark.parametrize("width", [3.5, 7.0, 12.0])
@pytest.mark.parametrize("count", [7, 25, 60])
def test_labels_that_are_too_many_for_colours_are_written_beside_their_rows(count: int, width: float) -> None:
    words = [f"movement {number}" for number in range(count)]
    figure = plot(xr.DataTree.from_dict({"/marks": events(words * 4, 0.02)}), width=width)
    check(figure)
    [axes] = figure.axes
    said = [text.get_text() for text in figure.findobj(Text)]
    if count > 25:
        assert any("not every event has room" in text for text in said)
        return
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert [name[-2:].strip() for name in names] == [word[-2:].strip() for word in words]
    rows = [path.get_extents().y0 for each in axes.collections for path in each.get_paths()]
    assert len({round(row) for row in rows}) == count


def test_events_of_one_label_at_once_have_rows_of_their_own() -> None:
    words = ["reach", "reach", "grasp", "lift", "hold", "place", "rest", "release"]
    panels = events(words * 3, 1.0)
    panels["onset"][:2] = 0.0
    [axes] = plot(xr.DataTree.from_dict({"/marks": panels}), width=3.5).axes
    bars = [path.get_extents() for each in axes.collections for path in each.get_paths()]
    assert len(bars) == len(words) * 3
    for one, other in itertools.combinations(bars, 2):
        assert not (one.x0 < other.x1 and other.x0 < one.x1 and one.y0 < other.y1 and other.y0 < one.y1)
