"""WAV files as recorders, streams and accidents leave them."""

from __future__ import annotations

import struct
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import scipy.io.wavfile
import soundfile
import xarray as xr

from rinofs.datapack import DataWarning
from rinofs.datapack.formats.wav import wav_layout

if TYPE_CHECKING:
    from numpy.typing import NDArray

FIELD = Path(__file__).parent / "field"
LONG = 0xFFFFFFFF
RAMP = (np.arange(500) * 37) % 2001 - 1000


def opened(path: Path, **options: Any) -> tuple[NDArray[Any], list[str]]:
    """Return the values of a file, and what was warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        dataset = xr.open_dataset(path, engine="datapack", **options)
        [variable] = dataset.data_vars.values()
        values = variable.values
    # Garbage of other tests warns as well, whenever it is collected.
    told = [each for each in caught if not issubclass(each.category, ResourceWarning)]
    assert all(issubclass(each.category, DataWarning) for each in told)
    return values, [str(each.message) for each in told]


@pytest.mark.parametrize(
    ("name", "count", "warning"),
    [
        ("wav_size_0", 500, "never completed.*all 500"),
        ("rf64_size_0", 500, "never completed.*all 500"),
        ("wav_really_empty", 0, None),
        ("wav_size_too_small", 500, "too few samples, 100; all 500"),
        ("bw64", 500, None),
        ("wav_odd_chunk_unpadded", 500, None),
    ],
)
def test_files_from_the_field(name: str, count: int, warning: str | None) -> None:
    path = FIELD / f"{name}.wav"
    if warning is None:
        values, told = opened(path)
        assert not told
    else:
        with pytest.warns(DataWarning, match=warning):
            xr.open_dataset(path, engine="datapack")
        values, told = opened(path)
        assert len(told) == 1
    assert values[:, 0].tolist() == RAMP[:count].tolist()


@dataclass(frozen=True)
class Header:
    """A WAV file of a kind, with a header that may be wrong."""

    code: int = 1
    bits: int = 16
    channels: int = 2
    magic: bytes = b"RIFF"
    extensible: bool = False
    data_size: int | None = None
    long_size: int | None = None
    before: tuple[tuple[bytes, int, bool], ...] = ()
    after: bytes = b""
    frames: int = 250
    warning: str = ""
    read: int | None = None  # how many frames are to be read, if not all
    references: tuple[str, ...] = field(default=("soundfile", "scipy"))

    def samples(self) -> NDArray[Any]:
        rng = np.random.default_rng(self.bits + self.channels)
        shape = (self.frames, self.channels)
        if self.code == 3:
            return rng.normal(size=shape).astype(f"<f{self.bits // 8}")
        return rng.integers(-(2 ** (self.bits - 1)), 2 ** (self.bits - 1), shape, np.int64)

    def content(self) -> bytes:
        values = self.samples()
        if self.code == 3:
            return values.tobytes()
        if self.bits == 8:
            return (values + 128).astype("u1").tobytes()
        if self.bits == 24:
            return values.astype("<i4").reshape(-1, 1).view("u1")[:, :3].tobytes()
        return values.astype(f"<i{self.bits // 8}").tobytes()

    def build(self) -> bytes:
        content = self.content()
        size = len(content) if self.data_size is None else self.data_size
        frame = self.channels * self.bits // 8
        code = 0xFFFE if self.extensible else self.code
        form = struct.pack("<HHIIHH", code, self.channels, 8000, 8000 * frame, frame, self.bits)
        if self.extensible:
            guid = struct.pack("<H", self.code) + bytes.fromhex("000000001000800000aa00389b71")
            form += struct.pack("<HHI", 22, self.bits, 3) + guid
        body = b"WAVE"
        if self.long_size is not None:
            body += b"ds64" + struct.pack("<IQQQI", 28, 72 + len(content), self.long_size, self.frames, 0)
        body += b"fmt " + struct.pack("<I", len(form)) + form
        for name, length, padded in self.before:
            body += name + struct.pack("<I", length) + b"x" * length + b"\0" * (padded and length % 2)
        body += b"data" + struct.pack("<I", size) + content + self.after
        riff = LONG if self.magic != b"RIFF" else len(body)
        return self.magic + struct.pack("<I", riff) + body


FORMS = [(1, 8), (1, 16), (1, 24), (1, 32), (3, 32), (3, 64)]
LIST = b"LIST" + struct.pack("<I", 10) + b"INFO" + b"abcdef"
ONLY = ("soundfile",)


def _headers() -> dict[str, Header]:
    found = {}
    for code, bits in FORMS:
        frame = 2 * bits // 8
        whole, kind = 250 * frame, f"{'float' if code == 3 else 'int'}{bits}"
        for extensible in (False, True):
            about = {"code": code, "bits": bits, "extensible": extensible}
            name = f"{kind}{' extensible' if extensible else ''}"
            found[name] = Header(**about)  # type: ignore[arg-type]
        about = {"code": code, "bits": bits}
        long: dict[str, Any] = {"data_size": LONG, "long_size": whole, **about}
        cases: dict[str, dict[str, Any]] = {
            "mono": {"channels": 1, **about},
            "eight channels": {"channels": 8, **about},
            "RF64": {"magic": b"RF64", "references": ONLY, **long},
            "BW64": {"magic": b"BW64", "references": (), **long},
            "size 0": {"data_size": 0, "warning": "never completed", "references": (), **about},
            "size 0xFFFFFFFF": {"data_size": LONG, "references": (), **about},
            "half the size": {
                "data_size": 125 * frame,
                "warning": "too few samples, 125; all 250",
                "references": (),
                **about,
            },
            "too large": {
                "data_size": whole + 9 * frame,
                "warning": "ends early: 9 samples",
                "references": (),
                **about,
            },
            "RF64 size 0": {
                "magic": b"RF64",
                "warning": "never completed",
                "references": (),
                **long,
                "long_size": 0,
            },
            "chunks around": {"before": ((b"LIST", 10, True), (b"bext", 27, True)), "after": LIST, **about},
            "unpadded": {"before": ((b"LIST", 27, False),), "after": LIST, "references": (), **about},
        }
        found |= {f"{kind} {name}": Header(**options) for name, options in cases.items()}
    return found


HEADERS = _headers()


def test_there_are_many() -> None:
    assert len(HEADERS) >= 60


@pytest.mark.parametrize("name", HEADERS)
def test_headers(name: str, tmp_path: Path) -> None:
    header = HEADERS[name]
    path = tmp_path / "a.wav"
    path.write_bytes(header.build())
    values, told = opened(path)
    assert bool(told) == bool(header.warning), told
    assert header.warning in "".join(told)
    np.testing.assert_array_equal(values, header.samples())
    scaled, _ = opened(path, datatype="mono audio", channels=[str(each) for each in range(header.channels)])
    full = 1.0 if header.code == 3 else 2.0 ** (header.bits - 1)
    np.testing.assert_allclose(scaled, header.samples() / full, rtol=1e-6)
    if "soundfile" in header.references:
        np.testing.assert_allclose(scaled, soundfile.read(path, always_2d=True)[0], rtol=1e-6)
    if "scipy" in header.references:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of chunks that it does not know
            _, reference = scipy.io.wavfile.read(path)
        reference = reference.reshape(len(reference), -1)
        if header.bits == 8:
            reference = reference.astype(np.int16) - 128
        elif header.code == 1 and header.bits == 24:
            reference = reference >> 8
        np.testing.assert_array_equal(values, reference)


PLAIN = Header(channels=1)
SIZE = len(PLAIN.content())


@pytest.mark.parametrize(
    ("data", "count", "warning"),
    [
        pytest.param(Header(channels=1, after=b"\0").build(), 250, "", id="a byte of padding"),
        pytest.param(Header(channels=1, after=bytes(700)).build(), 600, "too few", id="zeros behind it"),
        pytest.param(
            Header(channels=1, after=LIST).build() + bytes(700),
            250,
            "bytes after the end",
            id="zeros after a chunk",
        ),
        pytest.param(Header(channels=1, after=b"TAG" + bytes(125)).build(), 250, "a tag", id="ID3v1"),
        pytest.param(
            Header(channels=1, after=b"LIST" + struct.pack("<I", 99) + b"INFO").build(),
            250,
            "",
            id="cut chunk",
        ),
        pytest.param(
            Header(channels=1, after=b"zzzz" + struct.pack("<I", 3) + b"abc" + LIST).build(),
            250,
            "",
            id="an unknown chunk, unpadded, and another",
        ),
        pytest.param(
            Header(channels=1, data_size=0, frames=0, after=LIST).build(), 0, "", id="empty, then a chunk"
        ),
        pytest.param(
            Header(channels=1, data_size=LONG, long_size=SIZE // 2, magic=b"RF64").build(),
            250,
            "too few samples, 125; all 250",
            id="ds64 too small",
        ),
        pytest.param(
            Header(channels=1, data_size=LONG, long_size=SIZE * 2, magic=b"RF64").build(),
            250,
            "ends early: 250 samples",
            id="ds64 too large",
        ),
        pytest.param(
            Header(channels=1, data_size=LONG, magic=b"RF64").build(), 250, "", id="RF64 without ds64"
        ),
        pytest.param(Header(channels=1, data_size=SIZE - 6).build(), 250, "too few", id="three samples less"),
    ],
)
def test_what_follows_the_samples(data: bytes, count: int, warning: str, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(data)
    values, told = opened(tmp_path / "a.wav")
    assert len(values) == count
    assert values[: min(count, 250), 0].tolist() == PLAIN.samples()[: min(count, 250), 0].tolist()
    assert bool(told) == bool(warning), told
    assert warning in "".join(told)


@pytest.mark.parametrize("behind", [b"", LIST])
def test_a_size_that_wrapped(behind: bytes) -> None:
    """A file of more than 4 GiB, of which only the ends are made."""
    head = Header(channels=1, frames=0, data_size=1000).build()
    real = 1000 + 2 * 2**32

    def read(start: int, count: int) -> bytes:
        end = len(head) + real
        data = head[start : start + count]
        while len(data) < count and start + len(data) < end + len(behind):
            at = start + len(data)
            data += behind[at - end : at - end + count - len(data)] if at >= end else b"\x01"
        return data

    layout = wav_layout(read, len(head) + real + len(behind))
    assert layout is not None
    assert layout.frames == real // 2
    assert "too few samples, 500" in layout.problem


@pytest.mark.parametrize(
    ("place", "extended", "extensible"),
    [("low", True, False), ("low", False, False), ("high", False, False), ("high", False, True)],
)
def test_24_bits_in_4_bytes(place: str, extended: bool, extensible: bool, tmp_path: Path) -> None:
    values = np.random.default_rng(3).integers(-(2**23), 2**23, 400)
    stored = (values if place == "low" else values << 8).astype("<i4").view("<u4")
    if place == "low" and not extended:
        stored = stored & 0xFFFFFF
    code = 0xFFFE if extensible else 1
    form = struct.pack("<HHIIHH", code, 1, 8000, 32000, 4, 32 if extensible else 24)
    if extensible:
        form += struct.pack("<HHI", 22, 24, 0) + bytes.fromhex("0100000000001000800000aa00389b71")
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", 1600)
    path = tmp_path / "a.wav"
    path.write_bytes(b"RIFF" + struct.pack("<I", 1600 + len(body)) + body + stored.tobytes())
    raw, told = opened(path)
    assert not told
    assert raw[:, 0].tolist() == (values << 8 if extensible else values).tolist()
    scaled, _ = opened(path, datatype="mono audio")
    np.testing.assert_allclose(scaled[:, 0], values / 2.0**23, rtol=1e-6)
    if place == "high":
        _, reference = scipy.io.wavfile.read(path)
        np.testing.assert_array_equal(reference, values << 8)


def test_24_bits_that_may_lie_in_either_place(tmp_path: Path) -> None:
    values = np.random.default_rng(3).integers(-100, 100, 400).astype("<i4") << 8
    form = struct.pack("<HHIIHH", 1, 1, 8000, 32000, 4, 24)
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", 1600)
    path = tmp_path / "a.wav"
    path.write_bytes(b"RIFF" + struct.pack("<I", 1600 + len(body)) + body + values.tobytes())
    with pytest.warns(DataWarning, match="24 bits lie in 4 bytes"):
        xr.open_dataset(path, engine="datapack")


def test_unusual_widths_are_whole_bytes(tmp_path: Path) -> None:
    values = np.arange(-100, 100, dtype="<i2") * 16  # 12 bits, in the high ones of 16
    form = struct.pack("<HHIIHH", 1, 1, 8000, 16000, 2, 12)
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", 400)
    path = tmp_path / "a.wav"
    path.write_bytes(b"RIFF" + struct.pack("<I", 400 + len(body)) + body + values.tobytes())
    found, _ = opened(path)
    assert found[:, 0].tolist() == values.tolist()
    np.testing.assert_array_equal(found[:, 0], soundfile.read(path, dtype="int16")[0])
