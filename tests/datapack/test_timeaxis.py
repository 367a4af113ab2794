"""Columns of times: which are taken for the axis, and what becomes of it."""

from __future__ import annotations

import json
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr

from rinofs.datapack import Container, DataNode, DataWarning, Document, dump
from rinofs.datapack.arrays.times import TimeIndex
from rinofs.errors import InvalidOptionError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

START = 1_700_000_000


def table(path: Path, label: str, times: list[Any], *, header: bool = True) -> Path:
    """Write a column of times beside one of values."""
    rows = [f"{time},{number / 4}" for number, time in enumerate(times)]
    path.write_text("\n".join([f"{label},force", *rows][not header :]) + "\n")
    return path


def opened(path: Path, *, warned: str | None, **options: Any) -> xr.Dataset:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        data = xr.open_dataset(path, engine="datapack", **options).load()
    told = [str(one.message) for one in caught if issubclass(one.category, DataWarning)]
    assert told == [] if warned is None else any(warned in one for one in told), told
    return data


@pytest.mark.parametrize(
    ("label", "factor"),
    [
        *[("time", 1), ("Time", 1), ("t", 1), ("time_s", 1), ("time [s]", 1), ("Timestamp (s)", 1)],
        *[
            ("time [ms]", 1e3),
            ("time_ms", 1e3),
            ("t (us)", 1e6),
            ("elapsed_time [ns]", 1e9),
            ("time (min)", 1 / 60),
        ],
    ],
)
def test_a_column_is_the_time_by_its_label(tmp_path: Path, label: str, factor: float) -> None:
    path = table(tmp_path / "t.csv", label, [(3 + number / 10) * factor for number in range(20)])
    data = opened(path, warned="is used as the time axis, at 10 Hz; time_column=False keeps it")
    assert data.channel.values.tolist() == ["force"]
    np.testing.assert_allclose(data.time, 3 + np.arange(20) / 10, rtol=1e-9)
    assert isinstance(data.xindexes["time"], TimeIndex)
    assert data.value.attrs["sampling_rate"] == pytest.approx(10)
    kept = opened(path, warned=None, time_column=False)
    assert kept.channel.values.tolist() == [label, "force"]


@pytest.mark.parametrize("unit", [1, 1_000, 1_000_000, 1_000_000_000])
@pytest.mark.parametrize("header", [True, False])
def test_a_column_is_the_time_if_it_holds_unix_times(tmp_path: Path, unit: int, header: bool) -> None:
    times = [START * unit + number * unit * 2 for number in range(10)]
    data = opened(
        table(tmp_path / "t.csv", "x", times, header=header), warned="is used as the time axis, at 0.5 Hz"
    )
    assert data.time.values.tolist() == [2.0 * number for number in range(10)]
    assert data.attrs["start_time"] == "2023-11-14T22:13:20Z"


@pytest.mark.parametrize("zone", ["Z", "", "+00:00", "+01:00"])
def test_a_column_is_the_time_if_it_holds_dates(tmp_path: Path, zone: str) -> None:
    times = [f"2024-02-29T12:00:{number:02d}.250{zone}" for number in range(10)]
    data = opened(table(tmp_path / "t.csv", "when", times), warned="is used as the time axis, at 1 Hz")
    assert data.time.values.tolist() == list(range(10))
    hour = "11" if zone == "+01:00" else "12"
    assert data.attrs["start_time"] == f"2024-02-29T{hour}:00:00.25Z"


@pytest.mark.parametrize("year", ["0001", "0999", "1500", "1969", "2262", "2263", "9999"])
def test_dates_of_any_century_are_times(tmp_path: Path, year: str) -> None:
    times = [f"{year}-06-01 12:00:{second:02d}" for second in range(4)]
    data = opened(table(tmp_path / "t.csv", "when", times), warned="is used as the time axis, at 1 Hz")
    assert data.attrs["start_time"] == f"{year}-06-01T12:00:00Z"
    np.testing.assert_allclose(data.time, range(4), atol=1e-5)


@pytest.mark.parametrize("label", ["x", "index", "distance", "temperature", "timer"])
def test_numbers_that_increase_are_no_times(tmp_path: Path, label: str) -> None:
    data = opened(table(tmp_path / "t.csv", label, [number / 10 for number in range(20)]), warned=None)
    assert data.channel.values.tolist() == [label, "force"]


def test_times_without_a_rate_are_the_coordinate(tmp_path: Path) -> None:
    times = [0, 0.1, 0.35, 0.4, 2.0]
    data = opened(table(tmp_path / "t.csv", "time", times), warned="which is not regular")
    assert data.time.values.tolist() == times
    assert data.sel(time=0.35).value.item() == 0.5
    assert "sampling_rate" not in data.value.attrs


def test_times_that_are_rounded_have_a_rate(tmp_path: Path) -> None:
    times = [round(number * 1000 / 60) for number in range(200)]
    data = opened(table(tmp_path / "t.csv", "time [ms]", times), warned="Hz")
    assert data.value.attrs["sampling_rate"] == pytest.approx(60, rel=1e-3)


def test_times_that_go_back_stay_a_channel(tmp_path: Path) -> None:
    data = opened(table(tmp_path / "t.csv", "time", [1, 2, 1, 3]), warned="does not increase")
    assert data.channel.values.tolist() == ["time", "force"]


FEW = [
    ("time", [], None),
    ("time", [2.5], None),
    ("time [ms]", [2500], None),
    ("Timestamp", [START + 2.5], "2023-11-14T22:13:22.5Z"),
    ("timestamp (ms)", [START * 1000 + 2500], "2023-11-14T22:13:22.5Z"),
    ("when", ["2023-11-14 22:13:22.5"], "2023-11-14T22:13:22.5Z"),
]


@pytest.mark.parametrize(("label", "times", "began"), FEW)
@pytest.mark.parametrize("options", [{}, {"rate": 10}, {"datatype": "3-axis accelerometer"}, {"start": 7}])
@pytest.mark.parametrize("kind", ["csv", "npy"])
def test_a_column_is_the_time_of_a_single_row_or_of_none(
    tmp_path: Path, label: str, times: list[Any], began: str | None, options: dict[str, Any], kind: str
) -> None:
    path = tmp_path / f"t.{kind}"
    if kind == "csv":
        path.write_text("\n".join([f"{label},X,Y,Z", *(f"{time},1,2,3" for time in times), ""]))
    else:
        dtype = "M8[ms]" if label == "when" else "f8"
        fields = [(label, dtype), ("X", "f8"), ("Y", "f8"), ("Z", "f8")]
        np.save(path, np.array([(time, 1, 2, 3) for time in times], fields))
    data = opened(path, warned="is used as the time axis; time_column=False keeps it", **options)
    [variable] = data.data_vars.values()
    assert data.channel.values.tolist() == ["X", "Y", "Z"]
    assert variable.values.tolist() == [[1, 2, 3] for _ in times]
    first = options.get("start", 0 if began else 2.5)
    assert data.time.values.tolist() == [first for _ in times]
    assert isinstance(data.xindexes["time"], TimeIndex)
    assert variable.attrs.get("sampling_rate") == options.get("rate", 200 if "datatype" in options else None)
    assert data.attrs.get("start_time") == began
    if times:
        assert data.sel(time=first).sizes == {"channel": 3}


@pytest.mark.parametrize("time", ["", "nan", "-"])
def test_a_single_row_without_a_time_is_told_of(tmp_path: Path, time: str) -> None:
    data = opened(
        table(tmp_path / "t.csv", "time", [time]), warned="is labelled as a time but does not increase"
    )
    assert data.channel.values.tolist() == ["time", "force"]


WIDE = 6000
TIMES: dict[str, tuple[str, Callable[[int], str]]] = {
    "label": ("time", lambda row: f"{row / 100:.2f}"),
    "unix": ("x", lambda row: f"{START + row / 100:.2f}"),
    "unix without labels": ("", lambda row: f"{START + row / 100:.2f}"),
    "nanoseconds": ("x", lambda row: f"{(START * 100 + row) * 10_000_000}"),
    "dates": ("x", lambda row: f"2023-11-14T22:13:20.{row:02d}Z"),
}


@pytest.mark.parametrize("kind", TIMES)
def test_rows_that_fill_a_block_have_times_too(tmp_path: Path, kind: str) -> None:
    label, time = TIMES[kind]
    values = np.arange(5 * WIDE).reshape(5, WIDE) / 7
    header = [",".join([label, *(f"c{number}" for number in range(WIDE))])] if label else []
    rows = [f"{time(row)}," + ",".join(f"{value:.17g}" for value in values[row]) for row in range(5)]
    assert len(rows[-1]) > 2**16
    (tmp_path / "t.csv").write_text("\n".join([*header, *rows]) + "\n")
    data = opened(tmp_path / "t.csv", warned="is used as the time axis, at 100 Hz")
    assert data.time.values.tolist() == [0, 0.01, 0.02, 0.03, 0.04]
    np.testing.assert_array_equal(data.value, values)
    assert data.attrs.get("start_time") == (None if kind == "label" else "2023-11-14T22:13:20Z")


def test_a_rate_that_the_column_contradicts_is_an_error(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", "time_s", [number / 10 for number in range(20)])
    with pytest.raises(InvalidOptionError, match=r"rate=100 contradicts its column 'time_s', .* 10 Hz"):
        opened(path, warned=None, rate=100)
    assert opened(path, warned="is used as the time axis", rate=10, start=5).time[1] == 5.1
    kept = opened(path, warned=None, rate=100, time_column=False)
    assert kept.sizes == {"time": 20, "channel": 2}


def test_a_column_that_has_a_channel_is_that_channel(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", "time_s", [number / 10 for number in range(20)])
    assert opened(path, warned=None, channels=["a", "b"]).channel.values.tolist() == ["a", "b"]
    assert opened(path, warned="is used as the time axis", channels=["a"]).channel.values.tolist() == ["a"]


def test_streams_of_a_tree_are_on_one_axis(tmp_path: Path) -> None:
    for name, first in (("early", START), ("late", START + 3)):
        table(tmp_path / f"{name}.csv", "time", [first + number / 4 for number in range(8)])
    table(tmp_path / "odd.csv", "time", [START + 5, START + 5.5, START + 8])
    (tmp_path / "free.json").write_text(json.dumps([[1.0], [2.0]]))
    nodes = [DataNode.create(name, name) for name in ("early.csv", "late.csv", "odd.csv", "free.json")]
    (tmp_path / "datapack.json").write_text(dump(Document.create("p", [Container.create("c", nodes)])))
    with pytest.warns(DataWarning, match="is used as the time axis"):
        tree = xr.open_datatree(tmp_path, engine="datapack")
    assert tree.attrs["start_time"] == "2023-11-14T22:13:20Z"
    assert [float(tree[f"c/{name}.csv"].time[0]) for name in ("early", "late", "odd")] == [0, 3, 5]
    assert tree["c/late.csv"].time.attrs["units"] == "s"
    assert tree["c/late.csv"].attrs["start_time"] == "2023-11-14T22:13:23Z"
    assert tree["c/late.csv"].sel(time=slice(3, 4)).sizes["time"] == 5


def test_start_and_rate_of_the_first_rows(tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_text(f"{START}.5\n4.0\n0.1\n0.2\n0.3\n")
    data = opened(tmp_path / "e.csv", warned="a rate (4 Hz)")
    assert data.time.values.tolist() == [0, 0.25, 0.5]
    assert data.attrs["start_time"] == "2023-11-14T22:13:20.5Z"


def test_unix_times_that_change_their_unit_are_no_axis(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", "timestamp", [START, START + 1, (START + 3) * 1000])
    assert opened(path, warned="is read as a channel").sizes["channel"] == 2


@pytest.mark.parametrize("rate", [10, 64, 100, 128, 250, 1000])
def test_unix_times_that_a_float_rounds_are_regular(tmp_path: Path, rate: int) -> None:
    times = [f"{START + number / rate:.6f}" for number in range(500)]
    data = opened(table(tmp_path / "t.csv", "timestamp", times), warned=f"at {rate} Hz")
    assert data.value.attrs["sampling_rate"] == rate
