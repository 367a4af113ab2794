"""Compressed audio: parts of a file are what they are in the whole, wherever they begin."""

from __future__ import annotations

import io
import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask
import numpy as np
import pytest
import soundfile
import xarray as xr

from rinofs.errors import InvalidDatapackError
from tests.campaign import rounds

if TYPE_CHECKING:
    from numpy.typing import NDArray

FIELD = Path(__file__).parent / "field"
CLOSE = {"rtol": 0, "atol": 1e-5}

# Container, subtype, rate, channels, further options of the encoder.
FILES: dict[str, tuple[str, str, int, int, dict[str, Any]]] = {
    "mp3_constant": ("MP3", "MPEG_LAYER_III", 44100, 2, {"bitrate_mode": "CONSTANT"}),
    "mp3_variable": (
        "MP3",
        "MPEG_LAYER_III",
        44100,
        1,
        {"bitrate_mode": "VARIABLE", "compression_level": 0.99},
    ),
    "mp3_low_rate": (
        "MP3",
        "MPEG_LAYER_III",
        16000,
        1,
        {"bitrate_mode": "VARIABLE", "compression_level": 0.99},
    ),
    "mp3_lowest": (
        "MP3",
        "MPEG_LAYER_III",
        24000,
        1,
        {"bitrate_mode": "CONSTANT", "compression_level": 0.99},
    ),
    "vorbis": ("OGG", "VORBIS", 44100, 2, {"compression_level": 0.9}),
    "vorbis_low_rate": ("OGG", "VORBIS", 8000, 1, {}),
    "opus": ("OGG", "OPUS", 48000, 1, {}),
    "opus_speech": ("OGG", "OPUS", 16000, 1, {"compression_level": 1.0}),
    "flac": ("FLAC", "PCM_16", 44100, 2, {}),
    "flac_24": ("FLAC", "PCM_24", 48000, 1, {}),
    "aiff": ("AIFF", "PCM_24", 44100, 2, {}),
    "aiff_adpcm": ("AIFF", "IMA_ADPCM", 22050, 1, {}),
    "alac": ("CAF", "ALAC_16", 44100, 1, {}),
    "gsm": ("WAV", "GSM610", 8000, 1, {}),
    "g721": ("WAV", "G721_32", 8000, 1, {}),
    "dwvw": ("AIFF", "DWVW_16", 44100, 1, {}),
}


def sound(rate: int, channels: int, frames: int) -> NDArray[Any]:
    """Return a chirp that comes and goes, with noise: something for all parts of an encoder."""
    t = np.arange(frames) / rate
    rng = np.random.default_rng(frames)
    chirp = 0.4 * np.sin(2 * np.pi * (200 * t + 300 * t * t)) * (np.sin(2 * np.pi * 1.3 * t) > -0.6)
    noise = 0.1 * rng.normal(size=frames) * (np.sin(2 * np.pi * 0.7 * t) > 0)
    return np.stack([(chirp + noise) / (1 + number) for number in range(channels)], axis=1)


@cache
def encoded(name: str, frames: int = 60000) -> bytes:
    container, subtype, rate, channels, options = FILES[name]
    file = io.BytesIO()
    soundfile.write(file, sound(rate, channels, frames), rate, subtype, format=container, **options)
    return file.getvalue()


def opened(path: Path, **options: Any) -> xr.DataArray:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        [variable] = xr.open_dataset(path, engine="datapack", **options).data_vars.values()
    return variable


def decoded(data: bytes) -> NDArray[Any]:
    """Return all frames, decoded from the first on."""

    class Sequential(soundfile.SoundFile):  # type: ignore[misc]
        def seekable(self) -> bool:
            return False

    parts = []
    with Sequential(io.BytesIO(data)) as file:
        while len(part := file.read(50000, dtype="float32", always_2d=True)):
            parts.append(part)
    return np.concatenate(parts)


@pytest.mark.parametrize("name", FILES)
def test_parts_are_those_of_the_whole(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"{name}.{'mp3' if 'mp3' in name else 'bin'}"
    path.write_bytes(encoded(name))
    labels = [str(each) for each in range(FILES[name][3])]
    lazy = opened(path, datatype="mono audio", channels=labels, rate=FILES[name][2])
    whole = lazy.values
    np.testing.assert_allclose(whole, decoded(encoded(name)), **CLOSE)
    rng = np.random.default_rng(len(name))
    starts = [0, 1, 1151, 1152, *rng.integers(0, len(whole) - 1, 185), *range(len(whole) - 11, len(whole))]

    def wrong(start: int) -> int | None:
        stop = start + int(rng.integers(1, 400))
        part = lazy[start:stop].values
        fits = part.shape == whole[start:stop].shape and np.allclose(part, whole[start:stop], **CLOSE)
        return None if fits else start

    assert len(starts) == 200
    with ThreadPoolExecutor(2) as pool:
        assert not [start for start in pool.map(wrong, starts) if start is not None]


@pytest.mark.parametrize("name", FILES)
def test_in_chunks(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"{name}.{'mp3' if 'mp3' in name else 'bin'}"
    path.write_bytes(encoded(name))
    whole = opened(path).values
    chunked = opened(path, chunks={"time": 7000})
    assert len(chunked.chunks[0]) > 8
    rng = np.random.default_rng(len(name))
    spans = [
        (start, start + int(rng.integers(1, 9000)))
        for start in rng.integers(0, len(whole) - 1, rounds(60, 199))
    ]
    spans.append((0, len(whole)))
    parts = dask.compute(*(chunked.data[slice(*span)] for span in spans), scheduler="threads", num_workers=2)
    for span, part in zip(spans, parts, strict=True):
        np.testing.assert_allclose(part, whole[slice(*span)], err_msg=str(span), **CLOSE)
    np.testing.assert_allclose(opened(path, chunks={}).values, whole, **CLOSE)
    again = pickle.loads(pickle.dumps(opened(path)))
    np.testing.assert_allclose(again[5000:5100].values, whole[5000:5100], **CLOSE)


def test_vorbis_that_is_long_enough_to_seek_in(tmp_path: Path) -> None:
    data = encoded("vorbis_low_rate", 400000)
    (tmp_path / "long.ogg").write_bytes(data)
    lazy, reference = opened(tmp_path / "long.ogg"), decoded(data)
    for start in [*range(0, 400000, 17000), 137855, 137856, 399000]:
        np.testing.assert_allclose(lazy[start : start + 500], reference[start : start + 500], **CLOSE)


def test_mp3_of_variable_rate_from_the_field() -> None:
    lazy = opened(FIELD / "variable_rate.mp3")
    whole = lazy.values
    assert whole.shape == (64000, 1)
    for start in (0, 1000, 20000, 40000, 60000):
        np.testing.assert_allclose(lazy[start : start + 1000].values, whole[start : start + 1000], **CLOSE)
        assert np.abs(whole[start : start + 1000]).max() > 0.1


def frame_length(data: bytes) -> int:
    """Return the bytes of the first frame, of MPEG-1 at 44.1 kHz."""
    kbits = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)[data[2] >> 4]
    return 144000 * kbits // 44100 + (data[2] >> 1 & 1)


@pytest.mark.parametrize("before", [b"", b"ID3\x04\0\0\0\0\x01\x10" + bytes(144)])
@pytest.mark.parametrize("name", ["mp3_constant", "mp3_variable"])
def test_mp3_that_does_not_say_how_long_it_is(name: str, before: bytes, tmp_path: Path) -> None:
    data = encoded(name)
    bare = data[frame_length(data) :]
    (tmp_path / "bare.mp3").write_bytes(before + bare)
    found = opened(tmp_path / "bare.mp3")
    # Of the 1105 samples that encoder and decoder add at the beginning, only the decoder's 529 are known.
    reference = decoded(data)
    assert len(reference) <= len(found) <= len(reference) + 4 * 1152
    np.testing.assert_allclose(found[576 + 5000 : 576 + 50000], reference[5000:50000], rtol=0, atol=1e-4)
    whole = found.values
    np.testing.assert_allclose(found[45000:45500].values, whole[45000:45500], **CLOSE)
    np.testing.assert_allclose(found[-300:].values, whole[-300:], **CLOSE)


def test_mp3_that_ends_early(tmp_path: Path) -> None:
    data = encoded("mp3_variable")
    (tmp_path / "cut.mp3").write_bytes(data[: len(data) // 2])
    found = opened(tmp_path / "cut.mp3")
    assert 20000 < len(found) < 55000
    assert found.values.shape == found.shape
    reference = decoded(data)
    np.testing.assert_allclose(found[2000:15000], reference[2000:15000], atol=1e-4)


def test_flac_of_unknown_length(tmp_path: Path) -> None:
    data = bytearray(encoded("flac"))
    data[21] &= 0xF0  # the 36 bits of STREAMINFO that say how many samples there are
    data[22:26] = bytes(4)
    (tmp_path / "stream.flac").write_bytes(data)
    found = opened(tmp_path / "stream.flac")
    reference, _ = soundfile.read(io.BytesIO(encoded("flac")), dtype="int16")
    assert found.shape == reference.shape
    np.testing.assert_array_equal(found[58000:], reference[58000:])
    np.testing.assert_array_equal(found.values, reference)


def test_audio_that_ends_early_is_an_error(tmp_path: Path) -> None:
    data = encoded("flac")
    (tmp_path / "cut.flac").write_bytes(data[: len(data) // 2])
    found = opened(tmp_path / "cut.flac")
    with pytest.raises(InvalidDatapackError, match=r"cut\.flac"):
        found[-1000:].load()
