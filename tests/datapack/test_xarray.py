"""The xarray engine on datapacks of this machine."""

from __future__ import annotations

import json
import pickle
import re
import uuid
import warnings
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import xarray as xr

from rinofs.datapack import Container, DataNode, Document, dump
from rinofs.datapack.arrays.times import TimeIndex
from rinofs.datapack.arrays.xarray_backend import DatapackBackend
from rinofs.datapack.document.messages import DataWarning
from rinofs.datapack.filesystem import DatapackFileSystem
from rinofs.errors import InvalidDatapackError, InvalidOptionError
from tests.datapack.streams import KNOWN, RATE, Session, node, record


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return record(tmp_path_factory.mktemp("session") / "MYO")


def opened(path: Any, **options: Any) -> xr.Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return xr.open_dataset(path, engine="datapack", **options)


# Streams


@pytest.mark.parametrize(
    ("path", "variable", "units", "rate", "start"),
    [
        ("IMU/Accelerometer", "acceleration", "g", 200, 0.0),
        ("IMU/Gyroscope", "angular_velocity", "radians/second", 200, 0.5),
        ("IMU/Orientation", "angle", "radians", 200, 0.0),
        ("EMG", "muscle_activity", "a.u.", 200, 0.0),
    ],
)
def test_a_stream(session: Session, path: str, variable: str, units: str, rate: int, start: float) -> None:
    data = opened(session.url(path))
    assert list(data.data_vars) == [variable]
    array, values = data[variable], session.values[path]
    assert array.dims == ("time", "channel")
    assert array.dtype == values.dtype
    np.testing.assert_array_equal(array, values)
    assert (array.attrs["units"], array.attrs["sampling_rate"]) == (units, rate)
    assert array.attrs["long_name"].replace(" ", "_") == variable
    np.testing.assert_allclose(data.time, start + np.arange(len(values)) / rate, rtol=1e-15)
    assert data.time.attrs["units"] == "s"
    assert isinstance(data.xindexes["time"], TimeIndex)
    assert data.attrs["name"] == path.rpartition("/")[2]


def test_channels_and_attributes(session: Session) -> None:
    data = opened(session.url("IMU/Accelerometer"))
    assert data.channel.values.tolist() == ["X", "Y", "Z"]
    assert data.attrs == {
        "name": "Accelerometer",
        "mime": "text/plain; charset=us-ascii",
        "datatype": "ae13fb70-fa1e-47d8-9cd6-00cef4fe21cc",
        "datatype_name": "3-axis accelerometer",
    }
    column = data.acceleration.sel(channel="Y", time=slice(1, 2))
    np.testing.assert_array_equal(column, session.values["IMU/Accelerometer"][200:401, 1])


def test_audio_is_in_parts_of_full_scale(session: Session) -> None:
    data = opened(session.url("audio"))
    assert (data.attrs["text"], data.audio_intensity.dtype) == ("The room.", np.float32)
    np.testing.assert_array_equal(data.audio_intensity[:, 0], session.values["audio"] / np.float32(2**15))
    assert data.time[-1] == (3 * RATE - 1) / RATE


def test_events(session: Session) -> None:
    data = opened(session.url("drums"))
    assert data.sizes == {"event": 2}
    assert "event" not in data.xindexes
    assert data.onset_time.values.tolist() == [0.5, 1.5]
    assert data.offset_time.attrs["units"] == "s"
    assert data.offset_type.values.tolist() == ["hit", "roll"]
    assert data.offset_type.dtype == object
    stream = opened(session.url("IMU/Accelerometer"))
    hit = data.isel(event=0)
    part = stream.sel(time=slice(float(hit.onset_time), float(hit.offset_time)))
    assert part.sizes["time"] == 101
    assert stream.sel(time=data.onset_time, method="nearest").sizes == {"event": 2, "channel": 3}


@pytest.mark.parametrize("path", ["IMU/Accelerometer", "IMU/Gyroscope", "IMU/Orientation", "EMG", "audio"])
def test_indexing_is_that_of_numpy(session: Session, path: str) -> None:
    lazy = next(iter(opened(session.url(path), cache=False).data_vars.values()))
    values = lazy.values
    keys: list[Any] = [
        (slice(10, 20), slice(None)),
        (slice(None, None, 7), 0),
        (slice(None, None, -5), slice(None)),
        (5, slice(None)),
        (-1, 0),
        ([1, 5, 3], slice(None)),
        (slice(10, 10), slice(None)),
        (slice(590, 900), [0]),
    ]
    for key in keys:
        array = lazy[key]
        np.testing.assert_array_equal(array.values, values[key])
    lazy.values[0, 0] = 99  # what is handed out is the caller's
    np.testing.assert_array_equal(lazy.values, values)


def test_streams_on_one_time_axis(session: Session) -> None:
    accelerometer = opened(session.url("IMU/Accelerometer")).acceleration
    gyroscope = opened(session.url("IMU/Gyroscope")).angular_velocity
    assert xr.align(accelerometer, gyroscope, join="inner")[0].sizes["time"] == 500
    both = xr.merge([accelerometer, gyroscope], join="outer")
    assert both.sizes["time"] == 700
    emg = opened(session.url("EMG")).muscle_activity.sel(time=slice(1, 2))
    sound = opened(session.url("audio")).audio_intensity.isel(channel=0).interp(time=emg.time)
    assert sound.sizes == {"time": 201}
    assert (emg * sound).sizes["time"] == 201


def test_drop_variables(session: Session) -> None:
    data = opened(session.url("drums"), drop_variables=["offset_type", "no such"])
    assert list(data.data_vars) == ["onset_time", "offset_time"]
    assert list(opened(session.url("EMG"), drop_variables="muscle_activity").data_vars) == []
    tree = xr.open_datatree(session.folder, engine="datapack", drop_variables="angle")
    assert list(tree["IMU/Orientation"].data_vars) == []


def test_pickle_and_close(session: Session) -> None:
    data = opened(session.url("audio"))
    other = pickle.loads(pickle.dumps(data))
    expected = session.values["audio"][:10] / np.float32(2**15)
    np.testing.assert_array_equal(other.audio_intensity[:10, 0], expected)
    with data:
        np.testing.assert_array_equal(data.audio_intensity[:10, 0], expected)


@pytest.mark.parametrize("path", ["audio", "IMU/Orientation", "IMU/Accelerometer", "EMG"])
def test_chunks(session: Session, path: str) -> None:
    usual, chunked = opened(session.url(path)), opened(session.url(path), chunks={})
    name = next(iter(chunked.data_vars))
    assert chunked[name].chunks is not None
    xr.testing.assert_identical(chunked.compute(), usual)
    small = opened(session.url(path), chunks={"time": 250})
    assert small[name].chunks[0][0] == 250  # type: ignore[index]
    np.testing.assert_allclose(small[name].mean().compute(), usual[name].mean(), rtol=1e-3)


# Files of their own


def test_any_file_with_a_datatype(session: Session) -> None:
    path = session.folder / "IMU" / "acc.json"
    document = dict(KNOWN["3-axis accelerometer"].document)
    by = [document, "3-axis accelerometer", str(document["datatypeID"]), KNOWN["3-axis accelerometer"]]
    found = [opened(path, datatype=datatype) for datatype in by]
    assert all(one.identical(found[0]) for one in found)
    assert found[0].acceleration.attrs["units"] == "g"
    assert opened(f"file://{path}", datatype="3-axis accelerometer").identical(found[0])
    with fsspec.open(str(path), "rb") as file:
        assert opened(file, datatype="3-axis accelerometer").identical(found[0])


def test_rate_channels_and_start_stand_in(session: Session) -> None:
    path = session.folder / "IMU" / "acc.json"
    bare = opened(path)
    assert bare.value.dims == ("sample", "channel")
    assert list(bare.coords) == ["channel"]
    assert bare.channel.values.tolist() == ["1", "2", "3"]
    data = opened(path, rate=50, channels=["a", "b", "c"], start=10)
    assert data.value.attrs == {"sampling_rate": 50.0}
    assert data.time[[0, -1]].values.tolist() == [10.0, 10 + 599 / 50]
    assert data.channel.values.tolist() == ["a", "b", "c"]
    assert opened(session.url("EMG"), rate=100).time[-1] == 5.99
    assert opened(session.url("EMG"), rate=np.float32(100), start=np.int64(1)).time[-1] == 6.99


@pytest.mark.parametrize(
    "options",
    [
        *({"rate": 0}, {"rate": -1}, {"rate": float("nan")}, {"rate": "fast"}, {"start": float("inf")}),
        *(
            {"channels": "XYZ"},
            {"channels": ["a", "a", "b"]},
            {"datatype": 5},
            {"datatypes": 5},
            {"start": "x"},
            {"start": True},
        ),
    ],
)
def test_options_that_cannot_be(session: Session, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidOptionError, match=next(iter(options))):
        opened(session.url("EMG"), **options)


def test_what_cannot_be_opened(session: Session) -> None:
    with pytest.raises(InvalidDatapackError, match=r"IMU.* is a container: open it with open_datatree"):
        opened(session.url("IMU"))
    with pytest.raises(FileNotFoundError, match="there are Accelerometer, Gyroscope"):
        opened(session.url("IMU/Accelerator"))
    with pytest.raises(InvalidDatapackError, match=r"video.*video/mp4.*fsspec.open"):
        opened(session.url("video"))
    with pytest.raises(IsADirectoryError, match="open_datatree"):
        opened(session.folder)
    with pytest.raises(FileNotFoundError, match="open_dataset"):
        xr.open_datatree(session.folder / "IMU", engine="datapack")
    with pytest.raises(InvalidOptionError, match="not int"):
        DatapackBackend().open_dataset(5)


def test_guess(session: Session) -> None:
    guess = DatapackBackend().guess_can_open
    assert all(map(guess, [session.url("EMG"), "repovizz://MYO/IMU/Accelerometer", session.document]))
    assert not any(map(guess, ["repovizz://MYO/x.nc", "a.json", "rino://x.wav", 5]))
    assert xr.open_dataset(session.url("EMG")).sizes["channel"] == 8
    assert DatapackBackend.description
    assert (Path(__file__).parents[2] / DatapackBackend.url).is_file()


# Trees


def test_a_tree(session: Session) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tree = xr.open_datatree(session.folder, engine="datapack")
    assert sorted(group.path for group in tree.leaves) == [
        *("/EMG", "/IMU/Accelerometer", "/IMU/Gyroscope", "/IMU/Orientation", "/audio", "/drums")
    ]
    assert tree.attrs == {
        "name": "MYO",
        "author": "A. Researcher",
        "description": "One session.",
        "keywords": ["arm", "EMG"],
        "other_files": ["video"],
    }
    assert tree["IMU"].attrs == {"name": "IMU", "text": "On the wrist.", "other_files": ["report"]}
    for path in session.values:
        assert tree[path].to_dataset().identical(opened(session.url(path)))
    cut = tree["IMU"].sel(time=slice(1, 2))
    assert [group.sizes["time"] for group in cut.leaves] == [201, 201, 201]


def test_ways_to_a_tree(session: Session) -> None:
    tree = xr.open_datatree(session.folder, engine="datapack")
    document = session.document
    for name in (document, f"file://{document}", f"datapack://::file://{document}"):
        assert xr.open_datatree(name, engine="datapack").identical(tree)
    part = xr.open_datatree(session.url("IMU"), engine="datapack")
    assert part.identical(xr.DataTree(tree["IMU"].dataset, dict(tree["IMU"].children)))
    groups = xr.open_groups(session.folder, engine="datapack")
    assert list(groups)[:4] == ["/", "/audio", "/EMG", "/IMU"]
    chunked = xr.open_datatree(session.folder, engine="datapack", chunks={})
    assert chunked["audio"].audio_intensity.chunks is not None
    assert chunked.compute().identical(tree)


def test_names_that_are_no_paths(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("[1, 2]")
    names = ["a/b", "a", "a", "..", "", "é ü"]
    document = Document.create(
        "p", [Container.create("c", [DataNode.create(name, "x.json") for name in names])]
    )
    (tmp_path / "datapack.json").write_text(dump(document))
    tree = xr.open_datatree(tmp_path, engine="datapack")
    assert sorted(tree["c"].children) == sorted(["a%2Fb", "a", "a~2", "%2E.", "x.json", "é ü"])
    assert tree["c/a%2Fb"].attrs["name"] == "a/b"


def test_what_should_be_data_and_is_not_is_told(session: Session, tmp_path: Path) -> None:
    (tmp_path / "ragged.json").write_text("[[1, 2, 3], [1, 2]]")
    (tmp_path / "text.txt").write_text("hello, you\nthis is a note\n")
    children = [
        node("broken", "ragged.json", "3-axis accelerometer"),
        node("gone", "gone.json", "orientation"),
        node("note", "text.txt"),
        node("note of a type", "text.txt", "orientation"),
    ]
    (tmp_path / "datapack.json").write_text(dump(Document.create("p", children)))
    with pytest.warns(DataWarning) as told:
        tree = xr.open_datatree(tmp_path, engine="datapack")
    assert tree.attrs["other_files"] == ["broken", "gone", "note", "note of a type"]
    messages = sorted(str(one.message) for one in told)
    assert len(messages) == 3
    assert "broken" in messages[0]
    assert "row 2 has 2 values" in messages[0]
    assert "gone" in messages[1]
    assert "note of a type" in messages[2]


def test_messages_name_the_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.json").write_text('[[1.5], "oops"]')
    (tmp_path / "datapack.json").write_text(dump(Document.create("p", [DataNode.create("x", "x.json")])))
    document = tmp_path / "datapack.json"
    message = re.escape(f"datapack://x::file://{document}: ")
    by_path = DatapackFileSystem("datapack.json", target_protocol="file")
    for name in (f"datapack://x::file://{document}", fsspec.core.OpenFile(by_path, "x")):
        with pytest.raises(InvalidDatapackError, match=message):
            xr.open_dataset(name, engine="datapack")
    with pytest.warns(DataWarning, match=message):
        xr.open_datatree(str(tmp_path), engine="datapack")


# Datatypes


def test_datatypes_from_meta_folder_url_and_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    identifier = str(uuid.uuid4())
    axes = [{"label": "time", "units": "ms", "resolution": 2}]
    lattice = {
        "primary_dimensions": axes,
        "secondary_dimensions": [{"label": "skin temperature", "units": "K", "type": "integer"}],
        "channels": [{"label": "left"}, {"label": "left"}],
    }
    document = {"datatypeID": identifier, "name": "thermometer", "datatype": {"lattice": lattice}}
    (tmp_path / "t.json").write_text("[[1, 2], [3, 4]]")
    own = DataNode.create("own", "t.json", datatype=identifier, meta={"datatype": document, "start": -1})
    other = DataNode.create("other", "t.json", datatype=identifier)
    (tmp_path / "datapack.json").write_text(dump(Document.create("p", [own, other])))
    url = f"datapack://%s::file://{tmp_path}/datapack.json"

    with pytest.warns(UserWarning, match="'left' of channel 2 is there more than once"):
        data = xr.open_dataset(url % "own", engine="datapack")
    assert data.skin_temperature.attrs == {
        "long_name": "skin temperature",
        "units": "K",
        "sampling_rate": 2000,
    }
    assert data.time.values.tolist() == [-1.0, -0.9995]
    assert data.channel.values.tolist() == ["left", "left 2"]
    with pytest.warns(DataWarning, match=f"other.*unknown datatype .*{identifier}.*.*datatypes="):
        assert xr.open_dataset(url % "other", engine="datapack").value.dims == ("sample", "channel")

    types = tmp_path / "types"
    types.mkdir()
    lattice["channels"] = [{"label": "left"}, {"label": "right"}]
    (types / "thermometer.json").write_text(json.dumps(document))
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/types/thermometer.json", (types / "thermometer.json").read_bytes())
    try:
        known = KNOWN.extended_by_folder(types)
        for datatypes in (types, str(types), "memory://types", "memory://types/thermometer.json", known):
            data = opened(url % "other", datatypes=datatypes)
            assert data.channel.values.tolist() == ["left", "right"]
    finally:
        memory.rm("/types", recursive=True)
    monkeypatch.setenv("RINOFS_DATATYPES", str(types))
    assert opened(url % "other").attrs["datatype_name"] == "thermometer"


def test_a_second_quantity_is_told_of(tmp_path: Path) -> None:
    lattice = {
        "primary_dimensions": [{"label": "time", "units": "seconds", "resolution": 10}],
        "secondary_dimensions": [
            {"label": "force", "units": "N", "type": "float"},
            {"label": "torque", "units": "N m", "type": "float"},
        ],
        "channels": [{"label": "left"}, {"label": "right"}],
    }
    datatype = {"datatypeID": "x", "name": "pedal", "datatype": {"lattice": lattice}}
    (tmp_path / "pedal.json").write_text("[[1, 2], [3, 4]]")
    with pytest.warns(DataWarning, match=r"pedal\.json: .*all values are read as 'force', none as 'torque'"):
        data = xr.open_dataset(tmp_path / "pedal.json", engine="datapack", datatype=datatype)
    assert list(data.data_vars) == ["force"]
    assert data.force.attrs["units"] == "N"
    (tmp_path / "both.json").write_text("[[1, 2, 3, 4]]")
    with pytest.raises(InvalidDatapackError, match=r"the file has 4 columns, but .*'pedal' has 2"):
        xr.open_dataset(tmp_path / "both.json", engine="datapack", datatype=datatype)


def test_dimensions_between_time_and_channel(tmp_path: Path) -> None:
    lattice: dict[str, Any] = {
        "primary_dimensions": [
            {"label": "time", "units": "seconds", "resolution": 100},
            {"label": "frequency", "units": "Hz", "resolution": 0.1},
        ],
        "secondary_dimensions": [{"label": "power", "units": "dB", "type": "float"}],
        "channels": [{"label": "M"}],
    }
    datatype = {"datatypeID": "x", "name": "spectrogram", "datatype": {"lattice": lattice}}
    values = np.arange(12.0).reshape(4, 3)
    np.save(tmp_path / "flat.npy", values)
    np.save(tmp_path / "deep.npy", values[:, :, None])
    np.save(tmp_path / "fortran.npy", np.asfortranarray(values[:, :, None]))
    for name in ("flat", "deep", "fortran"):
        data = opened(tmp_path / f"{name}.npy", datatype=datatype)
        assert data.power.dims == ("time", "frequency", "channel")
        assert data.frequency.values.tolist() == [0.0, 10.0, 20.0]
        np.testing.assert_array_equal(data.power[1:3, :, 0], values[1:3])
    np.save(tmp_path / "line.npy", np.arange(4.0))
    lattice["channels"] = [{"label": "L"}, {"label": "R"}]
    with pytest.raises(InvalidDatapackError, match="does not fit the dimensions time, frequency"):
        opened(tmp_path / "line.npy", datatype=datatype)
