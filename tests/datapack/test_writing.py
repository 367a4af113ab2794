"""Labelled arrays as datapacks: what is written is read again."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fsspec
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rinofs.datapack import parse, write
from rinofs.datapack.document.model import Tree
from rinofs.datapack.document.naming import name_of_part
from rinofs.datapack.document.validation import datatype_problems, flaws
from rinofs.errors import ConflictError, InvalidDatapackError, InvalidOptionError, InvalidPathError
from rinofs.testing import live_server
from rinofs.testing.recording import Fault
from tests.campaign import rounds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rinofs.testing import LiveServer


MUSCLES = [f"EMG {number}" for number in range(1, 9)]


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    with live_server() as running:
        yield running


@pytest.fixture
def options(server: LiveServer) -> dict[str, Any]:
    return {"endpoint_url": server.endpoint_url, "token": server.token}


def stream(
    values: Any,
    rate: float = 200.0,
    *,
    name: str = "acceleration",
    units: str = "g",
    channels: list[str] | None = None,
    start: float = 0.0,
    **attrs: str,
) -> xr.Dataset:
    values = np.asarray(values)
    labels = channels or [str(number) for number in range(1, values.shape[1] + 1)]
    return xr.Dataset(
        {name: (("time", "channel"), values, {"units": units})},
        coords={"time": ("time", start + np.arange(len(values)) / rate, {"units": "s"}), "channel": labels},
        attrs=attrs,
    )


def notes(**attrs: str) -> xr.Dataset:
    return xr.Dataset(
        {
            "onset_time": ("event", [0.25, 1.0, 2.5], {"units": "s"}),
            "offset_time": ("event", [0.5, np.nan, 2.75], {"units": "s"}),
            "offset_type": ("event", np.array(["hit", "", 'a "quoted", word'], object)),
        },
        attrs=attrs,
    )


def multimodal() -> xr.DataTree:
    """Audio, three IMU streams at 200 Hz, EMG of 8 channels, annotations; the video is a file beside them."""
    random = np.random.default_rng(5)
    axes, angles = ["X", "Y", "Z"], ["Roll", "Pitch", "Yaw"]
    return xr.DataTree.from_dict(
        {
            "/": xr.Dataset(attrs={"author": "A. Researcher", "description": "a take", "keywords": ["arm"]}),
            "/audio": stream(
                random.uniform(-1, 1, (44_100, 1)).astype("float32"),
                44_100,
                name="audio_intensity",
                units="a.u.",
                channels=["M"],
                datatype="mono audio",
            ),
            "/IMU": xr.Dataset(attrs={"text": "on the forearm"}),
            "/IMU/Accelerometer": stream(
                random.normal(size=(400, 3)), channels=axes, datatype="3-axis accelerometer"
            ),
            "/IMU/Gyroscope": stream(
                random.normal(size=(400, 3)),
                name="angular_velocity",
                units="radians/second",
                channels=axes,
                datatype="3-axis gyroscope",
            ),
            "/IMU/Orientation": stream(
                random.normal(size=(400, 3)),
                name="angle",
                units="radians",
                channels=angles,
                start=0.5,
                datatype="orientation",
                text="fused",
            ),
            "/EMG": stream(
                random.integers(-128, 128, (400, 8)),
                name="muscle_activity",
                units="a.u.",
                channels=MUSCLES,
                datatype="MYO 8-channel EMG",
            ),
            "/notes": notes(datatype="drum notes"),
        }
    )


def opened(url: str, **options: Any) -> xr.DataTree:
    return xr.open_datatree(url, engine="datapack", **options)


def assert_same(found: xr.Dataset, expected: xr.Dataset) -> None:
    """Compare values, times, labels and units; ``long_name`` and the like may have come to it."""
    assert set(found.variables) == set(expected.variables)
    for name in expected.variables:
        one, other = found[name], expected[name]
        assert one.dims == other.dims
        assert one.attrs.get("units", "") == other.attrs.get("units", "")
        if name == "time":  # of a part, counted from its own start
            np.testing.assert_allclose(one.values, other.values, rtol=1e-12)
        else:
            np.testing.assert_array_equal(one.values, other.values)
    kept = {key: value for key, value in expected.attrs.items() if key != "datatype"}
    assert kept.items() <= found.attrs.items()


@pytest.mark.parametrize("format", ["json", "csv", "npy", {"": "json", "audio": "wav", "IMU": "npy"}])
def test_a_multimodal_datapack_is_read_as_it_was_written(tmp_path: Path, format: Any) -> None:  # noqa: A002
    written = multimodal()
    target = write(written, tmp_path / "take 1", format, files={"video/clip.mp4": b"\0\0\0\x18ftypmp42"})
    assert target == f"{tmp_path}/take 1/datapack.json"
    with opened(target) as tree:
        assert {group.path for group in tree.subtree} == {group.path for group in written.subtree} | {
            "/video"
        }
        for group in written.subtree:
            assert_same(tree[group.path].to_dataset(), group.to_dataset())
        assert tree.attrs == {"name": "take 1", **written.attrs}
        assert tree["video"].attrs["other_files"] == ["clip.mp4"]
        assert tree["IMU/Accelerometer"].acceleration.attrs["sampling_rate"] == 200
        assert tree["IMU/Accelerometer"].attrs["datatype"] == "ae13fb70-fa1e-47d8-9cd6-00cef4fe21cc"
        assert float(tree["IMU/Orientation"].time[0]) == 0.5
        assert tree["EMG"].muscle_activity.dtype.kind == "i"
        # Reading and writing once more changes nothing at all.
        files = {"video/clip.mp4": f"{tmp_path}/take 1/video/clip.mp4"}
        again = write(tree, tmp_path / "again", format, files=files)
    assert_equal_folders(tmp_path / "take 1", tmp_path / "again", but="PEAK")
    assert fsspec.open(f"datapack://video/clip.mp4::file://{again}").open().read() == b"\0\0\0\x18ftypmp42"


def assert_equal_folders(one: Path, other: Path, but: str) -> None:
    names = sorted(str(path.relative_to(one)) for path in one.rglob("*"))
    assert names == sorted(str(path.relative_to(other)) for path in other.rglob("*"))
    for name in names:
        if (one / name).is_file() and but.encode() not in (one / name).read_bytes()[:100]:  # has a date in it
            assert (one / name).read_bytes() == (other / name).read_bytes(), name


def test_documents_and_datatypes_are_tidy(tmp_path: Path) -> None:
    tree = multimodal()
    tree["odd"] = xr.DataTree(stream([[1.5], [2.5]], 12.5, name="Température", units="°C"))
    tree["marks"] = xr.DataTree(notes().drop_vars("offset_type"))
    document = parse(Path(write(tree, tmp_path / "pack")).read_bytes())
    assert flaws(document) == []
    nodes = dict(Tree(document).walk())
    assert nodes["EMG"].meta == {}  # published: its id says it all
    for path in ("odd", "marks"):
        made = nodes[path].meta["datatype"]
        assert made["datatypeID"] == nodes[path].datatype
        assert datatype_problems(made) == []
    assert [nodes[path].link for path in ("IMU/Gyroscope", "odd")] == ["IMU/Gyroscope.json", "odd.json"]


# Any stream

LABELS = st.text(
    st.characters(codec="utf-8", exclude_characters="/", exclude_categories=("Cc", "Cs")), max_size=12
)
NAMES = st.from_regex(r"[a-z][a-z0-9]{0,5}(_[a-z0-9]{1,4})?", fullmatch=True)
RATES = st.one_of(st.integers(1, 200_000).map(float), st.floats(0.01, 5_000))
DTYPES = {
    "json": ["float64", "float32", "int64", "int16", "bool"],
    "csv": ["float64", "float32", "int32", "bool"],
    "npy": ["float64", "float32", ">f8", "int64", "uint8", "bool"],
    "wav": ["float64", "float32", "int32", "int16", "int64"],
}


def numbers(dtype: np.dtype[Any], form: str) -> st.SearchStrategy[Any] | None:
    if dtype.kind == "f":
        return st.floats(width=8 * dtype.itemsize, allow_infinity=form != "json")
    if dtype.kind == "i" and form == "wav":
        return st.integers(-(2**15), 2**15 - 1)
    return None


@st.composite
def streams(draw: st.DrawFn, form: str) -> xr.Dataset:
    dtype = np.dtype(draw(st.sampled_from(DTYPES[form])))
    shape = draw(st.tuples(st.integers(1, 20), st.integers(1, 4)))
    values = draw(hnp.arrays(dtype, shape, elements=numbers(dtype, form)))
    labels = draw(
        st.lists(LABELS.map(str.strip).filter(bool), min_size=shape[1], max_size=shape[1], unique=True)
    )
    rate = float(draw(st.integers(1, 96_000))) if form == "wav" else draw(RATES)
    dataset = stream(
        values,
        rate,
        name=draw(NAMES),
        units=draw(st.sampled_from(["", "g", "m/s^2", "µV"])),
        channels=labels,
        start=draw(st.sampled_from([0.0, 0.5, 1234.5])),
        text=draw(LABELS),
    )
    for variable in dataset.data_vars.values():
        variable.attrs["sampling_rate"] = rate
    return dataset


@pytest.mark.soak
@pytest.mark.parametrize("form", sorted(DTYPES))
@settings(
    max_examples=rounds(12, 150),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(data=st.data())
def test_any_stream_is_read_as_it_was_written(form: str, data: st.DataObject) -> None:
    part = data.draw(LABELS.filter(lambda text: text.strip() not in {"", ".", ".."}))
    dataset = data.draw(streams(form))
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("error")
        target = write(xr.DataTree.from_dict({f"/{part}": dataset}), f"{folder}/pack", form)
        with opened(target) as tree:
            [found] = tree.children.values()
            read = found.to_dataset().load()
    [variable] = dataset.data_vars.values()
    [back] = read.data_vars.values()
    assert found.attrs["name"] == name_of_part(part)
    assert found.attrs.get("text", "") == dataset.attrs["text"]
    assert back.name == variable.name
    assert back.dims == variable.dims
    assert back.attrs.get("units", "") == variable.attrs["units"]
    assert back.channel.values.tolist() == variable.channel.values.tolist()
    assert back.dtype.kind == ("i" if variable.dtype.kind == "u" and form != "npy" else variable.dtype.kind)
    np.testing.assert_array_equal(back.values, variable.values)
    np.testing.assert_allclose(
        back.time.values, variable.time.values, rtol=0, atol=1e-9 * back.time.values.max() + 1e-9
    )


@pytest.mark.parametrize("rows", [1, 3])
def test_two_whole_numbers_in_a_row_are_two_channels(tmp_path: Path, rows: int) -> None:
    """The document names both, so that they are not taken for a decimal comma."""
    values = np.zeros((rows, 2), dtype="int32")
    stream = xr.Dataset({"a": (("time", "channel"), values)}, {"channel": ["0", "00"]})
    stream.a.attrs["sampling_rate"] = 10.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        target = write(xr.DataTree.from_dict({"/x": stream}), str(tmp_path / "pack"), "csv")
        with opened(target) as tree:
            [found] = tree.children.values()
            np.testing.assert_array_equal(found["a"].values, values)
            assert found["a"].channel.values.tolist() == ["0", "00"]


EVENT_FORMATS = ["json", "csv"]


@pytest.mark.soak
@pytest.mark.parametrize("form", EVENT_FORMATS)
@settings(max_examples=rounds(12, 150), deadline=None)
@given(data=st.data())
def test_any_events_are_read_as_they_were_written(form: str, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 8))
    times = hnp.arrays("float64", count, elements=st.floats(0, 1e6))
    # CSV cannot tell blanks around a word from the word.
    words = LABELS if form == "json" else LABELS.map(str.strip)
    texts = st.lists(words, min_size=count, max_size=count)
    dataset = xr.Dataset(
        {
            "onset": ("event", data.draw(times), {"units": "s"}),
            "offset": ("event", data.draw(times), {"units": "s"}),
            "word": ("event", np.array(data.draw(texts), object)),
            "count": ("event", data.draw(hnp.arrays("int64", count, elements=st.integers(-(2**50), 2**50)))),
            "strength": (
                "event",
                data.draw(hnp.arrays("float64", count, elements=st.floats(allow_infinity=False))),
            ),
            "good": ("event", data.draw(hnp.arrays("bool", count))),
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        read = xr.open_datatree(write(dataset, f"{folder}/pack", form), engine="datapack")[
            "events"
        ].to_dataset()
    assert list(read.data_vars) == list(dataset.data_vars)
    assert_same(read, dataset)
    assert {name: read[name].dtype.kind for name in ("word", "count", "good")} == {
        "word": "O",
        "count": "i",
        "good": "b",
    }


NAMED_UNITS = ["onset_ms", "onset_us", "onset_ns", "onset_s", "onset_min", "t_h", "onset_time", "ms"]
UNITS = {"s": 1, "ms": 1e3, "us": 1e6, "ns": 1e9, "min": 1 / 60, "h": 1 / 3600}


@pytest.mark.parametrize("form", EVENT_FORMATS)
@pytest.mark.parametrize("name", NAMED_UNITS)
@pytest.mark.parametrize("unit", [*UNITS, "timedelta64"])
def test_times_are_kept_whatever_unit_their_name_has(tmp_path: Path, form: str, name: str, unit: str) -> None:
    seconds = np.array([1.5, 0.007, 2, np.nan])
    times: Any = seconds * UNITS.get(unit, 1)
    if unit == "timedelta64":
        times = np.array([1_500_000, 7_000, 2_000_000, "NaT"], "m8[us]")
    dataset = xr.Dataset(
        {
            name: ("event", times, {} if unit == "timedelta64" else {"units": unit}),
            "offset_time": ("event", seconds + 1, {"units": "s"}),
            "word": ("event", list("abcd")),
        }
    )
    for generation in range(2):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            dataset = opened(write(dataset, tmp_path / f"{generation}", form))["events"].to_dataset()
        np.testing.assert_allclose(dataset[name], seconds, rtol=1e-15)
        np.testing.assert_array_equal(dataset.offset_time, seconds + 1)
        assert dataset[name].attrs["units"] == dataset.offset_time.attrs["units"] == "s"
        assert dataset.word.values.tolist() == list("abcd")


@pytest.mark.parametrize("form", EVENT_FORMATS)
def test_integers_of_events_come_back_exact(tmp_path: Path, form: str) -> None:
    dataset = xr.Dataset(
        {
            "onset": ("event", [0.5, 2.0], {"units": "s"}),
            "stamp": ("event", np.array([1_700_000_000_123_456_789, 2**53 + 1])),
            "key": ("event", np.array([2**63 + 1, 5], np.uint64)),
            "small": ("event", np.array([-128, 127], np.int8)),
        }
    )
    read = opened(write(dataset, tmp_path / "pack", form))["events"]
    for name in ("stamp", "key", "small"):
        assert read[name].values.tolist() == dataset[name].values.tolist()


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "int64", "uint64", "float32"])
@pytest.mark.parametrize(
    ("name", "unit"), [("onset", "min"), ("onset", "h"), ("onset_ms", "s"), ("t_h", "min")]
)
def test_times_of_any_type_are_written_in_another_unit(
    tmp_path: Path, dtype: str, name: str, unit: str
) -> None:
    times = np.array([0, 1, 2, 100, np.iinfo(np.int8).max], dtype)
    dataset = xr.Dataset({name: ("event", times, {"units": unit}), "word": ("event", list("abcde"))})
    read = opened(write(dataset, tmp_path / "pack", "csv"))["events"]
    np.testing.assert_allclose(read[name], times.astype(float) / UNITS[unit], rtol=1e-12)


def test_files_say_the_unit_that_their_times_are_in(tmp_path: Path) -> None:
    """Other programs go by the label."""
    times = ("event", [1500, 7], {"units": "ms"})
    write(xr.Dataset({"onset_ms": times, "word": ("event", ["a", "b"])}), tmp_path / "pack", "csv")
    table = pd.read_csv(tmp_path / "pack" / "events.csv")
    assert table["onset ms"].tolist() == [1500, 7]


QUOTES = st.text(st.sampled_from("\" ,;'a\n"), min_size=1, max_size=6).map(str.strip)


@pytest.mark.soak
@pytest.mark.parametrize("form", EVENT_FORMATS)
@settings(max_examples=rounds(30, 500), deadline=None)
@given(words=st.lists(QUOTES, min_size=1, max_size=4))
@example(words=[";\n;"])
def test_quotes_in_texts_are_kept(form: str, words: list[str]) -> None:
    times = ("event", np.arange(len(words)) / 2, {"units": "s"})
    dataset = xr.Dataset({"onset": times, "word": ("event", np.array(words, object))})
    with tempfile.TemporaryDirectory() as folder:
        read = opened(write(dataset, f"{folder}/pack", form))["events"]
        assert read["word"].values.tolist() == words


@pytest.mark.parametrize("name", ["名" * 90, "é" * 119, "🥁" * 60, "n" * 300])
def test_names_longer_than_file_systems_accept(tmp_path: Path, name: str) -> None:
    for form in EVENT_FORMATS:
        tree = opened(write(xr.DataTree.from_dict({f"/{name}": notes()}), tmp_path / form, form))
        assert_same(tree[name].to_dataset(), notes())


# What cannot be written


def made(target: Path) -> list[str]:
    return [path.name for path in target.iterdir()]


def rated(dataset: xr.Dataset) -> xr.Dataset:
    return dataset.assign({name: one.assign_attrs(sampling_rate=100.0) for name, one in dataset.items()})


TIMES = np.array([0.0, 0.005, 0.011, 0.015])


@pytest.mark.parametrize(
    ("dataset", "format", "problem"),
    [
        (
            stream(np.zeros((4, 1))).assign_coords(time=TIMES),
            "json",
            "acceleration.*'time' is not evenly spaced",
        ),
        (stream(np.zeros((4, 1))).assign_coords(time=TIMES[::-1]), "json", "does not increase"),
        (
            stream(np.zeros((4, 1))).assign_coords(time=np.array(TIMES * 1e9, "M8[ns]")),
            "json",
            "assign_coords",
        ),
        (stream(np.zeros((4, 1))).drop_vars("time"), "json", "add a coordinate 'time' or"),
        (stream(np.zeros((1, 1))), "json", "from fewer than two timestamps"),
        (stream(np.zeros((4, 2)), channels=["X", "X"]), "json", "'X' is empty or not unique"),
        (stream(np.zeros((4, 1), complex)), "json", "acceleration: .*not complex"),
        (stream(np.zeros((4, 1))).rename(time="t"), "json", "its dimensions are 't', 'channel'"),
        (stream([[np.inf]] * 4), "json", "cannot store infinite numbers; write it as csv"),
        (stream(np.zeros((4, 1)), 0.5), "wav", "0.5 Hz; write it as npy"),
        (stream(np.zeros((4, 1), bool)), "wav", "not bool; write it as npy"),
        (stream([[2**40]] * 4), "wav", "at most 32 bits"),
        (stream(np.zeros((4, 1))), "mp3", "unknown format 'mp3'; use json, csv, wav, npy"),
        (stream(np.zeros((4, 1))), {"voice": "wav"}, "no stream at 'voice'"),
        (
            stream(np.zeros((0, 2))).drop_vars("time").pipe(rated),
            "csv",
            "nothing to store as csv",
        ),
        (notes().drop_vars(["onset_time", "offset_time"]), "json", "no variable has the times"),
        (
            notes().assign(strength=("event", [1.0, np.inf, 2.0])),
            "json",
            "strength: JSON cannot store infinite numbers; write it as csv",
        ),
        (
            notes().assign(offset_type=("event", np.array(["a", "b\r", "c"], object))),
            "csv",
            "offset type: CSV cannot tell a carriage return .*; write it as json",
        ),
        (notes().merge(stream(np.zeros((4, 1)))), "json", "streams go into a group of their own"),
    ],
)
def test_what_cannot_be_written_is_named_and_leaves_nothing(
    tmp_path: Path,
    options: dict[str, Any],
    dataset: xr.Dataset,
    format: Any,  # noqa: A002
    problem: str,
) -> None:
    tree = xr.DataTree.from_dict({"/first": stream(np.zeros((4, 1))), "/odd": dataset})
    for target in (f"{tmp_path}/pack", "repovizz://New"):
        with pytest.raises((InvalidDatapackError, InvalidOptionError), match=problem) as caught:
            write(tree, target, format, storage_options=options if "://" in target else None)
        assert "odd" in str(caught.value) or "format" in str(caught.value) or "voice" in str(caught.value)
    assert made(tmp_path) == []
    assert fsspec.filesystem("repovizz", **options).ls("", detail=False) == []


def test_other_arrays_are_taken_as_they_are_meant(tmp_path: Path) -> None:
    array = xr.DataArray(
        np.arange(12).reshape(3, 4),
        dims=("axis", "time"),
        coords={"time": np.arange(4) * np.timedelta64(10, "ms"), "axis": ["a", "b", "c"]},
        name="force",
    )
    read = opened(write(array, tmp_path / "one"))["force"].to_dataset()
    assert read.force.dims == ("time", "channel")
    assert read.force.values.tolist() == array.values.T.tolist()
    assert read.channel.values.tolist() == ["a", "b", "c"]
    assert read.time.values.tolist() == [0.0, 0.01, 0.02, 0.03]

    alone = xr.DataArray(np.zeros(5), dims="time", attrs={"sampling_rate": 50})
    assert opened(write(alone, tmp_path / "two", "csv"))["value"].sizes == {"time": 5, "channel": 1}

    several = xr.Dataset({"x": alone, "y": alone.copy(data=np.ones(5))})
    assert set(opened(write(several, tmp_path / "three")).children) == {"x", "y"}


@pytest.mark.parametrize("form", ["json", "npy"])
def test_further_dimensions_are_kept(tmp_path: Path, form: str) -> None:
    frequencies = ("frequency", np.arange(5) * 20.0, {"units": "Hz"})
    spectrum = xr.Dataset(
        {"power": (("time", "frequency", "channel"), np.arange(60.0).reshape(6, 5, 2), {"units": "dB"})},
        coords={
            "time": ("time", np.arange(6) / 50, {"units": "s"}),
            "frequency": frequencies,
            "channel": ["L", "R"],
        },
    )
    document = write(xr.DataTree.from_dict({"/spectrum": spectrum}), tmp_path / "pack", form)
    assert_same(opened(document)["spectrum"].to_dataset(), spectrum)
    lowest = spectrum.isel(frequency=[0])
    document = write(xr.DataTree.from_dict({"/spectrum": lowest}), tmp_path / "lowest", form)
    assert_same(opened(document)["spectrum"].to_dataset(), lowest)
    with pytest.raises(InvalidDatapackError, match="'frequency' is not evenly spaced from 0"):
        write(xr.DataTree.from_dict({"/spectrum": spectrum.isel(frequency=[3])}), tmp_path / "high", form)
    with pytest.raises(
        InvalidOptionError, match="spectrum: power: csv has only the dimensions time and channel"
    ):
        write(spectrum.rename(power="power").assign_attrs(name="spectrum"), tmp_path / "flat", "csv")


@pytest.mark.parametrize("label", ["sep=5", "sep=1", "sep=.", "SEP=x", "sep=,", "\ufeffa", "\ufeff"])
def test_a_label_is_taken_for_nothing_else(tmp_path: Path, label: str) -> None:
    values = np.array([[0.5], [1.25], [2.5]])
    read = opened(write(stream(values, channels=[label], name="x"), tmp_path / "pack", "csv"))["x"].x
    assert read.channel.values.tolist() == [label]
    assert read.values.tolist() == values.tolist()


@pytest.mark.parametrize("label", ["[x]", "ID3", "1", "a;b", "nan", "RIFF", "%PDF", "# x", "#", "\ufeffa"])
def test_labels_are_taken_for_nothing_else(tmp_path: Path, label: str) -> None:
    values = np.array([[0.5, 1.0], [2.5, 3.0]])
    read = opened(write(stream(values, channels=[label, "2"], name="x"), tmp_path / "pack", "csv"))["x"].x
    assert read.channel.values.tolist() == [label, "2"]
    assert read.values.tolist() == values.tolist()


LABELS_LIKE_CELLS = st.one_of(
    st.text("0123456789.,+-:/() %#'|\"e", min_size=1, max_size=6),
    st.sampled_from(["nan", "inf", "true", "False", "#REF!", "2024-01-01", "10:00:00", "g", "[m/s^2]", "V"]),
    st.sampled_from(["sep=", "SEP=1", "sep=.", "sep=,", "sep=,,", 'sep="', "sep=ab", "\ufeff", "\ufeffa"]),
).map(str.strip)


@pytest.mark.soak
@settings(max_examples=rounds(60, 2_000), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    labels=st.lists(LABELS_LIKE_CELLS.filter(bool), min_size=1, max_size=4, unique=True),
    rows=st.integers(1, 4),
    whole=st.booleans(),
)
@example(labels=["1", ":", "0"], rows=1, whole=False)
@example(labels=["sep=5"], rows=3, whole=True)
@example(labels=["sep=1"], rows=3, whole=False)
@example(labels=["sep=,"], rows=3, whole=False)
@example(labels=["sep=", ","], rows=3, whole=False)
@example(labels=["\ufeffa"], rows=3, whole=False)
@example(labels=["\ufeff", "b"], rows=3, whole=False)
def test_labels_that_look_like_cells_are_no_doubt_if_the_document_names_them(
    labels: list[str], rows: int, *, whole: bool
) -> None:
    values = np.arange(rows * len(labels)).reshape(rows, -1) * (7 if whole else 0.25)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("error")
        made = stream(values, channels=labels, name="x")
        made.x.attrs["sampling_rate"] = 200.0
        read = opened(write(made, f"{folder}/pack", "csv"))["x"].x.load()
    assert read.channel.values.tolist() == labels
    assert read.values.tolist() == values.tolist()


@pytest.mark.parametrize("label", ["Unnamed: 0", "unnamed: 0", "UNNAMED: 0"])
@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("dimension", ["time", "sample"])
@pytest.mark.parametrize("form", ["csv", "json", "npy"])
def test_a_channel_that_counts_is_no_index(
    tmp_path: Path, label: str, first: int, dimension: str, form: str
) -> None:
    values = np.stack([first + np.arange(5), np.arange(5) * 7], axis=1)
    made = stream(values, channels=[label, "x"], name="x")
    made = made if dimension == "time" else made.drop_vars("time").rename(time="sample")
    [read] = opened(write(made, tmp_path / "pack", form))["x"].data_vars.values()
    assert read.values.tolist() == values.tolist()
    if dimension == "time":
        assert read.channel.values.tolist() == [label, "x"]


def test_little_and_nothing(tmp_path: Path) -> None:
    assert dict(opened(write(xr.DataTree(), tmp_path / "empty")).children) == {}
    for form in ("json", "npy", "wav"):
        none = stream(np.zeros((0, 2)), channels=["L", "R"]).pipe(rated)
        read = opened(write(none, tmp_path / form, form))["acceleration"]
        assert dict(read.sizes) == {"time": 0, "channel": 2}
        assert read.acceleration.attrs["sampling_rate"] == 100
    never = notes().isel(event=slice(0))
    for form in ("json", "csv"):
        assert_same(opened(write(never, tmp_path / f"never {form}", form))["events"].to_dataset(), never)
    numbered = xr.Dataset({"value": (("sample", "channel"), np.arange(6.0).reshape(3, 2))})
    assert opened(write(numbered, tmp_path / "numbered"))["value"].value.dims == ("sample", "channel")


def test_coordinates_of_the_groups_above_are_used(tmp_path: Path) -> None:
    shared = xr.Dataset(coords={"time": np.arange(10) / 5})
    tree = xr.DataTree.from_dict(
        {"/": shared, "/x": xr.Dataset({"x": ("time", np.arange(10.0))}), "/notes": notes()}
    )
    read = opened(write(tree, tmp_path / "pack"))
    assert read["x"].x.attrs["sampling_rate"] == 5
    assert_same(read["notes"].to_dataset(), notes())


def test_parts_of_what_was_read_are_written_without_the_rest(tmp_path: Path) -> None:
    write(stream(np.arange(4000).reshape(2000, 2), name="x"), tmp_path / "whole", "npy")
    with opened(f"{tmp_path}/whole") as tree:
        part = tree["x"].to_dataset().sel(time=slice(2, 3)).isel(time=slice(None, None, 4))
        again = opened(write(part, tmp_path / "part", "npy"))["x"]
        assert_same(again.to_dataset(), part.drop_attrs(deep=False))
        assert again.x.attrs["sampling_rate"] == 50
    lazy = xr.Dataset({"x": part.x.chunk({"time": 7})}, attrs=part.attrs)
    assert_same(opened(write(lazy, tmp_path / "dask", "wav"))["x"].to_dataset(), part.drop_attrs(deep=False))


def test_names_are_kept_whatever_they_are(tmp_path: Path) -> None:
    names = ["a%2Fb", "EMG.csv", "emg.csv", "what?", "x" * 200, "データ", "..a", "EMG", "datapack~2.json"]
    tree = xr.DataTree.from_dict({f"/{name}": stream(np.zeros((2, 1))) for name in names})
    document = write(tree, tmp_path / "pack", "csv")
    assert set(opened(document).children) == set(names)
    links = [node.link for _, node in Tree(parse(Path(document).read_bytes())).walk()]
    assert len({link.lower() for link in links}) == len(names)
    assert links[:3] == ["a_b.csv", "EMG.csv", "emg~2.csv"]


def test_files_and_folders_of_one_name_are_kept_apart(tmp_path: Path) -> None:
    one = stream(np.zeros((2, 1)))
    paths = ["/a", "/a.json/inside", "/datapack.json/inside", "/A.JSON/b"]
    read = opened(write(xr.DataTree.from_dict(dict.fromkeys(paths, one)), tmp_path / "pack"))
    assert {group.path for group in read.leaves} == {*paths[:2], "/datapack~2.json/inside", "/A.JSON/b"}


# Where it goes


@pytest.mark.parametrize("target", ["repovizz://take", "rino://packs/take", "memory://packs/take"])
def test_a_datapack_is_written_anywhere(target: str, options: dict[str, Any]) -> None:
    options = {} if target.startswith("memory") else options
    fs, path = fsspec.url_to_fs(target, **options)
    written = write(multimodal(), target, "npy", files={"a.txt": b"one"}, storage_options=options)
    with opened(written, storage_options=options) as tree:
        assert_same(tree["IMU/Gyroscope"].to_dataset(), multimodal()["IMU/Gyroscope"].to_dataset())
        assert tree.attrs["author"] == "A. Researcher"
    with pytest.raises(FileExistsError):
        write(multimodal(), target, storage_options=options)
    assert write(stream(np.ones((4, 1))), target, storage_options=options, overwrite=True) == written
    with opened(written, storage_options=options) as tree:
        assert set(tree.children) == {"acceleration"}
    fs.rm(path, recursive=True)
    assert not [name for name in fs.ls(path.rpartition("/")[0], detail=False) if "part" in name]


def test_a_datapack_costs_one_structure_and_its_contents(server: LiveServer, options: dict[str, Any]) -> None:
    write(stream(np.ones((4, 1))), "repovizz://warm", storage_options=options)
    server.reset()
    write(multimodal(), "repovizz://counted", storage_options=options)
    posts = [request.path for request in server.requests if request.method == "POST"]
    assert len([path for path in posts if "/content/" in path]) == 6
    assert len(posts) == 7
    assert len(server.requests) <= 10


def broken() -> xr.DataTree:
    """A tree whose last stream turns out not to fit when it is read."""
    tree = multimodal()
    tree["last"] = xr.DataTree(stream([[np.inf]] * 4))
    return tree


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    write(notes(), tmp_path / "pack")
    before = (tmp_path / "pack" / "datapack.json").read_bytes()
    with pytest.raises(InvalidOptionError):
        write(broken(), tmp_path / "pack", overwrite=True)
    assert made(tmp_path) == ["pack"]
    assert (tmp_path / "pack" / "datapack.json").read_bytes() == before
    write(multimodal(), tmp_path / "pack", overwrite=True)
    assert made(tmp_path) == ["pack"]
    assert "EMG" in opened(f"{tmp_path}/pack").children


def test_an_upload_that_fails_is_taken_back(server: LiveServer, options: dict[str, Any]) -> None:
    fs = fsspec.filesystem("repovizz", **options)

    def refuse(method: str, path: str) -> Any:
        return Fault(status=422) if method == "POST" and "/content/EMG" in path else None

    server.faults = refuse
    try:
        with pytest.raises(OSError, match="EMG"):
            write(multimodal(), "repovizz://Refused", storage_options=options)
    finally:
        server.faults = None
    fs.invalidate_cache()
    assert not fs.exists("Refused")


def test_what_cannot_be_taken_back_is_told(server: LiveServer, options: dict[str, Any]) -> None:
    def refuse(method: str, path: str) -> Any:
        refused = (method == "POST" and "/content/EMG" in path) or method == "DELETE"
        return Fault(status=405 if method == "DELETE" else 422) if refused else None

    server.faults = refuse
    try:
        with pytest.raises(OSError, match="EMG") as caught:
            write(multimodal(), "repovizz://Left", storage_options=options)
    finally:
        server.faults = None
    assert "a part of the datapack is left at repovizz://Left" in caught.value.__notes__[0]
    fs = fsspec.filesystem("repovizz", **options)
    fs.invalidate_cache()
    assert fs.exists("Left")


@pytest.mark.parametrize("target", ["repovizz://plain", "rino://packs/plain"])
def test_the_published_api_is_enough(target: str) -> None:
    with live_server(extensions=False) as server:
        options = {"endpoint_url": server.endpoint_url, "token": server.token}
        written = write(multimodal(), target, "npy", storage_options=options)
        with opened(written, storage_options=options) as tree:
            assert_same(tree["IMU/Orientation"].to_dataset(), multimodal()["IMU/Orientation"].to_dataset())


def test_a_datapack_that_is_there_is_not_added_to(options: dict[str, Any]) -> None:
    write(notes(), "repovizz://mine", storage_options=options)
    fs = fsspec.filesystem("repovizz", **options)
    with tempfile.TemporaryDirectory() as folder:
        with pytest.raises(ConflictError):
            fs.push(write(notes(), f"{folder}/mine"), "mine", resume=False)
        assert fs.push(f"{folder}/mine/datapack.json", "mine").sent == 0
    with pytest.raises(InvalidPathError, match="repovizz://NAME"):
        write(notes(), "repovizz://mine/inside", storage_options=options)


def test_files_that_no_array_holds_are_not_lost_silently(tmp_path: Path) -> None:
    write(multimodal(), tmp_path / "one", files={"video/clip.mp4": b"\0mp4"})
    with opened(f"{tmp_path}/one") as tree, pytest.warns(UserWarning, match="video/clip.mp4"):
        write(tree, tmp_path / "two")
    with pytest.raises(FileNotFoundError):
        write(multimodal(), tmp_path / "three", files={"video/clip.mp4": tmp_path / "none.mp4"})
    assert sorted(made(tmp_path)) == ["one", "two"]
