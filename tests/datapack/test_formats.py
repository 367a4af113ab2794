"""Files as recorders, spreadsheets and accidents leave them."""

from __future__ import annotations

import io
import json
import struct
import warnings
from typing import TYPE_CHECKING, Any

import edfio
import h5py
import numpy as np
import pytest
import soundfile
import xarray as xr

from rinofs.datapack.datatypes.labels import identifier, seconds_per, unique_labels
from rinofs.datapack.document.messages import DataWarning
from rinofs.datapack.formats.detect import format_of
from rinofs.errors import InvalidDatapackError
from tests.datapack.streams import wav

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

THREE, EMG, DRUMS, MONO = "3-axis accelerometer", "MYO 8-channel EMG", "drum notes", "mono audio"


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., xr.Dataset]:
    """Return a function that opens bytes as a file."""

    def of(data: bytes | str, name: str = "file", **options: Any) -> xr.Dataset:
        (tmp_path / name).write_bytes(data if isinstance(data, bytes) else data.encode())
        with warnings.catch_warnings():
            if not options.pop("warns", False):
                warnings.simplefilter("error")
            return xr.open_dataset(tmp_path / name, engine="datapack", **options).load()

    return of


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def audio(samples: Any, subtype: str, container: str = "WAV", rate: int = 44100) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, subtype=subtype, format=container)
    return file.getvalue()


@pytest.mark.parametrize(
    ("head", "mime", "expected"),
    [
        (b"[[1, 2]]", "text/plain; charset=us-ascii", "json"),
        (b"\xef\xbb\xbf [1]", "audio/wav", "json"),
        (b"1,2\n", "application/json", "csv"),
        (b"", "application/json", "json"),
        (b"", None, "csv"),
        (b"RIFF\0\0\0\0WAVEfmt ", "application/octet-stream", "wav"),
        (b"RIFF\0\0\0\0AVI LIST", "audio/wav", None),
        (b"fLaC\0", None, "audio"),
        (b"\xff\xfb\x90\x64", "audio/mpeg", "audio"),
        (b"\xff\xfb\x90\x64", "application/octet-stream", None),
        (b"\xff\xd8\xff\xe0", "audio/mpeg", None),
        (b"\x93NUMPY\x01\0", "text/csv", "npy"),
        (b"\0\0\0\x20ftypisom", "text/csv", None),
        (b"%PDF-1.7", "text/plain", None),
        (b"caf\xc3", "text/plain", "csv"),  # a letter that the end of the head cuts in two
    ],
)
def test_content_decides_what_a_file_is(head: bytes, mime: str | None, expected: str | None) -> None:
    assert format_of(head, mime, "name") == expected


@pytest.mark.parametrize("text", ["[[],[]]", "[[], []]\n", "[[]]"])
def test_samples_without_channels(read: Callable[..., xr.Dataset], text: str) -> None:
    [found] = read(text).data_vars.values()
    assert found.values.shape == found.shape == (text.count("[") - 1, 0)


@pytest.mark.parametrize(
    "label", ["CDF", "riff", "RIFX", "caff", "ID3", "OggS", "fLaC", "GIF8", "FORM", "NIST_1A"]
)
@pytest.mark.parametrize("rest", ["", "_length", " 12345678", ".x"])
def test_a_label_that_begins_as_a_binary_format_does(
    read: Callable[..., xr.Dataset], label: str, rest: str
) -> None:
    found = read(f"{label}{rest},x\n0.5,1\n0.25,2\n").to_dataarray()
    assert found.values.tolist() == [[[0.5, 1], [0.25, 2]]]


@pytest.mark.parametrize(
    ("container", "subtype"),
    [
        ("AU", "PCM_16"),
        ("W64", "PCM_16"),
        ("CAF", "PCM_16"),
        ("SVX", "PCM_16"),
        ("VOC", "PCM_16"),
        ("NIST", "PCM_16"),
        ("AIFF", "PCM_16"),
    ],
)
def test_other_audio_containers(read: Callable[..., xr.Dataset], container: str, subtype: str) -> None:
    samples = np.arange(-1000, 1000, dtype=np.int16)
    [found] = read(audio(samples, subtype, container, 16000)).data_vars.values()
    assert np.array_equal(np.ravel(found), samples)
    assert found.time.values[1] == 1 / 16000


@pytest.mark.parametrize(
    ("data", "values"),
    [
        ("[[1, 2, 3], [4, 5, 6]]", [[1, 2, 3], [4, 5, 6]]),
        ("[[1, 2, null]]", [[1, 2, np.nan]]),
        ("[[1, NaN, Infinity]]", [[1, np.nan, np.inf]]),
        (b"\xef\xbb\xbf[[1, 2, 3]]", [[1, 2, 3]]),
        ("X,Y,Z\n1,2,3\n4,5,6\n", [[1, 2, 3], [4, 5, 6]]),
        ("1,2,3\r\n\r\n4,5,6", [[1, 2, 3], [4, 5, 6]]),
        ("1\t2\t3\n", [[1, 2, 3]]),
        ("1 2   3\n4 5 6\n", [[1, 2, 3], [4, 5, 6]]),
        ("x y z\n1 2 3\n", [[1, 2, 3]]),
        ("x;y;z\n1,5;2,5;-1e-3\n", [[1.5, 2.5, -0.001]]),
        ("# x,y,z\n1,2,3\n", [[1, 2, 3]]),
        ('"x","y","z"\n"1","2","3"\n', [[1, 2, 3]]),
        ("1,,3\n4,nan,NA\n", [[1, np.nan, 3], [4, np.nan, np.nan]]),
        (b"\xff\xfe" + "1,2,3\n".encode("utf-16-le"), [[1, 2, 3]]),
        (npy(np.array([[1, 2, 3]], ">i2")), [[1, 2, 3]]),
        (npy(np.asfortranarray([[1.0, 2, 3], [4, 5, 6]])), [[1, 2, 3], [4, 5, 6]]),
        ("[]", np.zeros((0, 3))),
        ("X,Y,Z\n", np.zeros((0, 3))),
        (npy(np.zeros((0, 3))), np.zeros((0, 3))),
    ],
)
def test_rows_of_numbers(read: Callable[..., xr.Dataset], data: Any, values: Any) -> None:
    found = read(data, datatype=THREE)
    np.testing.assert_array_equal(found.acceleration, values)
    assert found.time.sizes == {"time": len(values)}
    assert found.channel.values.tolist() == ["X", "Y", "Z"]
    assert found.acceleration.dtype == (np.int16 if isinstance(data, bytes) and b"i2" in data else np.float64)


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        ("[1, 2]", np.int64),
        ("[1.0, 2]", np.float64),
        ("[true, false]", bool),
        ("[9007199254740993]", np.int64),
        ("[100000000000000000000]", np.float64),
        ("9007199254740993\n", np.int64),
        ("1.0\n2.0\n", np.float64),
    ],
)
def test_types_without_a_datatype(read: Callable[..., xr.Dataset], data: str, dtype: Any) -> None:
    values = read(data, rate=10).value
    assert values.dtype == dtype
    assert values.shape[1] == 1
    if "740993" in data:
        assert int(values[0, 0]) == 9007199254740993


def test_types_of_a_datatype(read: Callable[..., xr.Dataset]) -> None:
    channels = [str(number) for number in range(8)]
    whole = read("[[1.0, 2, 3, 4, 5, 6, 7, 8]]", datatype=EMG, channels=channels)
    assert whole.muscle_activity.dtype == np.int64
    with pytest.warns(DataWarning, match="not all values fit the type integer; they stay float64"):
        broken = read("1,,3,4,5,6,7,8\n", datatype=EMG, channels=channels, warns=True)
    assert np.isnan(broken.muscle_activity[0, 1])


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        ("", {"datatype": THREE}, "the file is empty"),
        ("[[1,2,3],[1,2]]", {"datatype": THREE}, "row 2 has 2 values, row 1 has 3"),
        ("[[1,2,3],4]", {}, "row 2 has a number, row 1 has 3"),
        ('[[1,2,"x"]]', {"datatype": THREE}, "row 1 holds 'x', which is not a number"),
        ('{"a": 1}', {}, "is not an array of numbers or of rows"),
        ("[[1,2", {}, "not valid JSON"),
        ("[" * 10**5 + "]" * 10**5, {}, "not valid JSON"),
        ("[1,2]", {"datatype": THREE}, r"has 1 columns, but .*has 3 \(X, Y, Z\).*channels="),
        ("[[1,2]]", {"channels": ["a"]}, r"has 2 columns, but channels= has 1 \(a\)"),
        ("[[[1],[2]]]", {}, "samples x 2 x 1, which does not fit the dimensions time"),
        ("1,2,3\n4,5\n", {"datatype": THREE}, "row 2 has 2 values, row 1 has 3"),
        ("x,y,z\n4,5\n", {"datatype": THREE}, "the header has 3 columns, but the rows have 2"),
        ("1,2,3\n4,abc,6\n", {"datatype": THREE}, "row 2 holds 'abc', which is not a number"),
        ("dear reader,\nhello\n", {}, "row 2 holds 'hello'"),
        ("[[1,2]]", {"datatype": DRUMS}, r"event 1 has 2 values, .*3 columns \(onset time"),
        (f"[[{10**400}, 1, null]]", {"datatype": DRUMS}, "event 1: onset time is 1000.*, not a number"),
        ("0.5,soon,hit\n", {"datatype": DRUMS}, "event 1: offset time is 'soon', not a number"),
        (wav(np.zeros(9, np.int16)), {"datatype": DRUMS}, "events are read from JSON, CSV and .npy"),
        (wav(np.zeros(9, np.int16))[:30], {}, "ends before its samples"),
        (b"RIFF\0\0\0\0WAVEdata\x02\0\0\0ab", {}, "has no 'fmt ' chunk"),
        (b"fLaC" + bytes(99), {}, "cannot read this audio"),
        (npy(np.zeros((4, 3)))[:-5], {"datatype": THREE}, "ends after 11 of 12 numbers"),
        (npy(np.zeros((4, 3)))[:20], {}, "cannot read the header of this .npy file"),
        (npy(np.array([{}], dtype=object)), {}, "never unpickled"),
        (npy(np.array(3.0)), {}, "a single number"),
        (npy(np.zeros(3, complex)), {}, "complex128, not numbers"),
        (b"\x00\x01\x02", {}, "none of those in docs/formats.md"),
    ],
)
def test_what_cannot_be_read_is_named(
    read: Callable[..., xr.Dataset], data: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidDatapackError, match=rf"(?s)/name:.*{message}"):
        read(data, "name", **options)


def test_labels_of_columns(read: Callable[..., xr.Dataset]) -> None:
    assert read("Z,Y,X\n1,2,3\n", datatype=THREE).channel.values.tolist() == ["Z", "Y", "X"]
    with pytest.warns(
        DataWarning, match=r"called a, b, c, and the channels of its datatype X, Y, Z; .*order"
    ):
        assert read("a,b,c\n1,2,3\n", datatype=THREE, warns=True).channel.values.tolist() == ["X", "Y", "Z"]
    with pytest.raises(InvalidDatapackError, match=r"called z, y, up, and the channels .* X, Y, Z"):
        read("z,y,up\n1,2,3\n", datatype=THREE)
    assert read('"x","y, up"\n"1","2"\n').channel.values.tolist() == ["x", "y, up"]
    assert read("left,right\n1,2\n").channel.values.tolist() == ["left", "right"]
    with pytest.warns(DataWarning, match="missing or repeated; using x, x 2, 3"):
        read("x,x,\n1,2,3\n", warns=True)


FIELDS = [("onset_time", "f8"), ("Offset time", "f8"), ("offset type", "U3")]
EVENTS = np.array([(0.5, 1, "hit"), (1.5, np.nan, "")], FIELDS)


@pytest.mark.parametrize(
    "data",
    [
        '[[0.5, 1, "hit"], [1.5, null, null]]',
        '[{"onset time": 0.5, "offset time": 1, "offset type": "hit"}, {"onset_time": 1.5}]',
        "onset time,offset time,offset type\n0.5,1,hit\n1.5,,\n",
        "offset type;onset time;offset time\nhit;0.5;1\n;1.5;\n",
        "0.5\t1\thit\n1.5\t\t\n",
        "5e-1,1.,hit\n+1.5,NA,\n",
        npy(EVENTS),
    ],
)
def test_events(read: Callable[..., xr.Dataset], data: Any) -> None:
    found = read(data, datatype=DRUMS)
    assert found.sizes == {"event": 2}
    np.testing.assert_array_equal(found.onset_time, [0.5, 1.5])
    np.testing.assert_array_equal(found.offset_time, [1.0, np.nan])
    assert found.offset_type.values.tolist() == ["hit", ""]


def test_events_whose_labels_are_other_words(read: Callable[..., xr.Dataset]) -> None:
    array = np.array([(0.5, 1, "hit")], [("a", "f8"), ("b", "f8"), ("c", "U3")])
    for data in (npy(array), "a,b,c\n0.5,1,hit\n"):
        with pytest.warns(
            DataWarning, match=r"called 'a', 'b', 'c', and .* 'onset time', .*assuming this order"
        ):
            assert read(data, datatype=DRUMS, warns=True).offset_time.values.tolist() == [1]
    with pytest.raises(InvalidDatapackError, match=r"keys 'start', but none for 'onset time', 'offset time'"):
        read('[{"start": 1}]', datatype=DRUMS)
    with pytest.raises(InvalidDatapackError, match="rename them"):
        read("offset time,start,offset type\n1,0.5,hit\n", datatype=DRUMS)


def test_units_in_labels_of_times(read: Callable[..., xr.Dataset]) -> None:
    for label in ("onset time [ms]", "onset_time_ms", "Onset time (ms)"):
        with pytest.warns(DataWarning, match="onset time is in ms by its label"):
            found = read(f"{label},offset time,offset type\n500,1,hit\n", datatype=DRUMS, warns=True)
        assert found.onset_time.values.tolist() == [0.5]
        assert found.offset_time.values.tolist() == [1]


def events_in(unit: str, label: str, kind: str = "float") -> dict[str, Any]:
    """Return a datatype of events: their times, and a number."""
    sparse = {
        "dimensions": [{"label": "time", "units": unit}],
        "format": {
            "primary_dimensions": [{"label": label, "primaryDimension": 1}],
            "secondary_dimensions": [{"label": "number", "type": kind}],
        },
    }
    return {"datatypeID": "x", "name": "events", "datatype": {"sparse": sparse}}


@pytest.mark.parametrize(
    "data", ["[[0.5, 1]]", '[{"onset ms": 0.5, "number": 1}]', "onset ms,number\n0.5,1\n", "0.5,1\n"]
)
def test_a_datatype_is_believed_before_its_own_label(read: Callable[..., xr.Dataset], data: str) -> None:
    assert read(data, datatype=events_in("ms", "onset ms")).onset_ms.item() == 0.0005
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = read(data, datatype=events_in("seconds", "onset ms"), warns=True)
    assert found.onset_ms.item() == 0.5
    if "onset" in data:
        assert "which has the same label; assuming seconds" in str(caught[0].message)


INTEGERS: list[tuple[list[int], Any]] = [
    ([], np.int64),
    ([0, -7, 7], np.int64),
    ([2**53 + 1, -(2**53) - 1], np.int64),
    ([1_700_000_000_123_456_789, 5], np.int64),
    ([2**63 - 1, -(2**63)], np.int64),
    ([2**63 + 1, 0], np.uint64),
    ([2**64 - 1, 2**63 - 1], np.uint64),
]


@pytest.mark.parametrize(("numbers", "dtype"), INTEGERS)
@pytest.mark.parametrize("kind", ["integer", "int"])
def test_integers_of_events_are_exact(
    read: Callable[..., xr.Dataset], numbers: list[int], dtype: Any, kind: str
) -> None:
    array = np.array([(0.5, number) for number in numbers], [("t", "f8"), ("number", dtype)])
    for data in (
        json.dumps([[0.5, number] for number in numbers]),
        json.dumps([{"t": 0.5, "number": number} for number in numbers]),
        "t,number\n" + "".join(f"0.5,{number}\n" for number in numbers),
        "t;number\n" + "".join(f"0,5; {number:+d}\n" for number in numbers),
        npy(array),
    ):
        found = read(data, datatype=events_in("s", "t", kind)).number
        assert found.dtype == dtype
        assert found.values.tolist() == numbers


@pytest.mark.parametrize("numbers", [[2**64, 1], [2**63, -1], [-(2**63) - 1], [10**300]])
@pytest.mark.parametrize("kind", ["integer", "float"])
def test_integers_of_events_that_no_type_holds_are_told_of(
    read: Callable[..., xr.Dataset], numbers: list[int], kind: str
) -> None:
    rows = [[0.5, number] for number in [*numbers, 2**53 + 1]]
    for data in (json.dumps(rows), "t,number\n" + "".join(f"{time},{number}\n" for time, number in rows)):
        with pytest.warns(DataWarning, match="column 'number' holds integers too large for a float") as told:
            found = read(data, datatype=events_in("s", "t", kind), warns=True).number
        assert found.dtype == np.float64
        np.testing.assert_array_equal(found, [float(number) for _, number in rows])
        assert ("they stay float64" in str(told[0].message)) == (kind == "integer")


@pytest.mark.parametrize("cell", ["1.5", "", "nan", "inf", "-"])
def test_events_that_are_no_integers_keep_their_values(read: Callable[..., xr.Dataset], cell: str) -> None:
    with pytest.warns(DataWarning, match="values of 'number' fit the type integer; they stay float64"):
        found = read(f"t,number\n0.5,3\n0.5,{cell}\n", datatype=events_in("s", "t", "integer"), warns=True)
    expected = {"1.5": 1.5, "inf": np.inf}.get(cell, np.nan)
    np.testing.assert_array_equal(found.number, [3, expected])
    whole = read("t,number\n0.5,3.0\n0.5,1e3\n", datatype=events_in("s", "t", "integer"))
    assert whole.number.dtype == np.int64
    assert whole.number.values.tolist() == [3, 1000]


@pytest.mark.parametrize("word", [";", "a;b", "a\tb", "[", "a\n\nb", "", "x, y", '"', ";\n;", "|\n|"])
def test_any_text_of_an_event(read: Callable[..., xr.Dataset], word: str) -> None:
    quoted = '"' + word.replace('"', '""') + '"' if set(word) & set('",\n') else word
    found = read(f"0.5,1,{quoted}\n,,{quoted}\n,,\n", "e.csv", datatype=DRUMS)
    assert found.offset_type.values.tolist() == [word, word, ""]


@pytest.mark.parametrize("labels", [["["], ["[0"], ["a;b", "c"], ["a\tb", "c"], ["a b"], ["[1", "2]"]])
def test_any_label_of_a_column(read: Callable[..., xr.Dataset], labels: list[str]) -> None:
    row = ",".join("0.5" for _ in labels)
    found = read(f"{','.join(labels)}\n{row}\n", "a.csv")
    assert found.channel.values.tolist() == labels
    assert found.value.values.tolist() == [[0.5] * len(labels)]
    assert read("[[1, 2]]", "a.csv").value.values.tolist() == [[1, 2]]


def test_rows_without_any_number(read: Callable[..., xr.Dataset]) -> None:
    assert np.isnan(read("1,2\n,\n3,4\n").value[1]).all()
    assert read('1\n""\n\n3\n').value[:, 0].isnull().values.tolist() == [False, True, False]


def test_no_events(read: Callable[..., xr.Dataset]) -> None:
    for data in ("[]", "onset time,offset time,offset type\n"):
        assert read(data, datatype=DRUMS).sizes == {"event": 0}


SOUND = np.stack([np.linspace(-1, 1, 3000), np.linspace(1, -1, 3000)], 1).astype(np.float32)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW"])
def test_wav_is_what_libsndfile_reads(read: Callable[..., xr.Dataset], subtype: str) -> None:
    data = audio(SOUND, subtype)
    expected, _ = soundfile.read(io.BytesIO(data), dtype="float64")
    found = read(data, datatype=MONO, channels=["left", "right"]).audio_intensity
    np.testing.assert_array_equal(found.astype(np.float64), expected)
    np.testing.assert_array_equal(found[7:2000:3].astype(np.float64), expected[7:2000:3])
    raw = read(data).value
    if subtype.startswith("PCM"):
        bits = int(subtype.lstrip("PCM_U"))
        assert raw.dtype.kind == "i"
        np.testing.assert_array_equal(raw / 2.0 ** (bits - 1), expected)


@pytest.mark.parametrize(
    ("container", "subtype"),
    [
        ("FLAC", "PCM_24"),
        ("AIFF", "PCM_16"),
        ("CAF", "FLOAT"),
        ("OGG", "VORBIS"),
        ("W64", "PCM_16"),
        ("RF64", "PCM_16"),
    ],
)
def test_other_audio(read: Callable[..., xr.Dataset], container: str, subtype: str) -> None:
    data = audio(SOUND, subtype, container)
    expected, _ = soundfile.read(io.BytesIO(data), dtype="float32")
    found = read(data, datatype=MONO, channels=["left", "right"]).audio_intensity
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found.time[-1] == 2999 / 44100


def test_wav_with_other_chunks(read: Callable[..., xr.Dataset]) -> None:
    samples = np.arange(5, dtype=np.int16)
    plain = wav(samples)
    note = b"LIST" + struct.pack("<I", 3) + b"abc\0"
    found = read(plain[:12] + note + plain[12:36] + note + plain[36:] + note)
    assert found.value[:, 0].values.tolist() == samples.tolist()


def test_wav_that_ends_early(read: Callable[..., xr.Dataset]) -> None:
    with pytest.warns(DataWarning, match="ends early: 4 samples"):
        found = read(wav(np.arange(5, dtype=np.int16), frames=9), warns=True)
    assert found.value[:, 0].values.tolist() == [0, 1, 2, 3, 4]
    with pytest.warns(DataWarning, match="ends early: 9 samples"):
        assert read(wav(np.zeros(0, np.int16), frames=9), warns=True).sizes["time"] == 0


def test_wav_of_another_rate_than_its_datatype(read: Callable[..., xr.Dataset]) -> None:
    data = wav(np.zeros(10, np.int16), rate=8000)
    with pytest.warns(
        DataWarning, match="8000 Hz but its datatype says 44100 Hz; using the file's rate; rate="
    ):
        assert read(data, datatype=MONO, warns=True).time[-1] == 9 / 8000
    assert read(data, datatype=MONO, rate=100).time[-1] == 0.09


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("angular velocity", "angular_velocity"),
        ("", "value"),
        ("µ (V)", "µ_V"),
        ("2 x", "_2_x"),
        ("-", "value"),
    ],
)
def test_labels_as_names(label: str, name: str) -> None:
    assert identifier(label) == name
    assert name.isidentifier()
    assert identifier(label, taken={name}) == f"{name}_2"


def test_units_of_time_and_unique_labels() -> None:
    assert [seconds_per(unit) for unit in ("seconds", " S ", "ms", "min", "Hz", "")] == [
        1,
        1,
        1e-3,
        60,
        None,
        None,
    ]
    assert unique_labels(["a", "a", "", "a 2", "3"]) == ("a", "a 3", "3 2", "a 2", "3")


def sampled(rate: float) -> dict[str, Any]:
    """Return a datatype of one channel at a rate in Hz."""
    lattice = {
        "primary_dimensions": [{"label": "time", "units": "seconds", "resolution": rate}],
        "secondary_dimensions": [{"label": "force", "units": "N", "type": "float"}],
        "channels": [{"label": "left"}],
    }
    return {"datatypeID": "x", "name": "force", "datatype": {"lattice": lattice}}


def edf(rate: float) -> bytes:
    data, seconds = io.BytesIO(), round(20 / rate, 6)  # the header has eight characters for them
    signal = edfio.EdfSignal(np.arange(20.0), 20 / seconds, physical_range=(0, 20), label="left")
    edfio.Edf([signal], data_record_duration=seconds).write(data)
    return data.getvalue()


def hdf5(rate: float) -> bytes:
    data = io.BytesIO()
    with h5py.File(data, "w") as file:
        file.create_dataset("x", data=np.arange(20.0)).attrs["sampling_rate"] = rate
    return data.getvalue()


OF_A_RATE: dict[str, Callable[[float], bytes | str]] = {
    "repovizz1": lambda rate: f"repovizz,framerate={rate}\n" + ",".join(map(str, range(20))) + "\n",
    "empatica": lambda rate: f"1700000000\n{rate}\n" + "".join(f"{number}\n" for number in range(20)),
    "edf": edf,
    "hdf5": hdf5,
}


@pytest.mark.parametrize("kind", OF_A_RATE)
@pytest.mark.parametrize(
    ("rate", "said"), [(0.25, 1), (0.5, 0.125), (1, 1.5), (99.5, 100), (100, 100.99), (250, 250.01), (64, 32)]
)
def test_a_rate_that_the_datatype_contradicts_is_that_of_the_file(
    kind: str, rate: float, said: float, read: Callable[..., xr.Dataset]
) -> None:
    with pytest.warns(DataWarning, match=f"Hz but its datatype says {said:g} Hz; using the file's rate"):
        found = read(OF_A_RATE[kind](rate), datatype=sampled(said), warns=True)
    assert found.force.attrs["sampling_rate"] == pytest.approx(rate, rel=1e-6)
    np.testing.assert_allclose(found.time, np.arange(20) / rate, rtol=1e-6)


@pytest.mark.parametrize("kind", OF_A_RATE)
def test_a_rate_that_is_rounded_is_that_of_the_datatype(kind: str, read: Callable[..., xr.Dataset]) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = read(OF_A_RATE[kind](33.3333333), datatype=sampled(100 / 3), warns=True)
    assert not [one for one in caught if "datatype says" in str(one.message)]
    assert found.force.attrs["sampling_rate"] == 100 / 3


@pytest.mark.parametrize("container", ["WAV", "FLAC", "AIFF"])
@pytest.mark.parametrize(("rate", "said"), [(8000, 8000.4), (8001, 8000.4), (99, 99.5), (100, 99.5)])
def test_audio_has_no_fractions_of_a_rate(
    container: str, rate: int, said: float, read: Callable[..., xr.Dataset]
) -> None:
    found = read(audio(np.zeros(50), "PCM_16", container, rate), datatype=sampled(said))
    assert found.force.attrs["sampling_rate"] == said
