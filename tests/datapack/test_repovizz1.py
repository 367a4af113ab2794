"""repoVizz 1: signals alone, and packs that become datapacks."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from typing import TYPE_CHECKING, Any

import fsspec
import numpy as np
import pytest
import soundfile
import xarray as xr
from click.testing import CliRunner

from rinofs.cli.main import main
from rinofs.datapack import parse
from rinofs.datapack.authoring import unpacking
from rinofs.datapack.authoring.repovizz1 import import_pack
from rinofs.datapack.document.messages import DataWarning
from rinofs.datapack.document.validation import flaws
from rinofs.errors import InvalidDatapackError
from rinofs.testing import live_server

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

XML = """<ROOT ID="ROOT0"><Generic Category="METADATA" Expanded="1" ID="ROOT0_META0" Name="Jar 7"
 _Extra="">
<Description Category="TITLE" Expanded="1" ID="ROOT0_META0_TITL0" Text="A jar, shaken" _Extra=""/>
<File Category="README" Expanded="1" FileType="txt" Filename="about jar.txt" ID="ROOT0_META0_READ1"
 Name="About"/>
<Generic Category="KEYWORDS" Expanded="1" ID="ROOT0_META0_KEYW2" Name="Words" _Extra="">
<Description Category="TAG" Expanded="1" ID="ROOT0_META0_KEYW2_TAG0" Text="glass"
 _Extra=""/></Generic></Generic>
<Generic Category="SensorGroup" Expanded="1" ID="ROOT0_Sens1" Name="Lid" _Extra="">
<Signal BytesPerSample="" Category="Sensor" DefaultPath="0" EstimatedSampleRate="0.0" FileType="CSV"
 Filename="lid[1]" FrameSize="" ID="ROOT0_Sens1_Lid0_Sens0" MaxVal="9" MinVal="10.5" name="1"
 NumSamples="1"
 ResampledFlag="-1" SampleRate="50" SpecSampleRate="0.0" _Extra="canvas=-1,color=0,selected=1"/>
<Signal Category="Sensor" FileType="CSV" Filename="lid[2].csv" ID="ROOT0_Sens1_Lid0_Sens0" Name="1"
 SampleRate=""/>
</Generic>
<Generic Category="MoCapGroup" Expanded="0" ID="ROOT0_MoCa2" Name="Hand" _Extra="">
<File Category="MoCapLinks" DefaultPath="0" FileType="bones" Filename="hand.bones"
 ID="ROOT0_MoCa2_MoCa0" Name="Links"/>
<Generic Category="MoCapMarker" Expanded="0" ID="ROOT0_MoCa2_MoCa1" Name="Thumb" _Extra="">
<Signal Category="X" FileType="CSV" Filename="thumb_X.csv" Name="X" SampleRate="120.00"/>
<Signal Category="Y" FileType="CSV" Filename="THUMB_y.CSV" Name="Y" SampleRate="120.00"/>
<Signal Category="Z" FileType="CSV" Filename="thumb_Z.csv" Name="Z"
 SampleRate="120.00"/></Generic></Generic>
<Generic Category="AudioGroup" Expanded="1" ID="ROOT0_Audi3" Name="Sound" _Extra="">
<Audio BytesPerSample="4" Category="Ambient" FileType="BWF" Filename="room.mp3" NumChannels="1"
 Name="Room"/>
<Generic _extra="" category="AudioDesc" expanded="0" name="[Ambient] Room - Essentia audio descriptors">
<Generic _extra="" category="LowLevel" expanded="0" id="ROOT0_Audi3_Ambi0_essentia.lowlevel"
 name="Low level">
<Signal _extra="" bytespersample="4" category="AuDesc" filename="room.wav.lowlevel.Mfcc.wav"
 framesize="13"
 name="essentia.lowlevel.Mfcc" numchannels="1" numsamples="2184"
 samplerate="84.0"/></Generic></Generic></Generic>
<Generic Category="Score" Expanded="1" ID="ROOT0_Scor4" Name="Taps" _Extra="">
<Annotation Category="SegmentList" FileType="NOTES" Filename="taps.notes" ID="ROOT0_Scor4_Segm0"
 Name="Taps"/>
</Generic>
<Video Category="HQ" DefaultPath="0" FileType="MP4" Filename="jar.mp4" ID="ROOT0_HQ0" Name="Camera"/>
<Unknown Name="x"/></ROOT>"""

MFCC = np.random.default_rng(1).normal(size=(168, 13)).astype(np.float32)


def encoded(values: Any, rate: int, **options: Any) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, values, rate, **options)
    return file.getvalue()


def specimen() -> dict[str, bytes]:
    return {
        "jar.xml": XML.encode(),
        "about jar.txt": b"Shaken twice.",
        "lid[1].csv": b"repovizz,framerate=50\n0.,-0.25,10.5,9,1e-05\r\n",
        "lid[2].csv": b"repoVizz,category=categorytest,name=nametest,offsettime=0.5,framerate=49.96240601,"
        b"minval=-512,maxval=512,\n12,-7,0,512,",
        "hand.bones": b"A, hand\nM, Thumb, 255, 150, 100, 0.01\nB, Thumb, Thumb\n",
        "thumb_X.csv": b"repovizz,framerate=120.00,minval=-3.000000,maxval=41.250000\n1.500000,NaN,1.75,\n",
        "thumb_Y.csv": b"repovizz,minval=-3,maxval=41\n1,2,3\n",
        "thumb_Z.csv": b"repovizz,framerate=120\n-1,-2,-3",
        "room.mp3": encoded(np.zeros(44100), 44100, format="MP3"),
        "room.wav.lowlevel.Mfcc.wav": encoded(MFCC.reshape(-1), 84, format="WAV", subtype="FLOAT"),
        "taps.notes": b"0.4 0.9 rest\n0.9 1.15 C#4\n1.15 1.6 Eb3,G3\n",
        "jar.mp4": b"\0\0\0\x20ftypisom" + bytes(50),
        ".DS_Store": b"\0\1",
    }


def as_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def as_folder(path: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def test_one_signal_alone(tmp_path: Path) -> None:
    as_folder(tmp_path, specimen())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first = xr.open_dataset(tmp_path / "lid[1].csv", engine="datapack")
        second = xr.open_dataset(tmp_path / "lid[2].csv", engine="datapack")
        third = xr.open_dataset(tmp_path / "thumb_X.csv", engine="datapack")
        fourth = xr.open_dataset(tmp_path / "thumb_Y.csv", engine="datapack", rate=120)
    assert first.value.values.tolist() == [[0], [-0.25], [10.5], [9], [1e-05]]
    assert first.time.values.tolist() == [0, 0.02, 0.04, 0.06, 0.08]
    assert second.value.values.tolist() == [[12], [-7], [0], [512]]
    assert second.time[0] == 0.5
    assert second.value.attrs["sampling_rate"] == 49.96240601
    np.testing.assert_array_equal(third.value[:, 0], [1.5, np.nan, 1.75])
    assert fourth.time[2] == 2 / 120


def test_long_signals(tmp_path: Path) -> None:
    values = np.random.default_rng(1).normal(size=300_000)
    line = ",".join(map(repr, values.tolist()))
    for name, end in (("a.csv", ""), ("b.csv", ","), ("c.csv", ",\r\n\n")):
        (tmp_path / name).write_bytes(f"repovizz,framerate=1000\n{line}{end}".encode())
        found = xr.open_dataset(tmp_path / name, engine="datapack")
        np.testing.assert_array_equal(found.value[:, 0], values)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"repovizz,framerate=0\n1,2", "framerate=0 is not a valid rate"),
        (b"repovizz,framerate=fast\n1,2", "framerate=fast in the header is not a number"),
        (b"repovizz,framerate=5\n1,x,2", "sample 2 is 'x', not a number"),
        (b"repovizz,framerate=5\n1,,2", "sample 2 is '', not a number"),
        (b"repovizz,framerate=5\n1,2\n3,4", "has two lines"),
        (b"repovizz,framerate=1_0\n1,2", "framerate=1_0 in the header is not a number"),
        ("repovizz,framerate=\u0661\n1,2".encode(), "framerate=\u0661 in the header is not a number"),
        (b"repovizz,framerate=5\n1,2,1_0", "sample 3 is '1_0', not a number"),
        (b"repovizz,framerate=5\n1" + b",2" * 600_000 + b",1_0.5,", "sample 600002 is '1_0.5', not a number"),
        ("repovizz,framerate=5\n1,\u0661".encode(), "sample 2 is '\u0661', not a number"),
    ],
)
def test_broken_signals(data: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(data)
    with pytest.raises(InvalidDatapackError, match=rf"a\.csv: .*{message}"):
        xr.open_dataset(tmp_path / "a.csv", engine="datapack")


def check(url: str) -> xr.DataTree:
    """Compare a datapack with the specimen, and return its tree."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tree = xr.open_datatree(url, engine="datapack")
    about = {"name": "Jar 7", "description": "A jar, shaken", "keywords": ["glass"]}
    assert {key: tree.attrs[key] for key in about} == about
    assert tree["Lid/1"].dataset.value.values.tolist() == [[0], [-0.25], [10.5], [9], [1e-05]]
    assert tree["Lid/1"].dataset.time.values.tolist() == [0, 0.02, 0.04, 0.06, 0.08]
    assert tree["Lid/1~2"].attrs["name"] == "1"
    assert tree["Lid/1~2"].dataset.value.values.tolist() == [[12], [-7], [0], [512]]
    assert tree["Lid/1~2"].dataset.time[0] == 0.5
    assert tree["Lid/1~2"].dataset.value.attrs["sampling_rate"] == 49.96240601
    np.testing.assert_array_equal(tree["Hand/Thumb/X"].dataset.value[:, 0], [1.5, np.nan, 1.75])
    assert tree["Hand/Thumb/Y"].dataset.value.attrs["sampling_rate"] == 120
    assert tree["Hand/Thumb/Z"].dataset.value.values[:, 0].tolist() == [-1, -2, -3]
    mfcc = tree["Sound/[Ambient] Room - Essentia audio descriptors/Low level/essentia.lowlevel.Mfcc"].dataset
    np.testing.assert_array_equal(mfcc.value, MFCC)
    assert mfcc.time[84] == 1
    assert tree["Sound/Room"].dataset.sizes["time"] == 44100
    notes = tree["Taps/Taps"].dataset
    assert notes.onset_time.values.tolist() == [0.4, 0.9, 1.15]
    assert notes.offset_time.values.tolist() == [0.9, 1.15, 1.6]
    assert notes.text.values.tolist() == ["rest", "C#4", "Eb3,G3"]
    assert tree.attrs["other_files"] == ["About", "Camera"]
    assert tree["Hand"].attrs["other_files"] == ["Links"]
    return tree


@pytest.mark.parametrize("form", [as_zip, as_folder])
def test_a_pack(form: Callable[..., Path], tmp_path: Path) -> None:
    source = form(tmp_path / "jar.zip", specimen())
    made = import_pack(source, tmp_path / "made" / "jar")
    assert made.missing == ()
    check(made.url)
    document = parse((tmp_path / "made" / "jar" / "datapack.json").read_bytes())
    assert not list(flaws(document))
    nodes = json.loads((tmp_path / "made" / "jar" / "datapack.json").read_text())["children"]
    [about] = [node for node in nodes if node["name"] == "About"]
    assert (tmp_path / "made" / "jar" / about["link"]).read_bytes() == b"Shaken twice."
    [camera] = [node for node in nodes if node["name"] == "Camera"]
    assert camera["link"].endswith(".mp4")
    assert camera["mime"] == "video/mp4"
    assert camera["meta"]["repovizz1"] == {"id": "ROOT0_HQ0", "category": "HQ"}


def test_by_the_command_to_a_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = as_zip(tmp_path / "jar.zip", specimen())
    with live_server() as server:
        access = {"endpoint_url": server.endpoint_url, "token": server.token}
        monkeypatch.setitem(fsspec.config.conf, "repovizz", access)
        done = CliRunner().invoke(main, ["datapack", "import", str(source), "repovizz://Jar 7", "--json"])
        assert done.exit_code == 0, done.output
        assert json.loads(done.stdout)["missing"] == []
        check("repovizz://Jar 7")
        again = CliRunner().invoke(main, ["datapack", "import", str(source), "repovizz://Jar 7"])
        assert again.exit_code == 1
        assert "--force" in again.output


def test_xml_beside_the_folder_of_its_files(tmp_path: Path) -> None:
    files = {(name if name.endswith(".xml") else f"data/{name}"): data for name, data in specimen().items()}
    check(import_pack(as_folder(tmp_path / "jar", files), tmp_path / "made").url)
    check(import_pack(as_zip(tmp_path / "jar.zip", files), tmp_path / "made_too").url)


def test_a_folder_of_signals_without_xml(tmp_path: Path) -> None:
    files = {name: data for name, data in specimen().items() if name.startswith("lid")}
    made = import_pack(as_folder(tmp_path / "lids", {**files, "notes.txt": b"x"}), tmp_path / "made")
    tree = xr.open_datatree(made.url, engine="datapack")
    assert [group.path for group in tree.leaves] == ["/lid[1]", "/lid[2]"]
    assert tree.attrs["name"] == "lids"


def test_missing_files_are_told(tmp_path: Path) -> None:
    files = specimen()
    del files["about jar.txt"], files["thumb_Z.csv"]
    with pytest.warns(DataWarning, match="is missing"):
        made = import_pack(as_zip(tmp_path / "jar.zip", files), tmp_path / "made")
    assert made.missing == ("about jar.txt", "thumb_Z.csv")
    done = CliRunner().invoke(
        main, ["datapack", "import", str(tmp_path / "jar.zip"), str(tmp_path / "made"), "--force"]
    )
    assert done.exit_code == 0
    assert "'thumb_Z.csv' is missing" in done.stderr


NO_RATE = b"repovizz\n1,2"
NEGATIVE = b"repovizz,framerate=-1\n1,2"
TEXT = b"repovizz,framerate=1\n1,y"


def signal(name: str) -> bytes:
    return f'<ROOT><Signal Category="S" FileType="CSV" Filename="{name}" Name="s"/></ROOT>'.encode()


BOMB = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><ROOT ID="&b;"/>'
OUTSIDE = b'<!DOCTYPE x [<!ENTITY a SYSTEM "http://127.0.0.1:1/x">]><ROOT>&a;</ROOT>'


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.txt": b"x"}, "not a repoVizz 1 pack: it has no XML"),
        ({"a.xml": b"<html/>"}, "not a repoVizz 1 pack: it has no XML"),
        (
            {"a.xml": XML.encode(), "b.xml": XML.encode()},
            "several XML files could describe the pack: a.xml, b.xml",
        ),
        ({"a.xml": b"<ROOT>"}, "a.xml: this XML is not well-formed"),
        ({"a.xml": BOMB}, "a.xml: this XML has a document type or entities"),
        ({"a.xml": OUTSIDE}, "a.xml: this XML has a document type or entities"),
        ({"a.xml": signal("../../etc/passwd")}, "points outside the pack"),
        ({"a.xml": signal("/etc/passwd")}, "points outside the pack"),
        ({"a.xml": signal("C:\\x.csv")}, "points outside the pack"),
        (
            {"a.xml": signal("s.csv"), "s.csv": NO_RATE},
            "s.csv: no sampling rate: neither .*",
        ),
        (
            {"a.xml": signal("s.csv"), "s.csv": NEGATIVE},
            "s.csv: framerate=-1 is not a valid rate",
        ),
        ({"a.xml": signal("s.csv"), "s.csv": TEXT}, "s.csv: sample 2 is 'y'"),
        ({"a.xml": signal("s.csv"), "s.csv": b"repovizz,framerate=1\n1\n2"}, "s.csv: .*has two lines"),
        ({"a.xml": signal("s.csv"), "s.csv": b"1,2\n3,4\n"}, "s.csv: not a repoVizz signal"),
    ],
)
def test_broken_packs(files: dict[str, bytes], message: str, tmp_path: Path) -> None:
    source = as_zip(tmp_path / "jar.zip", files)
    with pytest.raises(InvalidDatapackError, match=rf"jar\.zip: .*{message}"):
        import_pack(source, tmp_path / "made")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["jar.zip"]


@pytest.mark.parametrize("name", ["../out.csv", "/out.csv", "a/../../out.csv", "..\\out.csv", "C:\\out.csv"])
def test_names_in_a_zip_that_lead_out(name: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "jar.zip", "w") as archive:
        member = zipfile.ZipInfo("x")
        member.filename = name
        archive.writestr(member, b"repovizz,framerate=1\n1")
    with pytest.raises(InvalidDatapackError, match="points outside the pack"):
        import_pack(tmp_path / "jar.zip", tmp_path / "made")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["jar.zip"]


def test_names_of_nodes_stay_in_the_target(tmp_path: Path) -> None:
    inside = "".join(f'<File Filename="a.txt" Name="{name}"/>' for name in ("../../../x", "C:\\y"))
    files = {"a.xml": f'<ROOT><Generic Name="..">{inside}</Generic></ROOT>'.encode(), "a.txt": b"x"}
    import_pack(as_zip(tmp_path / "jar.zip", files), tmp_path / "deep" / "er" / "made")
    found = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()]
    assert len(found) == 4
    assert all(path == "jar.zip" or path.startswith("deep/er/made/") for path in found)


def test_links_out_of_a_folder_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_bytes(b"repovizz,framerate=1\n42")
    folder = as_folder(tmp_path / "jar", {"a.xml": signal("s.csv")})
    (folder / "s.csv").symlink_to(tmp_path / "secret.csv")
    with pytest.warns(DataWarning, match=r"'s\.csv' is missing"):
        assert import_pack(folder, tmp_path / "made").missing == ("s.csv",)


def test_zip_bombs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "GRANTED", 1 << 20)
    bomb = as_zip(tmp_path / "ratio.zip", {"a.xml": XML.encode(), "zeros": bytes(8 << 20)})
    with pytest.raises(InvalidDatapackError, match=r"ratio\.zip: .* bytes in 2 files are too much"):
        import_pack(bomb, tmp_path / "made")
    monkeypatch.setattr(unpacking, "MOST_FILES", 5)
    with pytest.raises(InvalidDatapackError, match=r".* bytes in 13 files are too much"):
        import_pack(as_zip(tmp_path / "many.zip", specimen()), tmp_path / "made")
    with pytest.raises(InvalidDatapackError, match="13 files are too many"):
        import_pack(as_folder(tmp_path / "many", specimen()), tmp_path / "made")
    assert not (tmp_path / "made").exists()


def test_a_member_that_gives_more_than_it_says(tmp_path: Path) -> None:
    path = as_zip(tmp_path / "jar.zip", {"a.xml": b"<ROOT/>" + b" " * 5000})
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02") + 24
    data[at : at + 4] = (10).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(InvalidDatapackError, match=r"jar\.zip"):
        import_pack(path, tmp_path / "made")
