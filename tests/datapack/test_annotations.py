"""Annotations of ELAN, Praat and WebVTT as events."""

from __future__ import annotations

import warnings
from itertools import permutations
from typing import TYPE_CHECKING, Any

import pympi
import pytest
import webvtt
import xarray as xr
from praatio import textgrid

from rinofs.datapack import DataNode, Document, dump
from rinofs.errors import InvalidDatapackError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

EAF = """<?xml version="1.0" encoding="UTF-8"?>
<ANNOTATION_DOCUMENT AUTHOR="" DATE="2024-01-01T00:00:00+00:00" FORMAT="3.0" VERSION="3.0">
<HEADER MEDIA_FILE="" TIME_UNITS="milliseconds"><MEDIA_DESCRIPTOR MEDIA_URL="file:///a.wav"/></HEADER>
<TIME_ORDER>
<TIME_SLOT TIME_SLOT_ID="ts1" TIME_VALUE="500"/><TIME_SLOT TIME_SLOT_ID="ts2" TIME_VALUE="1250"/>
<TIME_SLOT TIME_SLOT_ID="ts3"/><TIME_SLOT TIME_SLOT_ID="ts4" TIME_VALUE="2250"/>
</TIME_ORDER>
<TIER LINGUISTIC_TYPE_REF="a" TIER_ID="speech">
<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a1" TIME_SLOT_REF1="ts1" TIME_SLOT_REF2="ts2">
<ANNOTATION_VALUE>hello you</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>
<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a2" TIME_SLOT_REF1="ts3" TIME_SLOT_REF2="ts4">
<ANNOTATION_VALUE>&lt;laughs&gt; é</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>
</TIER>
<TIER LINGUISTIC_TYPE_REF="b" PARENT_REF="speech" TIER_ID="words">
<ANNOTATION><REF_ANNOTATION ANNOTATION_ID="a3" ANNOTATION_REF="a1">
<ANNOTATION_VALUE>hello</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION>
<ANNOTATION><REF_ANNOTATION ANNOTATION_ID="a4" ANNOTATION_REF="a1" PREVIOUS_ANNOTATION="a3">
<ANNOTATION_VALUE>you</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION>
</TIER>
<TIER LINGUISTIC_TYPE_REF="c" PARENT_REF="words" TIER_ID="class">
<ANNOTATION><REF_ANNOTATION ANNOTATION_ID="a5" ANNOTATION_REF="a4">
<ANNOTATION_VALUE>pronoun</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION>
</TIER>
</ANNOTATION_DOCUMENT>
"""

SPOKEN = [
    (0.5, 0.875, "hello", "words"),
    (0.5, 1.25, "hello you", "speech"),
    (0.875, 1.25, "you", "words"),
    (0.875, 1.25, "pronoun", "class"),
    (1.75, 2.25, "<laughs> é", "speech"),
]

LONG = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 2.5
tiers? <exists>
size = 2
item []:
    item [1]:
        class = "IntervalTier"
        name = "phones"
        xmin = 0
        xmax = 2.5
        intervals: size = 3
        intervals [1]:
            xmin = 0
            xmax = 0.5
            text = ""
        intervals [2]:
            xmin = 0.5
            xmax = 1.25
            text = "a ""b"" 3"
        intervals [3]:
            xmin = 1.25
            xmax = 2.5
            text = "é"
    item [2]:
        class = "TextTier"
        name = "clicks"
        xmin = 0
        xmax = 2.5
        points: size = 1
        points [1]:
            number = 0.75
            mark = "x"
"""

SHORT = """File type = "ooTextFile"
Object class = "TextGrid"

0
2.5
<exists>
2
"IntervalTier" "phones" 0 2.5 3
0 0.5 "" ! silence
0.5 1.25 "a ""b"" 3"
1.25 2.5 "é"
"TextTier"
"clicks"
0
2.5
1
0.75
"x"
"""

GRID = [(0.5, 1.25, 'a "b" 3', "phones"), (0.75, 0.75, "x", "clicks"), (1.25, 2.5, "é", "phones")]

VTT = """WEBVTT - a title
Kind: captions

STYLE
::cue { color: red }

NOTE no cue
at all

intro
00:00.500 --> 00:01.250 align:start position:0%
<v.loud Ann>Hello <i>you</i> &amp; all
second line

01:00:02.000 --> 01:00:03.100
no voice
"""

CUES = [(0.5, 1.25, "Hello you & all\nsecond line", "Ann"), (3602.0, 3603.1, "no voice", "")]


def events(path: Path, kind: str = "tier") -> list[tuple[Any, ...]]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = xr.open_dataset(path, engine="datapack")
    assert found.onset_time.attrs["units"] == found.offset_time.attrs["units"] == "s"
    columns = [found[name].values.tolist() for name in ("onset_time", "offset_time", "text", kind)]
    return list(zip(*columns, strict=True))


FILES: list[tuple[str, bytes, str, list[tuple[Any, ...]]]] = [
    ("a.eaf", EAF.encode(), "tier", SPOKEN),
    ("bom.eaf", b"\xef\xbb\xbf" + EAF.encode(), "tier", SPOKEN),
    ("long.TextGrid", LONG.encode(), "tier", GRID),
    ("short.TextGrid", SHORT.encode(), "tier", GRID),
    ("utf16.TextGrid", LONG.encode("utf-16"), "tier", GRID),
    ("crlf.TextGrid", SHORT.replace("\n", "\r\n").encode(), "tier", GRID),
    ("a.vtt", VTT.encode(), "voice", CUES),
    ("bom.vtt", b"\xef\xbb\xbf" + VTT.replace("\n", "\r\n").encode(), "voice", CUES),
]


@pytest.mark.parametrize(("name", "data", "kind", "expected"), FILES, ids=[each[0] for each in FILES])
def test_events(name: str, data: bytes, kind: str, expected: list[tuple[Any, ...]], tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    assert events(tmp_path / name, kind) == expected
    document = Document.create("lab", [DataNode.create("notes", name)])
    (tmp_path / "datapack.json").write_text(dump(document))
    tree = xr.open_datatree(tmp_path, engine="datapack")
    assert tree["notes"].dataset.text.values.tolist() == [each[2] for each in expected]


def subdivided(order: Sequence[str], *, chained: bool) -> str:
    """Return an ELAN document where one annotation of 3 s is divided into a, b and c."""
    parts = "".join(
        f'<ANNOTATION><REF_ANNOTATION ANNOTATION_ID="{key}" ANNOTATION_REF="whole"'
        + (f' PREVIOUS_ANNOTATION="{chr(ord(key) - 1)}"' if chained and key != "a" else "")
        + f"><ANNOTATION_VALUE>{key}</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION>"
        for key in order
    )
    return (
        '<ANNOTATION_DOCUMENT><HEADER TIME_UNITS="milliseconds"/><TIME_ORDER>'
        '<TIME_SLOT TIME_SLOT_ID="t1" TIME_VALUE="0"/><TIME_SLOT TIME_SLOT_ID="t2" TIME_VALUE="3000"/>'
        '</TIME_ORDER><TIER TIER_ID="top"><ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="whole"'
        ' TIME_SLOT_REF1="t1" TIME_SLOT_REF2="t2"><ANNOTATION_VALUE>whole</ANNOTATION_VALUE>'
        f'</ALIGNABLE_ANNOTATION></ANNOTATION></TIER><TIER TIER_ID="parts">{parts}</TIER>'
        "</ANNOTATION_DOCUMENT>"
    )


@pytest.mark.parametrize("order", ["".join(order) for order in permutations("abc")])
def test_annotations_that_divide_another_follow_their_previous_one(order: str, tmp_path: Path) -> None:
    path = tmp_path / "a.eaf"
    path.write_text(subdivided(order, chained=True))
    divided = [event[:3] for event in events(path) if event[3] == "parts"]
    assert divided == [(0, 1, "a"), (1, 2, "b"), (2, 3, "c")]
    path.write_text(subdivided(order, chained=False))
    assert [event[2] for event in events(path) if event[3] == "parts"] == list(order)


def test_many_annotations_may_divide_one(tmp_path: Path) -> None:
    count = 250_000  # if each is looked for among all others, this takes longer than a test may
    parts = "".join(
        f'<REF_ANNOTATION ANNOTATION_ID="c{number}" ANNOTATION_REF="whole"'
        f' PREVIOUS_ANNOTATION="c{number + 1}"/>'
        for number in range(count)
    )
    whole = subdivided("", chained=False)
    (tmp_path / "a.eaf").write_text(whole.replace('"parts">', f'"parts">{parts}'))
    divided = [event for event in events(tmp_path / "a.eaf") if event[3] == "parts"]
    assert len(divided) == count
    assert (divided[0][0], divided[-1][1]) == (0, 3)


@pytest.mark.parametrize(("start", "end", "kept"), [("<", "", True), ("<v ", "", True), ("<v.x", ">", False)])
def test_cues_may_have_many_beginnings_of_tags(tmp_path: Path, start: str, end: str, kept: bool) -> None:
    # If the end of each is looked for in all the rest, this takes longer than a test may.
    cue = start * 1_000_000 + end
    (tmp_path / "a.vtt").write_text(f"WEBVTT\n\n00:00.000 --> 00:01.000\n{cue}\n")
    [(begun, ended, text, _)] = events(tmp_path / "a.vtt", "text")
    assert (begun, ended, text == (cue if kept else "")) == (0, 1, True)


def test_files_that_elan_s_library_writes(tmp_path: Path) -> None:
    made = pympi.Elan.Eaf()
    made.add_tier("speech")
    made.add_annotation("speech", 500, 1250, "hé & <you>")
    made.to_file(str(tmp_path / "a.eaf"))
    assert events(tmp_path / "a.eaf") == [(0.5, 1.25, "hé & <you>", "speech")]


@pytest.mark.parametrize("form", ["short_textgrid", "long_textgrid"])
def test_files_that_praat_s_library_writes(form: str, tmp_path: Path) -> None:
    made = textgrid.Textgrid()
    made.addTier(textgrid.IntervalTier("words", [(0.25, 1, 'a "b"'), (1, 2, "c")], 0, 3))
    made.addTier(textgrid.PointTier("clicks", [(0.5, "z")], 0, 3))
    made.save(str(tmp_path / "a.TextGrid"), format=form, includeBlankSpaces=True)
    expected = [(0.25, 1, 'a "b"', "words"), (0.5, 0.5, "z", "clicks"), (1, 2, "c", "words")]
    assert events(tmp_path / "a.TextGrid") == expected


def test_files_that_a_library_of_webvtt_writes(tmp_path: Path) -> None:
    made = webvtt.WebVTT()
    made.captions.append(webvtt.Caption("01:00:00.500", "01:00:07.000", "<v Ann>hello\nyou"))
    made.save(str(tmp_path / "a.vtt"))
    assert events(tmp_path / "a.vtt", "voice") == [(3600.5, 3607.0, "hello\nyou", "Ann")]


def test_later_by_an_offset(tmp_path: Path) -> None:
    (tmp_path / "a.vtt").write_text(VTT)
    found = xr.open_dataset(tmp_path / "a.vtt", engine="datapack", start=10)
    assert found.onset_time.values.tolist() == [10.5, 3612.0]


BOMB = """<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>
<ANNOTATION_DOCUMENT>&b;</ANNOTATION_DOCUMENT>"""
OUTSIDE = """<?xml version="1.0"?><!DOCTYPE x SYSTEM "file:///etc/passwd"><ANNOTATION_DOCUMENT/>"""


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.eaf", BOMB, "has a document type or entities"),
        ("a.eaf", OUTSIDE, "has a document type or entities"),
        ("a.eaf", "<ANNOTATION_DOCUMENT>" + "<TIER>" * 300, "nested too deeply"),
        ("a.eaf", EAF[:900], "not well-formed"),
        ("a.eaf", "<x><ANNOTATION_DOCUMENT/></x>", "not an ELAN document"),
        ("a.eaf", EAF.replace('TIME_SLOT_REF2="ts4"', 'TIME_SLOT_REF2="ts9"'), "'a2' has no time: 'ts9'"),
        ("a.eaf", EAF.replace('ANNOTATION_REF="a4"', 'ANNOTATION_REF="a9"'), "refer to 'a9'"),
        ("a.eaf", EAF.replace("milliseconds", "fortnights"), "unknown unit of times 'fortnights'"),
        ("a.eaf", EAF.replace('TIME_VALUE="500"', 'TIME_VALUE="5_00"'), "'5_00' is not a number"),
        ("a.eaf", EAF.replace('TIME_VALUE="500"', 'TIME_VALUE="٣"'), "'٣' is not a number"),
        ("a.TextGrid", SHORT.replace("0.5 1.25", "0.5 1_0").replace('"é"', ""), "this TextGrid"),
        ("a.TextGrid", SHORT.replace("0.5 1.25", "0.5 ٣").replace('"é"', ""), "this TextGrid"),
        ("a.TextGrid", LONG[:500], "ends early"),
        ("a.TextGrid", SHORT.replace("0.5 1.25", "0.5 x 1.25").replace('"é"', ""), "this TextGrid"),
    ],
)
def test_what_cannot_be_read_is_named(name: str, text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InvalidDatapackError, match=rf"{name}: .*{message}"):
        xr.open_dataset(tmp_path / name, engine="datapack")
