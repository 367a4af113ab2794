"""Encode arrays as files: JSON, CSV, WAV or NPY, one block of rows at a time."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rinofs.datapack.formats.detect import format_of
from rinofs.datapack.formats.tables.cells import is_value
from rinofs.datapack.formats.tables.dialect import COMMENT, INDEX_LABEL, SEPARATOR_LINE
from rinofs.errors import InvalidOptionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import BinaryIO

BLOCK = 1 << 20
"""Maximum number of values in memory at a time."""

_RIFF = 0xFFFF_0000  # maximum size of the data in a WAV file with 32-bit lengths, less room for headers


@dataclass(frozen=True, slots=True)
class FileFormat:
    """A file format for arrays.

    Attributes
    ----------
    name : str
        Name in options, such as ``json``.
    extension, mime : str
        Extension and media type of its files.
    """

    name: str
    extension: str
    mime: str


FORMATS = {
    one.name: one
    for one in (
        FileFormat("json", ".json", "application/json"),
        FileFormat("csv", ".csv", "text/csv"),
        FileFormat("wav", ".wav", "audio/wav"),
        FileFormat("npy", ".npy", "application/x-npy"),
    )
}


@dataclass(frozen=True, slots=True)
class SampleBlocks:
    """A regularly sampled array that is written block by block.

    Attributes
    ----------
    label : str
        Name for messages.
    shape : tuple of int
        Samples, further dimensions, channels.
    dtype : numpy.dtype
        Type of the values.
    blocks : iterable of numpy.ndarray
        Rows, in order.
    channels : sequence of str
        Labels of the channels.
    rate : float or None
        Samples per second.
    """

    label: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    blocks: Iterable[np.ndarray[Any, Any]]
    channels: Sequence[str]
    rate: float | None


def check_fits(samples: SampleBlocks, form: FileFormat) -> None:
    """Raise an error if a format cannot represent an array, as far as this can be told without its values.

    Raises
    ------
    InvalidOptionError
        If the format is not suitable; the message lists suitable ones.
    """
    if form.name in {"csv", "wav"} and len(samples.shape) > 2:
        raise InvalidOptionError(
            f"{samples.label}: {form.name} has only the dimensions time and channel; write it as json or npy"
        )
    if form.name == "csv" and not samples.shape[0] and not _is_header(samples.channels):
        raise InvalidOptionError(f"{samples.label}: nothing to store as csv; write it as json or npy")
    if form.name == "wav":
        _wav_rate(samples)
        _wav_width(samples)


def check_column_fits(values: Iterable[Any], label: str, form: FileFormat) -> None:
    """Raise an error if a format cannot represent the values of a column of events.

    Raises
    ------
    InvalidOptionError
        With a format that can.
    """
    for value in values:
        if form.name == "json" and isinstance(value, float) and math.isinf(value):
            raise InvalidOptionError(f"{label}: JSON cannot store infinite numbers; write it as csv")
        if form.name == "csv" and isinstance(value, str) and "\r" in value:
            raise InvalidOptionError(
                f"{label}: CSV cannot tell a carriage return in a text from a line feed; write it as json"
            )


def encode_samples(samples: SampleBlocks, form: FileFormat, file: BinaryIO) -> None:
    """Write samples to a file.

    Raises
    ------
    InvalidOptionError
        If the format cannot represent a value; the message lists suitable formats.
    """
    writers = {"json": _json, "csv": _csv, "wav": _wav, "npy": _npy}
    writers[form.name](samples, file)


def encode_rows(
    rows: Iterable[Sequence[Any]], labels: Sequence[str], form: FileFormat, file: BinaryIO
) -> None:
    """Write rows of events as JSON or CSV."""
    text = io.TextIOWrapper(file, "utf-8", newline="")
    if form.name == "json":
        lines = (json.dumps(list(row), ensure_ascii=False, allow_nan=False) for row in rows)
        _write_lines(lines, text)
    else:
        writer = csv.writer(text, lineterminator="\n")
        if _is_header(labels):
            writer.writerow(labels)
        writer.writerows([_cell(value) for value in row] for row in rows)
    text.detach()


def _json(samples: SampleBlocks, file: BinaryIO) -> None:
    text = io.TextIOWrapper(file, "utf-8", newline="")
    _write_lines(_json_lines(samples), text)
    text.detach()


def _json_lines(samples: SampleBlocks) -> Iterator[str]:
    for block in samples.blocks:
        for row in _listed(block, samples.label):
            yield json.dumps(row, allow_nan=False)


def _listed(block: np.ndarray[Any, Any], label: str) -> list[Any]:
    """Return rows for JSON, with null in place of NaN and infinities."""
    if block.dtype.kind == "f" and not np.isfinite(block).all():
        if np.isinf(block).any():
            raise InvalidOptionError(
                f"{label}: JSON cannot store infinite numbers; write it as csv, wav or npy"
            )
        shown = block.astype(object)
        shown[np.isnan(block)] = None
        return list(shown.tolist())
    return list(block.tolist())


def _write_lines(lines: Iterable[str], text: io.TextIOWrapper) -> None:
    text.write("[")
    between = ""
    for line in lines:
        text.write(between + line)
        between = ",\n"
    text.write("]\n")
    text.flush()


def _csv(samples: SampleBlocks, file: BinaryIO) -> None:
    text = io.TextIOWrapper(file, "utf-8", newline="")
    writer = csv.writer(text, lineterminator="\n")
    if _is_header(samples.channels):
        writer.writerow(samples.channels)
    for block in samples.blocks:
        # "True" and "False" in the first row would be taken for a header.
        rows = block.astype("int8") if block.dtype.kind == "b" else block
        writer.writerows(rows.tolist())
    text.flush()
    text.detach()


def _is_header(labels: Sequence[str]) -> bool:
    """Return whether labels are unambiguous as a header, and not taken for numbers, rows or other formats."""
    start = labels[0] if labels else ""
    if start.lower() == INDEX_LABEL or start.startswith("\ufeff"):
        return False
    if SEPARATOR_LINE.fullmatch(",".join(labels)):
        return False
    if start.startswith("#") or COMMENT.match(start) or format_of(start.encode(), "text/csv") != "csv":
        return False
    if any(set(label) & set("\t;\n\r") for label in labels):
        return False
    return not all(is_value(label, ",") for label in labels)


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else value


def _wav(samples: SampleBlocks, file: BinaryIO) -> None:
    import soundfile

    rate, (width, written) = _wav_rate(samples), _wav_width(samples)
    size = int(np.prod(samples.shape)) * written.itemsize
    kind = "WAV" if size < _RIFF else "RF64"
    with soundfile.SoundFile(
        file, "w", samplerate=rate, channels=samples.shape[1], subtype=width, format=kind
    ) as sound:
        for block in samples.blocks:
            sound.write(_narrowed(block, written, samples.label))


def _wav_rate(samples: SampleBlocks) -> int:
    if samples.rate is None or samples.rate != round(samples.rate) or not 0 < samples.rate < 2**31:
        told = "unknown" if samples.rate is None else f"{samples.rate:g} Hz"
        raise InvalidOptionError(
            f"{samples.label}: the sampling rate of a wav file must be a whole number of Hz, not"
            f" {told}; write it as npy, json or csv"
        )
    return int(samples.rate)


def _wav_width(samples: SampleBlocks) -> tuple[str, np.dtype[Any]]:
    """Return the name of a wav encoding for a dtype, and the dtype of the values to pass to it."""
    kind, size = samples.dtype.kind, samples.dtype.itemsize
    if kind == "f" and size <= 8:
        return ("FLOAT", np.dtype("float32")) if size <= 4 else ("DOUBLE", np.dtype("float64"))
    if kind in "iu":
        small = size == 1 or samples.dtype == np.int16
        return ("PCM_16", np.dtype("int16")) if small else ("PCM_32", np.dtype("int32"))
    raise InvalidOptionError(
        f"{samples.label}: a wav file stores integers and floats, not {samples.dtype};"
        " write it as npy, json or csv"
    )


def _narrowed(block: np.ndarray[Any, Any], dtype: np.dtype[Any], label: str) -> np.ndarray[Any, Any]:
    if dtype.kind == "i" and block.size and not np.can_cast(block.dtype, dtype):
        limits = np.iinfo(dtype)
        if block.min() < limits.min or block.max() > limits.max:
            raise InvalidOptionError(
                f"{label}: a wav file stores integers of at most 32 bits; write it as npy, json or csv"
            )
    return block.astype(dtype)


def _npy(samples: SampleBlocks, file: BinaryIO) -> None:
    native = samples.dtype.newbyteorder("<")
    header = {"descr": np.lib.format.dtype_to_descr(native), "fortran_order": False, "shape": samples.shape}
    np.lib.format.write_array_header_1_0(file, header)
    file.writelines(np.ascontiguousarray(block, native).data for block in samples.blocks)
