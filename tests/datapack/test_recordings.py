"""EDF, BDF, XDF and HDF5: what was recorded, with its times, units and labels."""

from __future__ import annotations

import datetime as dt
import pickle
import struct
import sys
import warnings
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import edfio
import h5py
import numpy as np
import pytest
import pyxdf
import xarray as xr

from rinofs.datapack import DataNode, Document, dump
from rinofs.datapack.datatypes.labels import seconds_per
from rinofs.datapack.document.messages import DataWarning
from rinofs.datapack.formats.handles import FileHandle
from rinofs.datapack.formats.laboratory import edf
from rinofs.errors import InvalidDatapackError, InvalidOptionError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def opened(path: Path, **options: Any) -> xr.Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return xr.open_dataset(path, engine="datapack", **options)


def tree_of(folder: Path, *files: str) -> xr.DataTree:
    """Return the tree of a datapack of these files."""
    nodes = [DataNode.create(name.partition(".")[0], name) for name in files]
    (folder / "datapack.json").write_text(dump(Document.create("lab", nodes)))
    return xr.open_datatree(folder, engine="datapack")


def signals(kind: Any, rates: Sequence[tuple[str, float, str]], seconds: int = 10) -> list[Any]:
    rng = np.random.default_rng(4)
    limits = (-500.0, 500.0)
    return [
        kind(
            rng.uniform(-400, 400, int(rate * seconds)),
            rate,
            label=label,
            physical_dimension=unit,
            physical_range=limits,
        )
        for label, rate, unit in rates
    ]


EEG = [("EEG Fp1", 128, "uV"), ("EEG Fp2", 128, "uV")]
MIXED = [*EEG, ("SaO2", 1, "%"), ("Resp", 32, "uV")]


@pytest.mark.parametrize("suffix", ["edf", "bdf"])
def test_edf_of_one_rate(suffix: str, tmp_path: Path) -> None:
    kind, file = (edfio.EdfSignal, edfio.Edf) if suffix == "edf" else (edfio.BdfSignal, edfio.Bdf)
    made = file(signals(kind, EEG), recording=edfio.Recording(startdate=dt.date(2024, 5, 6)))
    path = tmp_path / f"a.{suffix}"
    made.write(path)
    reference = (edfio.read_edf if suffix == "edf" else edfio.read_bdf)(path)
    found = opened(path)
    [variable] = found.data_vars.values()
    assert variable.dims == ("time", "channel")
    assert variable.shape == (1280, 2)
    assert variable.attrs["units"] == "uV"
    assert variable.attrs["sampling_rate"] == 128
    assert variable.channel.values.tolist() == ["EEG Fp1", "EEG Fp2"]
    assert found.time[-1] == 1279 / 128
    assert found.attrs["start_time"] == "2024-05-06T00:00:00"
    for number, signal in enumerate(reference.signals):
        np.testing.assert_allclose(variable[:, number], signal.data, rtol=1e-12)
    whole = variable.values
    for part in (slice(0, 1), slice(127, 129), slice(300, 700), slice(1279, 1280), slice(5, 900, 7)):
        np.testing.assert_array_equal(variable[part], whole[part])
    again = pickle.loads(pickle.dumps(variable))
    np.testing.assert_array_equal(again[100:200], whole[100:200])
    np.testing.assert_array_equal(opened(path, chunks={"time": 100}).to_array()[0], whole)


def test_edf_of_several_rates_and_units(tmp_path: Path) -> None:
    path = tmp_path / "night.edf"
    notes = [edfio.EdfAnnotation(1.5, 2.25, "spindle"), edfio.EdfAnnotation(7, None, "lights on")]
    edfio.Edf(signals(edfio.EdfSignal, MIXED), annotations=notes).write(path)
    reference = {signal.label: signal for signal in edfio.read_edf(path).signals}
    found = opened(path)
    assert {name: variable.attrs.get("units") for name, variable in found.data_vars.items()} == {
        "EEG": "uV",
        "SaO2": "%",
        "Resp": "uV",
        "onset_time": "s",
        "offset_time": "s",
        "text": None,
    }
    for name, rate in (("EEG", 128), ("SaO2", 1), ("Resp", 32)):
        variable = found[name]
        assert variable.attrs["sampling_rate"] == rate
        times, channels = (variable[dim] for dim in variable.dims)
        assert times[-1] == (10 * rate - 1) / rate
        for number, label in enumerate(channels.values):
            np.testing.assert_allclose(variable[:, number], reference[str(label)].data, rtol=1e-12)
    assert found.onset_time.values.tolist() == [1.5, 7]
    assert found.offset_time.values.tolist() == [3.75, 7]
    assert found.text.values.tolist() == ["spindle", "lights on"]

    tree = tree_of(tmp_path, "night.edf")
    assert sorted(group.path for group in tree.leaves) == [
        "/night/EEG",
        "/night/Resp",
        "/night/SaO2",
        "/night/annotations",
    ]
    assert tree["night/SaO2"].dataset["value"].attrs["units"] == "%"
    assert tree["night/SaO2"].dataset.time.values.tolist() == list(range(10))
    assert tree["night/annotations"].dataset.text.values.tolist() == ["spindle", "lights on"]


@pytest.mark.parametrize("most", [16 * 1024 * 1024, 1000])
def test_the_fraction_of_a_second_at_which_edf_began(
    tmp_path: Path, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edf, "_ANNOTATED", most)  # bytes up to which annotations are read
    notes = [edfio.EdfAnnotation(1.5, None, "a")]
    made = edfio.Edf(signals(edfio.EdfSignal, EEG), starttime=dt.time(7, 0, 5, 250_000), annotations=notes)
    made.write(tmp_path / "a.edf")
    with ExitStack() as stack:
        if most == 1000:
            stack.enter_context(pytest.warns(DataWarning, match="spread over a large file"))
        found = xr.open_dataset(tmp_path / "a.edf", engine="datapack")
    np.testing.assert_allclose(found.time[[0, -1]], [0.25, 0.25 + 1279 / 128])


def test_edf_with_gaps(tmp_path: Path) -> None:
    path = tmp_path / "gaps.edf"
    notes = [edfio.EdfAnnotation(0.5, None, "a")]
    edfio.Edf(signals(edfio.EdfSignal, EEG, 3), annotations=notes).write(path)
    data = bytearray(path.read_bytes())
    data[192:197] = b"EDF+D"
    # The third record begins at 10 s: its first annotation list is the one of time.
    at = data.index(b"+2\x14\x14\0")
    data[at : at + 5] = b"+10\x14\x14"
    path.write_bytes(data)
    found = opened(path)
    assert found.time.values[:2].tolist() == [0, 1 / 128]
    assert found.time.values[256] == 10
    assert found.sizes["time"] == 384
    assert found.EEG.sel(time=slice(10, 10.5)).sizes["time"] == 65


def test_recordings_of_a_tree_are_on_one_axis_with_their_annotations(tmp_path: Path) -> None:
    for number, name in enumerate(("first", "second")):
        file = edfio.Edf(
            signals(edfio.EdfSignal, MIXED),
            recording=edfio.Recording(startdate=dt.date(2024, 5, 6)),
            starttime=dt.time(7, 0, 5 * number),
            annotations=[edfio.EdfAnnotation(1.5, 1, "spindle")],
        )
        file.write(tmp_path / f"{name}.edf")
    tree = tree_of(tmp_path, "first.edf", "second.edf")
    assert tree.attrs["start_time"] == "2024-05-06T07:00:00Z"
    for later, name in ((0, "first"), (5, "second")):
        for stream in ("EEG", "SaO2", "Resp"):
            assert float(tree[f"{name}/{stream}"].dataset.time[0]) == later
        assert tree[f"{name}/annotations"].dataset.onset_time.values.tolist() == [1.5 + later]
        assert tree[f"{name}/annotations"].dataset.offset_time.values.tolist() == [2.5 + later]
    stamps = "".join(f"{1714978810 + row / 10:.1f},{row}\n" for row in range(20))
    (tmp_path / "hr.csv").write_text("timestamp,hr\n" + stamps)
    with pytest.warns(DataWarning, match="begin at a time without a zone .*taken for UTC"):
        tree = tree_of(tmp_path, "first.edf", "hr.csv")
    assert float(tree["hr"].dataset.time[0]) == 10


@pytest.mark.parametrize("name", ["night.edf", "NIGHT.EDF", "gaps.edf"])
def test_a_single_file_opens_as_a_tree(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    notes = [edfio.EdfAnnotation(1.5, 2.25, "spindle")]
    edfio.Edf(signals(edfio.EdfSignal, MIXED), annotations=notes).write(path)
    for where in (path, str(path), f"file://{path}"):
        tree = xr.open_datatree(where, engine="datapack")
        assert sorted(group.path for group in tree.leaves) == ["/EEG", "/Resp", "/SaO2", "/annotations"]
        assert tree["EEG"].dataset.sizes == {"time": 1280, "channel": 2}
    assert set(xr.open_groups(path, engine="datapack")) == {"/", "/EEG", "/Resp", "/SaO2", "/annotations"}


def test_other_single_files_open_as_trees(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"], file["g/y"] = np.arange(4.0), np.arange(5.0)
    assert sorted(g.path for g in xr.open_datatree(tmp_path / "a.h5", engine="datapack").leaves) == [
        "/g/y",
        "/x",
    ]
    eeg = {"name": "Amp", "rate": 250, "format": "float32", "times": [1.0, 1.004], "rows": [[1.0], [2.0]]}
    (tmp_path / "a.xdf").write_bytes(xdf(eeg))
    assert xr.open_datatree(tmp_path / "a.xdf", engine="datapack").dataset.sizes["time"] == 2
    with pytest.raises(FileNotFoundError, match="nowhere"):
        xr.open_datatree(tmp_path / "nowhere.edf", engine="datapack")


def test_edf_is_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "long.bdf"
    edfio.Bdf(signals(edfio.BdfSignal, EEG, 600)).write(path)
    read: list[int] = []
    original = FileHandle.read_into

    def counted(self: FileHandle, start: int, target: memoryview) -> int:
        read.append(len(target))
        return original(self, start, target)

    monkeypatch.setattr(FileHandle, "read_into", counted)
    found = opened(path)
    assert not read
    [variable] = found.data_vars.values()
    variable[1000:1100].load()
    assert sum(read) <= 2 * 2 * 128 * 3


def test_edf_that_ends_early(tmp_path: Path) -> None:
    path = tmp_path / "cut.edf"
    edfio.Edf(signals(edfio.EdfSignal, EEG)).write(path)
    path.write_bytes(path.read_bytes()[:-700])
    with pytest.warns(DataWarning, match="ends early: 2 of 10 data records are missing"):
        found = xr.open_dataset(path, engine="datapack")
    assert found.sizes["time"] == 8 * 128
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(InvalidDatapackError, match=r"cut\.edf: cannot read the header of this EDF file"):
        xr.open_dataset(path, engine="datapack")


@pytest.mark.parametrize("place", [236, 244, 256 + 2 * 104, 256 + 2 * 112 + 8, 256 + 2 * 216])
def test_numbers_of_edf_that_python_alone_reads(tmp_path: Path, place: int) -> None:
    path = tmp_path / "a.edf"
    edfio.Edf(signals(edfio.EdfSignal, EEG)).write(path)
    data = bytearray(path.read_bytes())
    data[place : place + 8] = b"1_0".ljust(8)
    path.write_bytes(data)
    with pytest.raises(InvalidDatapackError, match=r"a\.edf: cannot read the header .*1_0.* is not a number"):
        xr.open_dataset(path, engine="datapack")


@pytest.mark.parametrize("suffix", ["edf", "bdf"])
def test_a_channel_without_a_scale(suffix: str, tmp_path: Path) -> None:
    """Recorders give unused channels the same digital minimum and maximum."""
    kind, file = (edfio.EdfSignal, edfio.Edf) if suffix == "edf" else (edfio.BdfSignal, edfio.Bdf)
    path = tmp_path / f"flat.{suffix}"
    file(signals(kind, EEG)).write(path)
    reference = opened(path).to_dataarray()[0, :, 0]
    data = bytearray(path.read_bytes())
    for field in (120, 128):  # digital minimum and maximum follow 120 and 128 bytes of each signal
        data[256 + 2 * field + 8 : 256 + 2 * field + 16] = b"0".ljust(8)
    path.write_bytes(data)
    (tmp_path / "hr.csv").write_text("1\n2\n")
    with pytest.warns(DataWarning, match=r"\['EEG Fp2'\] are read as NaN"):
        tree = tree_of(tmp_path, path.name, "hr.csv")
    np.testing.assert_array_equal(tree["flat"].to_dataset().to_dataarray()[0, :, 0], reference)
    assert np.isnan(tree["flat"].to_dataset().to_dataarray()[0, :, 1]).all()
    assert tree["hr"].value.shape == (2, 1)


def test_a_table_that_begins_as_edf_does(tmp_path: Path) -> None:
    rows = [f"{number:<8}{number * 1000000:<12}" for number in range(100)]
    (tmp_path / "a.txt").write_text("\n".join(rows))
    assert opened(tmp_path / "a.txt").value.shape == (100, 2)


def chunk(tag: int, content: bytes) -> bytes:
    return b"\x04" + struct.pack("<IH", len(content) + 2, tag) + content


def xdf(*streams: dict[str, Any]) -> bytes:
    """Return an XDF file, as https://github.com/sccn/xdf/wiki/Specifications defines it."""
    made = b"XDF:" + chunk(
        1, b"<?xml version='1.0'?><info><version>1.0</version><datetime>2024-05-06T07:08:09</datetime></info>"
    )
    for number, stream in enumerate(streams, 1):
        channels = "".join(
            f"<channel><label>{label}</label><unit>{unit}</unit></channel>"
            for label, unit in stream.get("channels", [])
        )
        count = len(stream["rows"][0])
        info = (
            f"<info><name>{stream['name']}</name><type>{stream.get('type', 'EEG')}</type>"
            f"<channel_count>{count}</channel_count><nominal_srate>{stream['rate']}</nominal_srate>"
            f"<channel_format>{stream['format']}</channel_format>"
            f"<desc><channels>{channels}</channels></desc></info>"
        )
        made += chunk(2, struct.pack("<I", number) + info.encode())
        rows = b""
        for time, row in zip(stream["times"], stream["rows"], strict=True):
            rows += b"\x08" + struct.pack("<d", time)
            if stream["format"] == "string":
                rows += b"".join(b"\x01" + bytes([len(text)]) + text.encode() for text in row)
            else:
                rows += struct.pack({"float32": "<%df", "int32": "<%di"}[stream["format"]] % count, *row)
        made += chunk(3, struct.pack("<IB", number, 4) + struct.pack("<I", len(stream["times"])) + rows)
        made += chunk(6, struct.pack("<I", number) + b"<info></info>")
    return made


def test_xdf(tmp_path: Path) -> None:
    path = tmp_path / "lsl.xdf"
    times = 5000 + np.arange(500) / 250
    rows = np.random.default_rng(1).normal(size=(500, 2)).astype(np.float32)
    eeg = {
        "name": "Amp",
        "rate": 250,
        "format": "float32",
        "times": times,
        "rows": rows.tolist(),
        "channels": [("C3", "microvolts"), ("C4", "microvolts")],
    }
    markers = {
        "name": "Stimuli",
        "type": "Markers",
        "rate": 0,
        "format": "string",
        "times": [5000.25, 5001.5],
        "rows": [["go"], ["stop"]],
    }
    pupil = {
        "name": "Pupil",
        "rate": 0,
        "format": "int32",
        "times": [5000.1, 5000.7, 5001.9],
        "rows": [[3], [4], [5]],
    }
    path.write_bytes(xdf(eeg, markers, pupil))
    reference = {each["info"]["name"][0]: each for each in pyxdf.load_xdf(path)[0]}
    found = opened(path)
    assert found.attrs["start_time"] == "2024-05-06T07:08:09"
    assert found.Amp.attrs["units"] == "microvolts"
    assert found.Amp.attrs["sampling_rate"] == 250
    np.testing.assert_array_equal(found.Amp, reference["Amp"]["time_series"])
    np.testing.assert_allclose(found[found.Amp.dims[0]], reference["Amp"]["time_stamps"], atol=1e-6)
    assert found[found.Amp.dims[1]].values.tolist() == ["C3", "C4"]
    assert found[found.Pupil.dims[0]].values.tolist() == [5000.1, 5000.7, 5001.9]
    assert found.Pupil.values.tolist() == [[3], [4], [5]]
    assert found.onset_time.values.tolist() == [5000.25, 5001.5]
    assert found.text.values.tolist() == ["go", "stop"]

    tree = tree_of(tmp_path, "lsl.xdf")
    assert sorted(group.path for group in tree.leaves) == ["/lsl/Amp", "/lsl/Pupil", "/lsl/Stimuli"]
    assert tree["lsl/Amp"].dataset.sel(time=5001.0, channel="C4").value == rows[250, 1]

    path.write_bytes(xdf(eeg))
    alone = opened(path, start=-5000)
    assert alone.sizes == {"time": 500, "channel": 2}
    assert alone.time[1] == pytest.approx(0.004)
    assert alone.attrs["name"] == "Amp"


def test_hdf5_arrays(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    force = np.random.default_rng(2).normal(size=(4000, 3))
    with h5py.File(path, "w") as file:
        file.attrs["Sampling Rate"] = 1000
        made = file.create_dataset("plate/force", data=force, chunks=(100, 3), compression="gzip")
        made.attrs["units"] = "N"
        made.attrs["labels"] = ["Fx", "Fy", "Fz"]
        file["eye/gaze"] = np.arange(6).reshape(3, 2)
        file["eye/time"] = [0.5, 0.75, 2.0]
        file["comment"] = "a text is no stream"
    found = opened(path)
    assert set(found.data_vars) == {"force", "gaze"}
    assert found.force.attrs["units"] == "N"
    assert found.force.attrs["sampling_rate"] == 1000
    np.testing.assert_array_equal(found.force, force)
    np.testing.assert_array_equal(found.force[100:3000:3], force[100:3000:3])
    tree = tree_of(tmp_path, "a.h5")
    assert sorted(group.path for group in tree.leaves) == ["/a/eye/gaze", "/a/plate/force"]
    plate = tree["a/plate/force"].dataset
    assert plate.channel.values.tolist() == ["Fx", "Fy", "Fz"]
    assert plate.time[-1] == 3.999
    assert tree["a/eye/gaze"].dataset.time.values.tolist() == [0.5, 0.75, 2.0]
    np.testing.assert_array_equal(opened(path, chunks={}).force, force)
    with pytest.raises(InvalidOptionError, match=r"channels= and datatype= apply to a single stream.*force"):
        opened(path, channels=["a"])


def test_hdf5_of_one_array(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "one.h5", "w") as file:
        file["x"] = np.arange(10, dtype=">i2")
    found = opened(tmp_path / "one.h5", rate=10, channels=["x"])
    assert found.value.values[:, 0].tolist() == list(range(10))
    assert found.time[-1] == 0.9


def test_a_rate_of_xdf_that_python_alone_reads(tmp_path: Path) -> None:
    amp = {"name": "Amp", "rate": "1_0", "format": "int32", "times": [1.0, 1.1], "rows": [[3], [4]]}
    (tmp_path / "a.xdf").write_bytes(xdf(amp))
    with pytest.raises(InvalidDatapackError, match=r"a\.xdf: .*nominal_srate '1_0' is not a number"):
        xr.open_dataset(tmp_path / "a.xdf", engine="datapack")


def timed(path: Path, times: Any, **attrs: Any) -> Path:
    """Write an array and its times."""
    with h5py.File(path, "w") as file:
        file["x"] = np.arange(len(times)) / 2
        file["time"] = np.asarray(times)
        file["time"].attrs.update(attrs)
    return path


@pytest.mark.parametrize("unit", [None, "s", "Seconds", "ms", b"milliseconds", "us", "ns", "min", "h"])
@pytest.mark.parametrize("first", [0, -7, 3])
def test_hdf5_times_are_in_their_unit(tmp_path: Path, unit: Any, first: int) -> None:
    word = unit.decode() if isinstance(unit, bytes) else unit or "s"
    factor = seconds_per(word)
    assert factor is not None
    seconds = first + np.array([0, 0.007, 0.5, 2])
    found = opened(timed(tmp_path / "a.h5", seconds / factor, **{"units": unit} if unit else {}))
    assert found.value.dims == ("time", "channel")
    np.testing.assert_allclose(found.time, seconds, rtol=1e-12)
    assert found.time.attrs["units"] == "s"


def test_hdf5_times_in_an_unknown_unit_are_told_of(tmp_path: Path) -> None:
    path = timed(tmp_path / "a.h5", [0, 5, 9], unit="ticks")
    with pytest.warns(DataWarning, match=r"a\.h5: the times in 'time' are in 'ticks', .*not known"):
        found = xr.open_dataset(path, engine="datapack")
    assert found.time.values.tolist() == [0, 5, 9]


@pytest.mark.parametrize("times", [[], [3.5], [0, 0.1, 0.1, 0.2], [0, 0, 1], [0, 1, 1], [-2, -1, 0]])
def test_hdf5_times_may_repeat(tmp_path: Path, times: list[float]) -> None:
    found = opened(timed(tmp_path / "a.h5", np.array(times, float)))
    assert found.value.dims == ("time", "channel")
    assert found.time.values.tolist() == times


@pytest.mark.parametrize("times", [[0, 2, 1], [1, 1, 1], [0, np.nan, 2], [0, 1, np.inf]])
def test_hdf5_times_that_go_back_are_told_of(tmp_path: Path, times: list[float]) -> None:
    with pytest.warns(DataWarning, match=r"a\.h5: the array 'time' is named as times but does not increase"):
        found = xr.open_dataset(timed(tmp_path / "a.h5", times), engine="datapack")
    assert sorted(map(str, found.data_vars)) == ["time", "x"]


@pytest.mark.parametrize(
    ("start", "first"),
    [
        *((number, number) for number in (-2.0, -3, 0, 1.5, np.float32(-0.5))),
        *(("-2.5", -2.5), (b"7", 7), (np.nan, 0), (np.inf, 0), ("1_0", 0), ("٣", 0), ("soon", 0)),
    ],
)
def test_hdf5_streams_start_at_any_time(tmp_path: Path, start: Any, first: float) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = np.arange(4.0)
        file["x"].attrs.update(sampling_rate=10, start=start)
    np.testing.assert_allclose(opened(tmp_path / "a.h5").time, first + np.arange(4) / 10, atol=1e-15)


def test_opensignals(tmp_path: Path) -> None:
    path = tmp_path / "opensignals.h5"
    raw = np.random.default_rng(3).integers(0, 1024, (2000, 2)).astype(np.uint16)
    with h5py.File(path, "w") as file:
        group = file.create_group("00:07:80:3B:46:61")
        about = {"sampling rate": 1000, "macaddress": "00:07:80:3B:46:61", "device": "bitalino"}
        group.attrs.update({**about, "date": "2017-01-17", "time": "14:09:21.0", "channels": [1, 10]})
        group["raw/channel_10"] = raw[:, 1:]
        group["raw/channel_1"] = raw[:, :1]
        group["raw/nSeq"] = np.arange(2000)[:, None]
        group["digital/digital_1"] = np.zeros((2000, 1), np.uint8)
        group["support/level_10/channel_1/mean"] = np.zeros((200, 1))
    found = opened(path)
    assert set(found.data_vars) == {"raw", "digital"}
    np.testing.assert_array_equal(found.raw, raw)
    np.testing.assert_array_equal(found.raw[500:700], raw[500:700])
    assert found.raw.attrs["sampling_rate"] == 1000
    assert found[found.raw.dims[1]].values.tolist() == ["channel_1", "channel_10"]
    assert found.attrs["start_time"] == "2017-01-17T14:09:21.0"
    assert found.time[-1] == 1.999


def test_what_of_hdf5_is_not_read(tmp_path: Path) -> None:
    xr.Dataset({"x": ("t", [1.0])}).to_netcdf(tmp_path / "a.h5", engine="h5netcdf")
    with pytest.raises(InvalidDatapackError, match="NetCDF; open it with engine='h5netcdf'"):
        opened(tmp_path / "a.h5")
    secret = tmp_path / "secret.bin"
    secret.write_bytes(np.arange(8.0).tobytes())
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["elsewhere"] = h5py.ExternalLink(str(tmp_path / "a.h5"), "/x")
        file.create_dataset("outside", (8,), "f8", external=[(str(secret), 0, 64)])
    with pytest.raises(InvalidDatapackError, match="has no arrays of numbers"):
        opened(tmp_path / "b.h5")
    (tmp_path / "c.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(600))
    with pytest.raises(InvalidDatapackError, match=r"c\.h5: cannot read this HDF5 file"):
        opened(tmp_path / "c.h5")


@pytest.mark.parametrize(("library", "suffix"), [("edfio", "edf"), ("pyxdf", "xdf"), ("h5py", "h5")])
def test_without_the_libraries(
    library: str, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"a.{suffix}"
    edfio.Edf(signals(edfio.EdfSignal, EEG)).write(path)
    if suffix != "edf":
        path.write_bytes({"xdf": b"XDF:", "h5": b"\x89HDF\r\n\x1a\n"}[suffix])
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match=r"pip install 'rinofs\[formats\]'"):
        opened(path)
    (tmp_path / "b.csv").write_text("x,y\n1,2\n3,4\n")
    with pytest.warns(DataWarning, match=r"skipped: .*pip install 'rinofs\[formats\]'"):
        tree = tree_of(tmp_path, f"a.{suffix}", "b.csv")
    assert [group.path for group in tree.leaves] == ["/b"]
    assert tree.attrs["other_files"] == ["a"]
