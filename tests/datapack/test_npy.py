"""``.npy`` files of all versions, orders and types; numpy is the reference."""

from __future__ import annotations

import io
import pickle
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr

from rinofs.datapack.document.messages import DataWarning
from rinofs.datapack.formats import npy
from rinofs.errors import InvalidDatapackError

if TYPE_CHECKING:
    from numpy.typing import NDArray

FIELD = Path(__file__).parent / "field"


def written(array: NDArray[Any], version: tuple[int, int] | None = None) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy warns of versions that old programs cannot read
        np.lib.format.write_array(file, array, version=version)
    return file.getvalue()


def opened(path: Path, **options: Any) -> xr.DataArray:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        [variable] = xr.open_dataset(path, engine="datapack", **options).data_vars.values()
    return variable


def plain() -> dict[str, tuple[NDArray[Any], tuple[int, int]]]:
    rng = np.random.default_rng(1)
    found = {}
    for dtype in ("<f8", ">f8", "<f4", ">i2", "<i8", "|u1", "|b1", ">u4", "<f2"):
        values = (rng.normal(size=(300, 3)) * 100).astype(dtype)
        for version in ((1, 0), (2, 0), (3, 0)):
            for order in "CF":
                name = f"{dtype[1:]} {'big' if dtype[0] == '>' else 'little'} {version[0]} {order}"
                found[name] = np.asarray(values, order=order), version  # type: ignore[call-overload]
    found["one dimension"] = np.arange(50, dtype=">i4"), (1, 0)
    found["empty"] = np.zeros((0, 3)), (1, 0)
    return found


PLAIN = plain()

STRUCTURES: dict[str, list[Any]] = {
    "floats": [("t", "<f8"), ("x", "<f8")],
    "mixed": [("count", "<i4"), ("x", ">f4"), ("on", "?")],
    "integers": [("a", "<i8"), ("b", "|u1")],
    "long": [("name of a field that goes on " * 5 + str(number), "<f8") for number in range(60)],
    "vectors": [("t", "<f8"), ("acc", "<f4", (3,)), ("m", "<f4", (2, 2))],
    "not ascii": [("größe", "<f8"), ("温度", ">f8")],
}


def test_there_are_many() -> None:
    assert len(PLAIN) + len(STRUCTURES) >= 40


@pytest.mark.parametrize("name", PLAIN)
def test_arrays(name: str, tmp_path: Path) -> None:
    array, version = PLAIN[name]
    path = tmp_path / "a.npy"
    path.write_bytes(written(array, version))
    found = opened(path)
    reference = np.load(path, allow_pickle=False)
    reference = reference[:, None] if reference.ndim == 1 else reference
    assert found.dtype == reference.dtype.newbyteorder("=")
    np.testing.assert_array_equal(found.values, reference)
    np.testing.assert_array_equal(found[10:250:7].values, reference[10:250:7])


@pytest.mark.parametrize("name", STRUCTURES)
@pytest.mark.parametrize("version", [None, (3, 0)])
def test_structured_arrays(name: str, version: tuple[int, int] | None, tmp_path: Path) -> None:
    dtype = np.dtype(STRUCTURES[name])
    array = np.zeros(20, dtype)
    for field in dtype.names or ():
        array[field] = (np.arange(array[field].size) % 100).reshape(array[field].shape)
    path = tmp_path / "a.npy"
    path.write_bytes(written(array, version))
    found = opened(path, time_column=False)
    reference = np.load(path, allow_pickle=False)
    columns = np.concatenate([reference[field].reshape(20, -1) for field in dtype.names or ()], axis=1)
    np.testing.assert_array_equal(found.values, columns)
    np.testing.assert_array_equal(found[5:9].values, columns[5:9])
    if name == "vectors":
        assert found.channel.values.tolist()[:5] == ["t", "acc 1", "acc 2", "acc 3", "m 1"]
    else:
        assert found.channel.values.tolist() == list(dtype.names or ())


def test_files_from_the_field() -> None:
    fields = opened(FIELD / "fields.npy", time_column=False)
    assert fields.channel.values.tolist() == ["t", "x", "y"]
    assert fields.values.tolist() == [[0, 1.5, 2.5], [0.1, 3.5, 4.5]]
    with pytest.warns(DataWarning, match="column 't' is used as the time axis, at 10 Hz"):
        timed = xr.open_dataset(FIELD / "fields.npy", engine="datapack")
    assert timed.value.values.tolist() == [[1.5, 2.5], [3.5, 4.5]]
    assert timed.time.values.tolist() == [0, 0.1]
    assert opened(FIELD / "version_3.npy").values.tolist() == [[0, 0.5], [1, 1.5], [2, 2.5]]


def test_integers_that_lose_digits(tmp_path: Path) -> None:
    array = np.array([(1700000000000000001, 0.5)], [("stamp", "<i8"), ("x", "<f8")])
    np.save(tmp_path / "a.npy", array)
    with pytest.warns(DataWarning, match="integers beside floats of the field 'stamp'.*lose digits"):
        xr.open_dataset(tmp_path / "a.npy", engine="datapack")
    np.save(tmp_path / "b.npy", array.astype([("stamp", "<i8"), ("x", "<i8")]))
    assert int(opened(tmp_path / "b.npy")[0, 0]) == 1700000000000000001


@pytest.mark.parametrize("place", [0, 1, 500, 998, 999])
@pytest.mark.parametrize("number", [2**53 + 1, -(2**53) - 1, 2**63 - 1])
def test_integers_that_lose_digits_anywhere_are_told_of(tmp_path: Path, place: int, number: int) -> None:
    array = np.zeros(1000, [("x", "<f8"), ("n", "<i8")])
    array["n"][place] = number
    np.save(tmp_path / "a.npy", array)
    with pytest.warns(DataWarning, match=r"a\.npy: the integers beside floats of the field 'n'") as told:
        found = xr.open_dataset(tmp_path / "a.npy", engine="datapack").value[place].values
    assert found.tolist() == [0, float(number)]
    assert len(told) == 1
    exact = array.copy()
    exact["n"][place] = 2**53
    np.save(tmp_path / "b.npy", exact)
    assert opened(tmp_path / "b.npy")[place].values.tolist() == [0, 2**53]


@pytest.mark.parametrize(
    ("kind", "number", "exact"),
    [
        ("<i8", 2**53 + 2, True),
        (">i8", 2**62 + 2**10, True),
        (">i8", 2**62 + 1, False),
        ("<i8", 2**63 - 2**10, True),
        ("<i8", 2**63 - 1, False),
        ("<i8", -(2**63), True),
        ("<u8", 2**63, True),
        ("<u8", 2**64 - 2**11, True),
        (">u8", 2**64 - 1, False),
    ],
)
def test_integers_that_a_float_represents_are_not_told_of(
    tmp_path: Path, kind: str, number: int, *, exact: bool
) -> None:
    np.save(tmp_path / "a.npy", np.array([(0, 1), (0.5, number)], [("x", "<f8"), ("n", kind)]))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = xr.open_dataset(tmp_path / "a.npy", engine="datapack").value
        assert found.values.tolist() == [[0, 1], [0.5, float(number)]]
    assert [type(each.message) for each in told] == [DataWarning] * (not exact)


UNITS = ["Y", "M", "D", "h", "m", "s", "ms", "us", "ns", "ps", "fs", "as"]


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("missing", [0, 1, 2])
@pytest.mark.parametrize("other", ["f8", "i8", "?"])
def test_dates_that_are_missing_are_nan(tmp_path: Path, unit: str, missing: int, other: str) -> None:
    array = np.array([("1970-01-01", 1)] * 3, [("when", f"M8[{unit}]"), ("x", other)])
    array["when"][missing] = "NaT"
    np.save(tmp_path / "a.npy", array)
    with pytest.warns(DataWarning, match="'when' is labelled as a time but does not increase"):
        found = xr.open_dataset(tmp_path / "a.npy", engine="datapack").value
    expected = [[np.nan if row == missing else 0, 1] for row in range(3)]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("place", [None, 0, 500, 999])
@pytest.mark.parametrize("unit", ["s", "us", "ns"])
def test_dates_beside_integers_are_integers_unless_one_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: int | None, unit: str
) -> None:
    monkeypatch.setattr(npy, "_AT_ONCE", 1600)  # a hundred records
    array = np.zeros(1000, [("t", f"M8[{unit}]"), ("id", "<i8")])
    array["t"] = np.datetime64("2020-01-01", "s") + np.arange(1000)
    array["id"] = 2**53 + 1
    if place is not None:
        array["t"][place] = "NaT"
    np.save(tmp_path / "a.npy", array)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = xr.open_dataset(tmp_path / "a.npy", engine="datapack", time_column=False).value
        values = found.values
    assert found.dtype == values.dtype == (np.int64 if place is None else np.float64)
    expected = array["t"].astype("M8[ns]").astype(np.int64).astype(values.dtype)
    if place is not None:
        expected[place] = np.nan
    np.testing.assert_array_equal(values[:, 0], expected)
    np.testing.assert_array_equal(values[:, 1], array["id"].astype(values.dtype))
    assert sum("field 'id'" in str(each.message) for each in told) == len(told) == (place is not None)


def test_dates_that_are_the_time_axis_leave_integers_as_they_are(tmp_path: Path) -> None:
    array = np.zeros(3, [("t", "M8[s]"), ("id", "<i8")])
    array["t"] = np.datetime64("2020-01-01", "s") + np.arange(3)
    array["id"] = 2**53 + np.arange(3)
    np.save(tmp_path / "a.npy", array)
    with pytest.warns(DataWarning, match="'t' is used as the time axis") as told:
        found = xr.open_dataset(tmp_path / "a.npy", engine="datapack").value.load()
    assert found.values[:, 0].tolist() == [2**53, 2**53 + 1, 2**53 + 2]
    assert len(told) == 1


@pytest.mark.parametrize("missing", [False, True])
def test_dates_that_a_float_represents_are_not_told_of(tmp_path: Path, *, missing: bool) -> None:
    dates = np.array(["2020-01-01T00:00:01", "NaT" if missing else "1999-12-31", "1970-01-01"], "M8[s]")
    for name, shift in (("exact", 0), ("not", 1)):
        array = np.zeros(3, [("when", "M8[ns]"), ("x", "<f8")])
        array["when"] = dates.astype("M8[ns]") + shift
        np.save(tmp_path / f"{name}.npy", array)
    values = opened(tmp_path / "exact.npy", time_column=False).values[:, 0]
    np.testing.assert_array_equal(np.isnan(values), np.isnat(dates))
    assert values[[0, 2]].tolist() == [1_577_836_801e9, 0]
    with pytest.warns(DataWarning, match="dates of the field 'when' are read as float64, and lose digits"):
        xr.open_dataset(tmp_path / "not.npy", engine="datapack", time_column=False)


def test_dates_in_attoseconds(tmp_path: Path) -> None:
    array = np.zeros(4, [("when", "M8[as]"), ("x", "<f8")])
    array["when"] = (np.array([-3, 0, 1500, 9000]) * 10**15).astype("M8[as]")
    np.save(tmp_path / "a.npy", array)
    values = opened(tmp_path / "a.npy", time_column=False).values[:, 0]
    assert values.tolist() == [-3e6, 0, 1.5e9, 9e9]
    with pytest.warns(DataWarning, match="'when' is used as the time axis"):
        data = xr.open_dataset(tmp_path / "a.npy", engine="datapack")
    assert data.attrs["start_time"] == "1969-12-31T23:59:59.997Z"
    np.testing.assert_allclose(data.time, [0, 0.003, 1.503, 9.003])


@pytest.mark.parametrize("unit", ["Y", "M", "D", "s", "ms", "us"])
@pytest.mark.parametrize("year", ["0001", "0500", "1500", "1677", "2263", "2500", "9990"])
def test_dates_of_any_century(tmp_path: Path, unit: str, year: str) -> None:
    step = np.timedelta64(1, unit if unit in {"Y", "M", "D"} else "s")
    dates = (np.datetime64(year, unit) + np.arange(4) * step).astype(f"M8[{unit}]")
    array = np.zeros(4, [("when", dates.dtype), ("x", "f8")])
    array["when"] = dates
    np.save(tmp_path / "a.npy", array)
    with pytest.warns(DataWarning, match="'when' is used as the time axis"):
        data = xr.open_dataset(tmp_path / "a.npy", engine="datapack")
    assert data.attrs["start_time"] == f"{year}-01-01T00:00:00Z"
    seconds = dates.astype("M8[s]").astype(np.int64)
    np.testing.assert_allclose(data.time, seconds - seconds[0], atol=5e-5)
    with pytest.warns(DataWarning, match="dates of the field 'when' are read as float64, and lose digits"):
        kept = xr.open_dataset(tmp_path / "a.npy", engine="datapack", time_column=False).value[:, 0]
    np.testing.assert_allclose(kept, seconds * 1e9, rtol=1e-15)


@pytest.mark.parametrize("year", ["0001", "1500", "1677", "1990", "2263", "9990"])
@pytest.mark.parametrize(("step", "seconds"), [(1, 1e-6), (5, 5e-6), (1000, 1e-3), (86_400_000_000, 86_400)])
def test_dates_are_exact_as_the_time_axis(tmp_path: Path, year: str, step: int, seconds: float) -> None:
    array = np.zeros(50, [("when", "M8[us]"), ("x", "f8")])
    array["when"] = np.datetime64(year, "us") + np.arange(50) * np.timedelta64(step, "us")
    np.save(tmp_path / "a.npy", array)
    with pytest.warns(DataWarning, match="'when' is used as the time axis"):
        data = xr.open_dataset(tmp_path / "a.npy", engine="datapack")
    assert data.attrs["start_time"] == f"{year}-01-01T00:00:00Z"
    np.testing.assert_allclose(data.time, np.arange(50) * seconds, rtol=1e-12)
    assert data.value.attrs["sampling_rate"] == pytest.approx(1 / seconds, rel=1e-12)


@pytest.mark.parametrize("year", ["10000", "200000", "-0001"])
def test_dates_that_no_calendar_has_are_refused(tmp_path: Path, year: str) -> None:
    array = np.array([(year, 1), (year, 2)], [("when", "M8[s]"), ("x", "f8")])
    array["when"][1] += 1
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(InvalidDatapackError, match="'when' are not in the years 1 to 9999"):
        xr.open_dataset(tmp_path / "a.npy", engine="datapack")
    with pytest.warns(DataWarning, match="lose digits"):
        kept = xr.open_dataset(tmp_path / "a.npy", engine="datapack", time_column=False).value
    assert kept[1, 0] - kept[0, 0] == pytest.approx(1e9, rel=1e-3)


STEPS = np.arange(50) * np.timedelta64(10, "ms")
CLOCK = 1_700_000_000


@pytest.mark.parametrize(
    ("label", "times", "first", "began"),
    [
        ("t", 3 + np.arange(50) / 100, 3, None),
        ("Time_ms", 3000 + np.arange(50) * 10, 3, None),
        ("timestamp", CLOCK + np.arange(50) / 100, 0, "2023-11-14T22:13:20Z"),
        ("stamp", (CLOCK * 10**9 + 123_456_789) + np.arange(50) * 10**7, 0, "2023-11-14T22:13:20.123456789Z"),
        ("index", np.datetime64("2024-01-01", "ns") + STEPS, 0, "2024-01-01T00:00:00Z"),
        ("when", np.datetime64("1969-07-20", "ms") + STEPS, 0, "1969-07-20T00:00:00Z"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("even", [True, False])
def test_a_field_of_times_is_the_axis(
    tmp_path: Path, label: str, times: Any, first: float, began: str | None, even: bool
) -> None:
    chosen = np.arange(50) if even else np.r_[0:20, 30:50]
    array = np.zeros(len(chosen), [("x", "f4"), (label, times.dtype), ("y", "<i2")])
    array["x"], array[label], array["y"] = chosen / 4, times[chosen], chosen
    np.save(tmp_path / "a.npy", array)
    told = "at 100 Hz" if even else "not regular"
    with pytest.warns(DataWarning, match=f"column '{label}' is used as the time axis, .*{told}"):
        data = xr.open_dataset(tmp_path / "a.npy", engine="datapack")
    assert data.channel.values.tolist() == ["x", "y"]
    np.testing.assert_allclose(data.time, first + chosen / 100, atol=1e-6)
    np.testing.assert_array_equal(data.value, np.stack([chosen / 4, chosen], axis=1))
    np.testing.assert_array_equal(data.value[5:9], np.stack([chosen / 4, chosen], axis=1)[5:9])
    assert data.attrs.get("start_time") == began


def test_fields_that_merely_increase_are_channels(tmp_path: Path) -> None:
    array = np.array([(0, 1.5), (1, 2.5), (2, 3.5)], [("number", "<i8"), ("x", "<f8")])
    np.save(tmp_path / "a.npy", array)
    assert opened(tmp_path / "a.npy").values.tolist() == [[0, 1.5], [1, 2.5], [2, 3.5]]


def test_headers_of_python_2(tmp_path: Path) -> None:
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (3L, 2L), }"
    data = b"\x93NUMPY\x01\0" + len(header).to_bytes(2, "little") + header + np.arange(6.0).tobytes()
    (tmp_path / "a.npy").write_bytes(data)
    assert opened(tmp_path / "a.npy").values.tolist() == [[0, 1], [2, 3], [4, 5]]


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("structured", [False, True])
def test_objects_are_never_unpickled(structured: bool, tmp_path: Path) -> None:
    array = np.empty(2, [("x", "f8"), ("y", "O")] if structured else "O")
    (array["y"] if structured else array)[0] = Trap(tmp_path / "sprung")
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(InvalidDatapackError, match=r"a\.npy: .*Python objects, which are never unpickled"):
        xr.open_dataset(tmp_path / "a.npy", engine="datapack")
    with pytest.raises(InvalidDatapackError, match="never unpickled"):
        xr.open_dataset(tmp_path / "a.npy", engine="datapack", datatype="drum notes")
    assert not (tmp_path / "sprung").exists()
    pickle.loads(pickle.dumps(Trap(tmp_path / "sprung")))
    assert (tmp_path / "sprung").exists()


def header(text: str, version: int = 1) -> bytes:
    return b"\x93NUMPY" + bytes([version, 0]) + len(text).to_bytes(2, "little") + text.encode() + bytes(80)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (written(np.array([("a", 1)], [("s", "S3"), ("x", "f8")])), "field 's' of this array holds"),
        (written(np.zeros((2, 2), [("x", "f8")])), "one dimension, not 2"),
        (written(np.zeros(9, [("x", "f8")]))[:-3], "ends after 8 of 9 records"),
        (header("{}", 7), "unknown version 7 of the format"),
        (header("{'descr': '<f8'}"), "not a mapping of descr, fortran_order, shape"),
        (header("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}"), r"the shape is \(-1,\)"),
        (header("{'descr': '<q9', 'fortran_order': False, 'shape': (1,)}"), "cannot read"),
        (header("__import__('os').abort()"), "cannot read"),
        (header("(" * 3000), "cannot read"),
        (b"\x93NUMPY\x02\0\xff\xff\xff\xff" + bytes(50), "4294967295 bytes long"),
        (b"\x93NUMPY\x01\0\xff\x00{'descr'", "ends inside it"),
    ],
)
def test_what_cannot_be_read_is_named(data: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(data)
    with pytest.raises(InvalidDatapackError, match=rf"(?s)a\.npy: .*{message}"):
        xr.open_dataset(tmp_path / "a.npy", engine="datapack")
