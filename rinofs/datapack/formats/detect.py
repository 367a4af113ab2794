"""What a file is, by what is in it; what its node or name says only helps where that is not enough."""

from __future__ import annotations

import codecs
import json
from typing import Literal

from rinofs.datapack.formats.recordings import RecordingFormat, recording_format
from rinofs.errors import InvalidDatapackError

Format = Literal["json", "csv", "wav", "audio", "npy"] | RecordingFormat

HEAD = 4096
"""Bytes that tell what a file is."""

_AUDIO = (b"fLaC", b"OggS", b"caff", b".snd", b"RIFX", b"ID3", b"riff")
_BINARY = (b"%PDF", b"PK\x03\x04", b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"\x1f\x8b", b"CDF")
_BOMS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


class NotDataError(InvalidDatapackError):
    """A file that is none of the formats that arrays are read from."""


def format_of(head: bytes, mime: str | None = None, name: str = "") -> Format | None:
    """Return what a file is.

    Parameters
    ----------
    head : bytes
        Its first `HEAD` bytes, or all of them.
    mime : str, optional
        Its media type, which may be wrong; it decides only where the content does not.
    name : str, optional
        Its name, likewise.

    Returns
    -------
    str or None
        One of the words of `Format`; None for anything else (video, PDF).
    """
    if (recording := recording_format(head)) is not None:
        return recording
    if head.startswith(b"\x93NUMPY"):
        return "npy"
    if head[:4] in {b"RIFF", b"RF64", b"BW64"} and head[8:12] == b"WAVE":
        return "wav"
    if head.startswith(_AUDIO) or (head[:4] == b"FORM" and head[8:12] in {b"AIFF", b"AIFC"}):
        return "audio"
    if _is_mpeg_audio(head, mime, name):
        return "audio"
    if head.startswith(_BINARY):
        return None
    return _text_format(head, mime, name)


def _is_mpeg_audio(head: bytes, mime: str | None, name: str) -> bool:
    synchronised = len(head) > 1 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2
    return synchronised and ("audio" in (mime or "") or name.lower().endswith(".mp3"))


def _text_format(head: bytes, mime: str | None, name: str) -> Format | None:
    found = decoded(head, cut=True)
    if found is None:
        return None
    text, _ = found
    said = f"{mime or ''} {name.lower()}"
    start = text.lstrip()
    if not start:
        return "json" if "json" in said else "csv"
    return "json" if start[0] in "[{" else "csv"


def says_csv(mime: str | None, name: str) -> bool:
    """Whether media type or name call a file CSV, whose header may begin as JSON does."""
    return "csv" in (mime or "") or name.lower().endswith((".csv", ".tsv"))


def is_json(data: bytes) -> bool:
    """Whether all of a file is JSON."""
    try:
        json.loads(text_of(data) or "")
    except (ValueError, RecursionError):
        return False
    return True


def decoded(data: bytes, *, cut: bool = False) -> tuple[str, str] | None:
    """Return the text that bytes are, and its encoding; None where they are no text.

    Parameters
    ----------
    data : bytes
        The bytes.
    cut : bool, optional
        Whether the last character may be there in part.
    """
    marked = next((name for mark, name in _BOMS.items() if data.startswith(mark)), None)
    candidates = [marked or "utf-8", "cp1252"]
    if marked is None and b"\0" in data:
        candidates = ["utf-16-le", "utf-16-be"]  # without its mark, as some exports of Windows have it
    for encoding in candidates:
        try:
            text = codecs.getincrementaldecoder(encoding)().decode(data, final=not cut).removeprefix("\ufeff")
        except UnicodeDecodeError:
            continue
        if "\0" in text or ((marked or "utf-8") != encoding and not _is_plausible(text)):
            continue
        return text, encoding
    return None


def _is_plausible(text: str) -> bool:
    """Whether what another encoding makes of bytes looks like text: nearly all of a table is ASCII."""
    controls = sum(character < " " and character not in "\t\n\r\f\x1a" for character in text)
    plain = sum(character.isascii() for character in text)
    return not controls and plain * 10 >= len(text) * 7 and ("\n" in text or "\r" in text)


def text_of(data: bytes) -> str | None:
    """Return the text that bytes in UTF-8 or UTF-16 are, None where they are none."""
    found = decoded(data)
    return None if found is None or found[1] == "cp1252" else found[0]
