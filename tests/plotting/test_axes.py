"""Every sample at its place, on an axis of its kind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from rinofs.plotting import plot
from rinofs.plotting.axis import ClockFormatter, MinutesFormatter, PlainFormatter, TimeLocator
from rinofs.plotting.envelope import envelope

START = 1_700_000_000.0  # 2023-11-14 22:13:20 UTC


def signal(count: int, **coords: Any) -> xr.Dataset:
    values = np.arange(count, dtype=float)
    return xr.Dataset({"v": (("time", "channel"), values[:, None])}, coords=coords)


def drawn_x(axes: Any) -> np.ndarray[Any, Any]:
    if axes.lines:
        return np.asarray(axes.lines[0].get_xdata())
    return np.asarray(axes.collections[0].get_paths()[0].vertices[:, 0])


@settings(max_examples=40, deadline=None)
@given(count=st.integers(1, 40_000))
def test_samples_without_a_rate_are_at_their_numbers(count: int) -> None:
    drawn = envelope(signal(count).v)
    # The values are the numbers of the samples.
    np.testing.assert_array_equal(drawn.times, drawn.low[:, 0])
    assert drawn.high[-1, 0] == count - 1


def test_a_long_stream_without_a_rate_fills_its_axis() -> None:
    [axes] = plot(signal(14_310)).axes
    assert axes.get_xlim() == (0, 14_309)
    assert drawn_x(axes).max() > 14_290
    assert axes.get_xlabel() == "sample"


@settings(max_examples=40, deadline=None)
@given(
    pauses=st.lists(st.tuples(st.integers(1, 4_000), st.floats(0, 1e4)), min_size=1, max_size=5),
    stretches=st.integers(2, 1_500),
)
def test_uneven_times_are_at_their_places(pauses: list[tuple[int, float]], stretches: int) -> None:
    steps = np.concatenate([np.r_[pause, np.full(count - 1, 0.01)] for count, pause in pauses])
    times = np.cumsum(steps)
    array = xr.DataArray(times[:, None], dims=("time", "channel"), coords={"time": times})
    drawn = envelope(array, stretches)
    np.testing.assert_array_equal(drawn.times, drawn.low[:, 0])
    assert drawn.high[-1, 0] == times[-1]
    if len(times) > 2 * stretches:
        # What a stretch holds lies within the time of one.
        allowed = max((times[-1] - times[0]) / stretches, 0.01 * -(-len(times) // stretches)) * (1 + 1e-6)
        assert (drawn.high[:, 0] - drawn.times).max() <= allowed


def test_axes_of_different_kinds_are_not_shared() -> None:
    seconds = signal(500, time=np.arange(500) / 100)
    metres = signal(300, time=("time", np.arange(300.0), {"units": "m"})).rename(time="distance")
    unix = signal(300, time=START + np.arange(300))
    tree = {"/a": seconds, "/b": signal(9_000), "/c": seconds, "/d": metres, "/e": unix}
    figure = plot(xr.DataTree.from_dict(tree))
    assert [axes.get_xlim() for axes in figure.axes] == [
        (0, 4.99),
        (0, 4.99),
        (0, 8_999),
        (0, 299),
        (START % 86_400, START % 86_400 + 299),
    ]
    assert [axes.get_xlabel() for axes in figure.axes] == [
        "",
        "time (s)",
        "sample",
        "distance (m)",
        "time on 2023-11-14 (UTC)",
    ]


@pytest.mark.parametrize(
    "times",
    [
        START + np.arange(600),
        (np.datetime64("2023-11-14T22:13:20", "ns") + np.arange(600) * np.timedelta64(1, "s")),
    ],
    ids=["seconds", "dates"],
)
def test_unix_times_are_times_of_day(times: Any) -> None:
    figure = plot(signal(600, time=times))
    figure.draw_without_rendering()
    [axes] = figure.axes
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert "22:15" in labels
    assert all(len(label) == 5 for label in labels)
    place = dict(zip(labels, axes.get_xticks(), strict=True))["22:15"]
    assert place == 22 * 3600 + 15 * 60
    np.testing.assert_allclose(drawn_x(axes)[[0, -1]], [START % 86_400, START % 86_400 + 599])


def test_start_times_put_streams_on_one_axis() -> None:
    seconds = signal(100, time=np.arange(100.0))
    early = seconds.assign_attrs(start_time="2026-01-02T10:00:00+01:00")
    late = seconds.assign_attrs(start_time="2026-01-02T09:01:00Z")
    figure = plot(xr.DataTree.from_dict({"/a": early, "/b/c": late, "/d": seconds}))
    first, second, other = figure.axes
    assert first.get_xlim() == second.get_xlim() == (9 * 3600, 9 * 3600 + 60 + 99)
    assert second.get_xlabel() == "time on 2026-01-02 (UTC)"
    assert drawn_x(second)[0] - drawn_x(first)[0] == 60
    assert (other.get_xlim(), other.get_xlabel()) == ((0, 99), "time (s)")


def test_the_times_of_a_tree_with_a_start_are_counted_from_there() -> None:
    whole = xr.Dataset(attrs={"start_time": "2026-01-02T09:00:00Z"})
    early = signal(100, time=np.arange(100.0)).assign_attrs(start_time="2026-01-02T09:00:00Z")
    late = signal(100, time=60 + np.arange(100.0)).assign_attrs(start_time="2026-01-02T09:01:00Z")
    first, second = plot(xr.DataTree.from_dict({"/": whole, "/a": early, "/b": late})).axes
    assert first.get_xlim() == second.get_xlim() == (0, 159)
    assert drawn_x(second)[0] == 60
    assert second.get_xlabel() == "time (s) from 2026-01-02 09:00:00 UTC"


def test_a_part_of_a_tree_with_a_start_is_drawn_as_in_the_tree() -> None:
    whole = xr.Dataset(attrs={"start_time": "2026-01-02T09:00:00Z"})
    streams = {
        f"/part/{name}": signal(100, time=after + np.arange(100.0)).assign_attrs(
            start_time=f"2026-01-02T09:0{after // 60}:00Z"
        )
        for name, after in (("early", 60), ("late", 240))
    }
    tree = xr.DataTree.from_dict({"/": whole, **streams})
    for source in (tree, tree["part"]):
        first, second = plot(source).axes
        assert (drawn_x(first)[0], drawn_x(second)[0]) == (60, 240)
        assert second.get_xlabel().endswith("from 2026-01-02 09:00:00 UTC")
    [alone] = plot(tree["part/late"]).axes
    assert drawn_x(alone)[0] == 240
    assert alone.get_xlabel().endswith("from 2026-01-02 09:00:00 UTC")


@pytest.mark.parametrize("labels", [None, [1, 2], ["x", "y"]])
def test_samples_are_along_the_time_in_any_order_of_dimensions(labels: Any) -> None:
    values = np.arange(200.0).reshape(2, 100)
    coords = {"time": np.arange(100) / 10, **({} if labels is None else {"channel": labels})}
    turned = xr.Dataset({"x": (("channel", "time"), values)}, coords)
    straight = turned.transpose("time", "channel")
    for options in ({}, {"start": 2, "stop": 5}):
        [[axes], [expected]] = plot(turned, **options).axes, plot(straight, **options).axes
        drawn, wanted = ([line.get_xydata().tolist() for line in one.get_lines()] for one in (axes, expected))
        assert drawn == wanted != []


@pytest.mark.parametrize("name", ["duration", "dur"])
def test_events_with_a_duration_end_that_long_after_their_start(name: str) -> None:
    marks = {"onset": ("event", [10.0, 20.0], {"units": "s"}), name: ("event", [2.0, 30.0], {"units": "s"})}
    [axes] = plot(xr.Dataset(marks)).axes
    assert axes.get_xlim() == (10, 50)


def test_the_start_that_all_share_is_named() -> None:
    whole = xr.Dataset(attrs={"start_time": "2026-01-02T10:00:00"})
    seconds = signal(100, time=np.arange(100.0))
    marks = xr.Dataset({"onset": ("event", [3.0, 50.0], {"units": "s"})})
    first, second = plot(xr.DataTree.from_dict({"/": whole, "/a": seconds, "/b": marks})).axes
    assert first.get_xlim() == second.get_xlim() == (0, 99)
    assert second.get_xlabel() == "time (s) from 2026-01-02 10:00:00"


def test_clocks_of_unknown_zone_are_not_beside_utc() -> None:
    seconds = signal(100, time=np.arange(100.0))
    tree = {
        "/a": seconds.assign_attrs(start_time="2026-01-02T10:00:00"),
        "/b": seconds.assign_attrs(start_time="2026-01-02T10:00:00Z"),
    }
    labels = [axes.get_xlabel() for axes in plot(xr.DataTree.from_dict(tree)).axes]
    assert labels == ["time on 2026-01-02", "time on 2026-01-02 (UTC)"]


def test_a_part_of_unix_time() -> None:
    dates = np.datetime64("2023-11-14T22:13:20", "ns") + np.arange(600) * np.timedelta64(1, "s")
    for times in (START + np.arange(600), dates):
        [axes] = plot(signal(600, time=times), start=START + 100, stop=START + 200).axes
        np.testing.assert_allclose(axes.get_xlim(), [START % 86_400 + 100, START % 86_400 + 200])


@pytest.mark.parametrize("span", [1e-5, 0.02, 1, 7, 45, 200, 4_000, 50_000, 3e5, 4e6, 1e9])
@pytest.mark.parametrize("most", [2, 5, 9])
def test_ticks_are_few_round_and_different(span: float, most: int) -> None:
    ticks = TimeLocator(most).tick_values(80_000.0, 80_000.0 + span)
    assert 1 <= len(ticks) <= most + 1
    labels = ClockFormatter(1.7e9 // 86_400 * 86_400).format_ticks(ticks)
    times = [label for label in labels if label != "12:00"]  # between midnights, which say their dates
    assert len(set(times)) == len(times)


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([0, 0.5, 1], ["0", "0.5", "1"]),
        ([-2, 0, 2], ["\u22122", "0", "2"]),
        ([0, 50, 100], ["0", "50", "100"]),
        ([0, 100_000, 200_000], ["0", "100000", "200000"]),
        ([0, 2e-6, 4e-6], ["0", "2e\u22126", "4e\u22126"]),
        ([1e9, 1e9 + 1], ["1000000000", "1000000001"]),
    ],
)
def test_numbers_are_short_and_differ(values: list[float], shown: list[str]) -> None:
    assert PlainFormatter().format_ticks(values) == shown


def test_minutes_and_hours() -> None:
    assert [MinutesFormatter(hours=False)(value) for value in (0, 59.6, 61, -90)] == [
        "0:00",
        "1:00",
        "1:01",
        "\u22121:30",
    ]
    assert MinutesFormatter(hours=True)(3_723) == "1:02:03"
