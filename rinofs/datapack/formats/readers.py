"""Choose the reader for a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rinofs.datapack.document.messages import warn
from rinofs.datapack.formats.audio import SoundSamples
from rinofs.datapack.formats.npy import npy_samples
from rinofs.datapack.formats.tables.reading import TableSamples
from rinofs.datapack.formats.wav import WavSamples, wav_layout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rinofs.datapack.formats.detect import Format
    from rinofs.datapack.formats.handles import FileHandle
    from rinofs.datapack.formats.recordings import Recording, RecordingFormat
    from rinofs.datapack.formats.samples import Samples


def samples_of(
    handle: FileHandle,
    kind: Format,
    *,
    whole_numbers: bool | None = None,
    label: str = "",
    channels: Sequence[str] | None = None,
) -> Samples:
    """Return the samples of a file.

    Parameters
    ----------
    handle : FileHandle
        File.
    kind : str
        Format, from `rinofs.datapack.formats.detect.format_of`.
    whole_numbers : bool, optional
        False scales integers of audio files to the range -1 to 1; otherwise they are not changed.
    label : str, optional
        Name of the file for warnings; by default its path.
    channels : sequence of str, optional
        Labels of the columns according to a datatype, so that a table need not be guessed.
    """
    scaled = whole_numbers is False
    if kind in {"json", "csv"}:
        return TableSamples(handle, kind, label or handle.path, channels)
    if kind == "npy":
        return npy_samples(handle)
    if kind == "wav":
        layout = wav_layout(handle.read, handle.size)
        if layout is not None:
            if layout.problem:
                warn(label or handle.path, layout.problem)
            return WavSamples(handle, layout, scaled=scaled)
    return SoundSamples(handle, scaled=scaled)


def recording_of(handle: FileHandle, kind: RecordingFormat, label: str) -> Recording:
    """Read a file with several streams or annotations.

    Parameters
    ----------
    handle : FileHandle
        File.
    kind : str
        Format, from `rinofs.datapack.formats.recordings.recording_format`.
    label : str
        Name of the file for messages.

    Raises
    ------
    ImportError
        If the library for the format is not installed.
    InvalidDatapackError
        If the file is not valid.
    """
    # Imported on demand, since most sessions need none of them.
    if kind in {"eaf", "textgrid", "webvtt"}:
        from rinofs.datapack.formats.laboratory.annotations import annotations_recording

        return annotations_recording(handle, label, kind)
    if kind == "edf":
        from rinofs.datapack.formats.laboratory.edf import edf_recording

        return edf_recording(handle, label)
    if kind == "repovizz1":
        from rinofs.datapack.formats.laboratory.repovizz1 import repovizz1_recording

        return repovizz1_recording(handle)
    if kind == "xdf":
        from rinofs.datapack.formats.laboratory.xdf import xdf_recording

        return xdf_recording(handle)
    from rinofs.datapack.formats.laboratory.hdf5 import hdf5_recording

    return hdf5_recording(handle, label)
