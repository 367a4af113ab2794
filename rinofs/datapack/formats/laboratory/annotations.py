"""Annotations of ELAN (EAF), Praat (TextGrid) and the web (WebVTT) as events."""

from __future__ import annotations

import html
import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from rinofs.datapack.document.messages import warn
from rinofs.datapack.formats.laboratory.safe_xml import parse_xml
from rinofs.datapack.formats.recordings import EventTable, Recording
from rinofs.datapack.formats.tables.cells import decimal_of
from rinofs.errors import InvalidDatapackError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rinofs.datapack.formats.handles import FileHandle
    from rinofs.datapack.formats.laboratory.safe_xml import Element

_Event = tuple[float, float, str, str]  # onset, offset, text, tier

_LARGEST = 256 * 1024 * 1024

_FRAMES = {"milliseconds": 1000.0, "PAL-frames": 25.0, "NTSC-frames": 30000 / 1001}


def annotations_recording(handle: FileHandle, label: str, kind: str) -> Recording:
    """Read the events of an annotation file.

    Parameters
    ----------
    handle : FileHandle
        File.
    label : str
        Name for messages.
    kind : str
        ``eaf``, ``textgrid`` or ``webvtt``.

    Raises
    ------
    InvalidDatapackError
        If the file is not valid.
    """
    size = handle.size
    if size > _LARGEST:
        raise InvalidDatapackError(f"a file of annotations with {size} bytes is too large")
    data = handle.read_all()
    if kind == "eaf":
        return Recording((), (_table(eaf_events(parse_xml(data))),))
    text = _text(data, label)
    if kind == "textgrid":
        return Recording((), (_table(textgrid_events(text)),))
    return Recording((), (_table(webvtt_events(text), tier="voice"),))


def _table(events: list[_Event], tier: str = "tier") -> EventTable:
    events = sorted(events, key=lambda event: event[:2])
    columns: dict[str, Any] = {
        "onset_time": np.array([event[0] for event in events], float),
        "offset_time": np.array([event[1] for event in events], float),
        "text": np.array([event[2] for event in events], dtype=object),
    }
    if tier == "tier" or any(event[3] for event in events):
        columns[tier] = np.array([event[3] for event in events], dtype=object)
    return EventTable("annotations", columns)


def _text(data: bytes, label: str) -> str:
    encoding = "utf-16" if data[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8-sig"
    if encoding == "utf-8-sig" and data[:1] == b"\0":
        encoding = "utf-16-be"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        warn(label, "the text is not UTF-8; it is read as Windows-1252")
        return data.decode("windows-1252", "replace")


def eaf_events(root: Element) -> list[_Event]:
    """Return the annotations in all tiers of an ELAN document.

    Annotations that refer to others have the same times; several that divide one annotation share its time
    evenly. As ELAN does, times that are not set are spaced evenly between their neighbours.

    Raises
    ------
    InvalidDatapackError
        If it is not an ELAN document, or an annotation refers to a missing one.
    """
    if root.name != "ANNOTATION_DOCUMENT":
        raise InvalidDatapackError(f"not an ELAN document: its root is <{root.name[:40]}>")
    header = root.first("HEADER")
    units = header.attributes.get("TIME_UNITS", "milliseconds") if header else "milliseconds"
    if units not in _FRAMES:
        raise InvalidDatapackError(f"unknown unit of times {units[:40]!r}")
    slots = {key: value / _FRAMES[units] for key, value in _slots(root).items()}
    found: dict[str, tuple[float, float]] = {}
    waiting: dict[str, list[tuple[str, str]]] = {}
    previous: dict[str, str] = {}
    texts: dict[str, tuple[str, str]] = {}
    for tier in root.iter("TIER"):
        name = tier.attributes.get("TIER_ID", "")
        for one in tier.iter("ALIGNABLE_ANNOTATION"):
            key = one.attributes.get("ANNOTATION_ID", "")
            try:
                found[key] = (
                    slots[one.attributes["TIME_SLOT_REF1"]],
                    slots[one.attributes["TIME_SLOT_REF2"]],
                )
            except KeyError as error:
                raise InvalidDatapackError(f"the annotation {key!r} has no time: {error}") from None
            texts[key] = _value(one), name
        for one in tier.iter("REF_ANNOTATION"):
            key = one.attributes.get("ANNOTATION_ID", "")
            waiting.setdefault(one.attributes.get("ANNOTATION_REF", ""), []).append((key, name))
            previous[key] = one.attributes.get("PREVIOUS_ANNOTATION", "")
            texts[key] = _value(one), name
    _place(found, waiting, previous)
    return [(*found[key], *texts[key]) for key in texts]


def _slots(root: Element) -> dict[str, float]:
    """Return the times of all time slots."""
    order = [
        (slot.attributes.get("TIME_SLOT_ID", ""), slot.attributes.get("TIME_VALUE"))
        for slot in root.iter("TIME_SLOT")
    ]
    try:
        known = [(place, decimal_of(value)) for place, (_, value) in enumerate(order) if value is not None]
    except ValueError as error:
        raise InvalidDatapackError(f"a time is not a number: {error}") from None
    if not known:
        return {}
    places, values = zip(*known, strict=True)
    times = np.interp(np.arange(len(order)), places, values)
    return {key: float(time) for (key, _), time in zip(order, times, strict=True)}


def _value(annotation: Element) -> str:
    value = annotation.first("ANNOTATION_VALUE")
    return value.text if value else ""


def _place(
    found: dict[str, tuple[float, float]],
    waiting: dict[str, list[tuple[str, str]]],
    previous: Mapping[str, str],
) -> None:
    """Assign times to annotations that refer to others."""
    ahead = [key for key in waiting if key in found]
    while ahead:
        parent = ahead.pop()
        members: dict[str, list[str]] = {}
        for key, tier in waiting.pop(parent):
            members.setdefault(tier, []).append(key)
        for keys in members.values():
            edges = np.linspace(*found[parent], len(keys) + 1)
            for key, (onset, offset) in zip(_chained(keys, previous), pairwise(edges.tolist()), strict=True):
                found[key] = onset, offset
                if key in waiting:
                    ahead.append(key)
    if waiting:
        raise InvalidDatapackError(f"annotations refer to {min(waiting)!r}, which does not exist")


def _chained(keys: Sequence[str], previous: Mapping[str, str]) -> list[str]:
    """Return annotations so that each follows its previous one, otherwise in the order of the document."""
    present = set(keys)
    following = {previous[key]: key for key in keys if previous[key] in present}
    chained: dict[str, None] = {}
    for first in [*(key for key in keys if previous[key] not in present), *keys]:
        key: str | None = first
        while key is not None and key not in chained:
            chained[key] = None
            key = following.get(key)
    return list(chained)


_NUMBER = r"[+-]?[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?%?"
_TOKEN = re.compile(rf'"((?:[^"]|"")*)"|(?<!\S)(<\w+>|{_NUMBER})(?!\S)|!.*')


def textgrid_events(text: str) -> list[_Event]:
    """Return the intervals and points of a TextGrid, long or short; empty intervals are left out.

    As in Praat, only quoted texts, free-standing numbers and flags are read; everything else is a comment
    (https://www.fon.hum.uva.nl/praat/manual/TextGrid_file_formats.html).

    Raises
    ------
    InvalidDatapackError
        If it is not a TextGrid, or is truncated.
    """
    tokens = _tokens(text)
    try:
        if (next(tokens), next(tokens)) != ("ooTextFile", "TextGrid"):
            raise InvalidDatapackError("this is a Praat file, but not a TextGrid")
        next(tokens), next(tokens)
        if next(tokens) != "<exists>":
            return []
        return [event for _ in range(int(next(tokens))) for event in _tier(tokens)]
    except StopIteration:
        raise InvalidDatapackError("this TextGrid ends early") from None
    except ValueError as error:
        if isinstance(error, InvalidDatapackError):
            raise
        raise InvalidDatapackError(f"cannot read this TextGrid: {error}") from None


def _tokens(text: str) -> Iterator[str]:
    for match in _TOKEN.finditer(text):
        if match[1] is not None:
            yield match[1].replace('""', '"')
        elif match[2] is not None:
            yield match[2]


def _tier(tokens: Iterator[str]) -> list[_Event]:
    kind, name = next(tokens), next(tokens)
    next(tokens), next(tokens)
    count = int(next(tokens))
    found = []
    for _ in range(count):
        onset = float(next(tokens))
        offset = float(next(tokens)) if kind == "IntervalTier" else onset
        text = next(tokens)
        if text.strip() or kind != "IntervalTier":
            found.append((onset, offset, text, name))
    return found


_STAMP = r"(?:\d{1,12}:)?\d\d:\d\d\.\d{3}"
_TIMING = re.compile(rf"\s*({_STAMP})\s+-->\s+({_STAMP})(?:\s.*)?$", re.ASCII)
_VOICE = re.compile(r"<v(?:\.[^\s<>]*)?\s+([^>]*)>")


def webvtt_events(text: str) -> list[_Event]:
    """Return the cues of a WebVTT file without markup, and their speakers.

    Raises
    ------
    InvalidDatapackError
        If it is not WebVTT.
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\ufffd").split("\n")
    if not re.match(r"\ufeff?WEBVTT(?:[ \t]|$)", lines[0]):
        raise InvalidDatapackError("not a WebVTT file: it does not begin with WEBVTT")
    found: list[_Event] = []
    number = 1
    while number < len(lines):
        timing = _TIMING.match(lines[number])
        number += 1
        if timing is None:
            continue
        payload = []
        while number < len(lines) and lines[number].strip() and "-->" not in lines[number]:
            payload.append(lines[number])
            number += 1
        cue = "\n".join(payload)
        # Up to the last tag: a search for the end of one that has none would go through all the rest.
        marked, end, plain = cue.rpartition(">")
        voice = _VOICE.search(marked + end)
        words = html.unescape(re.sub(r"<[^>]*>", "", marked + end) + plain)
        found.append((_seconds(timing[1]), _seconds(timing[2]), words, voice[1].strip() if voice else ""))
    return found


def _seconds(stamp: str) -> float:
    *hours, minutes, seconds = stamp.split(":")
    # From an integer of milliseconds, so that 0.1 s is exactly the float 0.1.
    whole, thousandths = seconds.split(".")
    total = (int(hours[0]) if hours else 0) * 3600 + int(minutes) * 60 + int(whole)
    return (total * 1000 + int(thousandths)) / 1000
