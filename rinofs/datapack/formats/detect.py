"""Detect the format of a file from its content; name and media type help if that is ambiguous."""

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
"""Number of bytes at the beginning that determine the format."""

_TOKEN = 24  # characters: a truncated number causes an error where it begins

# A text may begin with the same letters, such as the label `riff_length`; a binary byte after them does not.
_AUDIO = re.compile(
    rb"fLaC[\x00\x80]|OggS\x00|caff\x00|\.snd\x00|dns\...\x00\x00|ID3[\x02-\x04]|riff\x2e\x91"
    rb"|RIFX.{4}WAVE|FORM.{4}(AIFF|AIFC|8SVX|16SV)|NIST_1A\n|Creative Voice File\x1a",
    re.DOTALL,
)
_BINARY = re.compile(
    rb"%PDF-|PK\x03\x04|\x89PNG|\xff\xd8\xff|GIF8[79]a|\x1f\x8b|CDF[\x01\x02\x05]", re.DOTALL
)
_BOMS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


class NotDataError(InvalidDatapackError):
    """A file in a format that arrays cannot be read from."""


class UnreadNumberError(NotDataError):
    """A table with numbers or times that are written in a way that is not read."""


def format_of(head: bytes, mime: str | None = None, name: str = "") -> Format | None:
    """Detect the format of a file.

    Parameters
    ----------
    head : bytes
        First `HEAD` bytes, or the whole file.
    mime : str, optional
        Media type, which may be wrong; used only if the content is ambiguous.
    name : str, optional
        File name, used likewise.

    Returns
    -------
    str or None
        One of `Format`; None for anything else, such as video or PDF.
    """
    if (recording := recording_format(head)) is not None:
        return recording
    if head.startswith(b"\x93NUMPY"):
        return "npy"
    if head[:4] in {b"RIFF", b"RF64", b"BW64"} and head[8:12] == b"WAVE":
        return "wav"
    if _AUDIO.match(head) or _is_mpeg_audio(head, mime, name):
        return "audio"
    if _BINARY.match(head):
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
    # Lines of logs and headers of tables may start as JSON does.
    whole = len(head) < HEAD and ("csv" in (mime or "") or name.lower().endswith((".csv", ".tsv")))
    return "json" if start[0] in "[{" and (said or _begins_as_json(start, whole=whole)) else "csv"


def _begins_as_json(text: str, *, whole: bool) -> bool:
    """Return whether a text is valid JSON or, if not `whole`, the beginning of valid JSON."""
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        cut = _TOKEN if len(text) > HEAD // 4 else 0
        return not whole and (error.pos >= len(text) - cut or error.msg.startswith("Unterminated string"))
    except RecursionError:
        pass
    return True


def json_array(head: bytes, *, of_numbers: bool) -> None:
    """Check by its beginning that a JSON file is an array, before reading all of it.

    Parameters
    ----------
    head : bytes
        Beginning of the file.
    of_numbers : bool
        Whether the array must contain numbers or rows of numbers.

    Raises
    ------
    NotDataError
        If it does not.
    """
    text = (decoded(head, cut=True) or ("", ""))[0].lstrip()
    wrong = re.match(r"\{", text) or (of_numbers and re.match(r"\[[\s\[]*[{\"]", text))
    if wrong:
        wanted = "array of numbers or of rows" if of_numbers else "array of events"
        raise NotDataError(f"this is JSON, but {shortened(text)} is not an {wanted}")


def decoded(data: bytes, *, cut: bool = False) -> tuple[str, str] | None:
    """Decode bytes; returns the text and its encoding, None if they are not text.

    Parameters
    ----------
    data : bytes
        Bytes.
    cut : bool, optional
        Whether the last character may be incomplete.
    """
    marked = next((name for mark, name in _BOMS.items() if data.startswith(mark)), None)
    candidates = [marked or "utf-8", "cp1252"]
    if marked is None and b"\0" in data:
        candidates = ["utf-16-le", "utf-16-be"]  # some exports on Windows have no byte order mark
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
    """Return whether a decoded text is plausible: nearly all of a table is ASCII."""
    controls = sum(character < " " and character not in "\t\n\r\f\x1a" for character in text)
    plain = sum(character.isascii() for character in text)
    return not controls and plain * 10 >= len(text) * 7 and ("\n" in text or "\r" in text)


def text_of(data: bytes) -> str | None:
    """Decode bytes in UTF-8 or UTF-16, None if they are neither."""
    found = decoded(data)
    return None if found is None or found[1] == "cp1252" else found[0]
