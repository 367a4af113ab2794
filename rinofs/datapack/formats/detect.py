"""Detect the format of a file from its content; its name and type help if that is not enough."""

from __future__ import annotations

import codecs
import json
import re
from typing import Literal

from rinofs.datapack.document.messages import shortened
from rinofs.datapack.formats.recordings import RecordingFormat, recording_format
from rinofs.errors import InvalidDatapackError

Format = Literal["json", "csv", "wav", "audio", "npy"] | RecordingFormat

HEAD = 4096
"""Bytes that tell what a file is."""

_TOKEN = 24  # characters: a number that is cut is an error where it begins

_AUDIO = (b"fLaC", b"OggS", b"caff", b".snd", b"RIFX", b"ID3", b"riff")
_BINARY = (b"%PDF", b"PK\x03\x04", b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"\x1f\x8b", b"CDF")
_BOMS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


class NotDataError(InvalidDatapackError):
    """A file that is none of the formats that arrays are read from."""


class UnreadNumberError(NotDataError):
    """A table with numbers or times that are written in a way that is not read."""


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
    said = "json" in (mime or "") or name.lower().endswith(".json")
    start = text.lstrip()
    if not start:
        return "json" if said else "csv"
    # Lines of logs, and headers of tables, may begin as JSON does.
    whole = len(head) < HEAD and ("csv" in (mime or "") or name.lower().endswith((".csv", ".tsv")))
    return "json" if start[0] in "[{" and (said or _begins_as_json(start, whole=whole)) else "csv"


def _begins_as_json(text: str, *, whole: bool) -> bool:
    """Whether a text is JSON, or if it is not `whole`, JSON may go on from it."""
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        cut = _TOKEN if len(text) > HEAD // 4 else 0
        return not whole and (error.pos >= len(text) - cut or error.msg.startswith("Unterminated string"))
    except RecursionError:
        pass
    return True


def json_array(head: bytes, *, of_numbers: bool) -> None:
    """Refuse JSON that is no array by its beginning, before all of it is read.

    Parameters
    ----------
    head : bytes
        The beginning.
    of_numbers : bool
        Whether it has to hold numbers, or rows of them.

    Raises
    ------
    NotDataError
        If it is none.
    """
    text = (decoded(head, cut=True) or ("", ""))[0].lstrip()
    wrong = re.match(r"\{", text) or (of_numbers and re.match(r"\[[\s\[]*[{\"]", text))
    if wrong:
        wanted = "array of numbers or of rows" if of_numbers else "array of events"
        raise NotDataError(f"this is JSON, but {shortened(text)} is not an {wanted}")


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
            text = codecs.getincrementaldecoder(encoding)().decode(data, final=not cut).lstrip("\ufeff")
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
