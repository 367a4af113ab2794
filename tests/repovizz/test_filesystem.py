"""What is particular to datapacks: names and ids, the document, contents by hash, shared links."""

from __future__ import annotations

import contextlib
import io
import json
import pickle
import secrets
import sqlite3
import wave
from typing import TYPE_CHECKING, Any

import fsspec
import pytest

from rinofs import RepovizzFileSystem
from rinofs.datapack import parse
from rinofs.errors import (
    ContentMismatchError,
    InvalidDatapackError,
    InvalidPathError,
    NotAllowedError,
)
from rinofs.testing import Fault
from tests.repovizz.api import Api, Json, container, data, empty
from tests.repovizz.conftest import cold

if TYPE_CHECKING:
    from rinofs.testing import LiveServer

NOBODYS = "00000000-0000-4000-8000-000000000000"


def test_a_datapack_has_a_name_and_an_id(fs: RepovizzFileSystem, pack: str) -> None:
    fs.pipe_file(f"{pack}/a.txt", b"1")
    identifier = fs.info(pack)["id"]
    assert fs.cat_file(f"{identifier}/a.txt") == b"1"
    assert fs.ls(identifier, detail=False) == [f"{identifier}/a.txt"]
    fs.pipe_file(f"{identifier.upper()}/b.txt", b"2")
    assert fs.cat_file(f"{pack}/b.txt") == b"2"
    assert pack in fs.ls("", detail=False)
    assert identifier not in fs.ls("", detail=False)


def test_a_name_with_slashes_is_one_part(fs: RepovizzFileSystem, api: Api, name: str) -> None:
    api.create(f"{name}/x", container("a/b", data("", "c d")))
    assert f"{name}%2Fx" in fs.ls("", detail=False)
    assert fs.find(f"{name}%2Fx") == [f"{name}%2Fx/a%2Fb/c d"]


def test_a_forbidden_id_has_both_meanings(fs: RepovizzFileSystem, server: LiveServer, name: str) -> None:
    others = Api(server.endpoint_url, server.add_user(name.replace(" ", "")[-20:])).create(name)
    for identifier in (NOBODYS, others):
        for look in (fs.ls, fs.info, fs.exists, fs.find, fs.cat_file):
            with pytest.raises(NotAllowedError, match="does not exist or belongs to another user"):
                look(f"{identifier}/a" if look == fs.cat_file else identifier)
    with pytest.raises(FileNotFoundError):
        fs.ls(name)  # it is not in this user's list
    assert not fs.exists(name)


def test_ids_are_not_chosen(fs: RepovizzFileSystem) -> None:
    with pytest.raises(PermissionError):
        fs.mkdir(NOBODYS)
    with pytest.raises(PermissionError):
        fs.pipe_file(f"{NOBODYS}/a.txt", b"1")


def test_files_are_in_datapacks(fs: RepovizzFileSystem, pack: str, name: str) -> None:
    with pytest.raises(InvalidPathError, match="NAME"):
        fs.pipe_file(f"{name} other", b"1")
    with pytest.raises(IsADirectoryError):
        fs.pipe_file(pack, b"1")
    with pytest.raises(PermissionError):
        fs.rm("", recursive=True)


def test_writing_makes_the_datapack_and_what_is_on_the_way(
    fs: RepovizzFileSystem, api: Api, name: str
) -> None:
    fs.pipe_file(f"{name}/IMU/left/Accelerometer.csv", b"1,2,3")
    structure = api.structure(fs.info(name)["id"])
    assert structure["info"] == empty(name)["info"]
    node = structure["children"][0]["children"][0]["children"][0]
    assert (node["name"], node["mime"]) == ("Accelerometer.csv", "text/csv")
    assert node["link"].startswith("repovizz:")


def test_a_new_datapack_is_empty_and_valid(fs: RepovizzFileSystem, name: str) -> None:
    fs.mkdir(name)
    assert fs.ls(name) == []
    assert parse(fs.cat_file(f"{name}/datapack.json")).info.name == name
    with pytest.raises(FileExistsError):
        fs.mkdir(name)
    fs.makedirs(name, exist_ok=True)


def test_a_datapack_is_renamed_with_its_document(fs: RepovizzFileSystem, pack: str) -> None:
    fs.pipe_file(f"{pack}/a.txt", b"1")
    fs.mv(pack, f"{pack} new")
    assert fs.cat_file(f"{pack} new/a.txt") == b"1"
    assert parse(fs.cat_file(f"{pack} new/datapack.json")).info.name == f"{pack} new"
    assert not fs.exists(pack)


def test_nothing_moves_into_itself(fs: RepovizzFileSystem, pack: str) -> None:
    fs.mkdir(f"{pack}/a")
    with pytest.raises(OSError, match="into itself"):
        fs.mv(f"{pack}/a", f"{pack}/a/b")
    with pytest.raises(FileNotFoundError):
        fs.mv(f"{pack}/none", f"{pack}/none/b")


def test_what_moves_to_another_datapack_takes_its_description_along(
    fs: RepovizzFileSystem, api: Api, pack: str, name: str
) -> None:
    described = data("a.csv", "x", type="ae13fb70-fa1e-47d8-9cd6-00cef4fe21cc", meta={"side": "left"})
    identifier = api.create(f"{name} from", container("c", {**described, "text": "An arm"}))
    api.upload(identifier, "x", b"1,2,3")
    fs.invalidate_cache()
    fs.mv(f"{name} from/c", f"{pack}/d")
    assert fs.find(f"{name} from") == []
    info = fs.info(f"{pack}/d/a.csv")
    assert (info["text"], info["datatype"], info["metadata"]) == (
        "An arm",
        described["type"],
        {"side": "left"},
    )
    assert fs.cat_file(f"{pack}/d/a.csv") == b"1,2,3"


def test_nodes_with_one_id_move_onto_each_other(fs: RepovizzFileSystem, api: Api, name: str) -> None:
    packs = [f"{name} {number}" for number in range(2)]
    for pack in packs:
        identifier = api.create(pack, data("x", "x.csv", id="7"), container("c", data("x", "c.csv", id="7")))
        api.upload(identifier, "x.csv", f"{pack}/x".encode())
        api.upload(identifier, "c.csv", f"{pack}/c/x".encode())
    one, other = packs
    fs.mv(f"{one}/x", f"{other}/x")
    assert fs.cat_file(f"{other}/x") == f"{one}/x".encode()
    fs.mv(f"{other}/c/x", f"{other}/x")
    assert fs.cat_file(f"{other}/x") == f"{other}/c/x".encode()
    assert fs.find(one) == [f"{one}/c/x"]
    assert fs.find(other) == [f"{other}/x"]


def test_what_moves_to_its_own_place_stays(fs: RepovizzFileSystem, pack: str) -> None:
    fs.pipe_file(f"{pack}/c/a", b"1")
    identifier = fs.info(pack)["id"]
    for path in ("c/a", "c", "datapack.json"):
        fs.mv(f"{pack}/{path}", f"{identifier}/{path}")
    assert fs.cat_file(f"{pack}/c/a") == b"1"


def test_a_datapack_does_not_move_into_itself_by_its_id(fs: RepovizzFileSystem, pack: str) -> None:
    fs.pipe({f"{pack}/a": b"1", f"{pack}/c/b": b"2"})
    identifier = fs.info(pack)["id"]
    for target in (identifier, f"{identifier}/sub", f"{identifier}/c", f"{identifier}/c/d/e"):
        with pytest.raises(OSError, match="a folder cannot be moved into itself"):
            fs.mv(pack, target)
    assert fs.find(identifier, refresh=True) == [f"{identifier}/a", f"{identifier}/c/b"]


def test_containers_with_one_id_are_walked(fs: RepovizzFileSystem, api: Api, name: str) -> None:
    inner, outer = container("d", data("x", "x.csv")), container("c")
    api.create(name, {**outer, "id": "5", "children": [{**inner, "id": "5"}]})
    assert [path for path, _, _ in fs.walk(name)] == [name, f"{name}/c", f"{name}/c/d"]


def test_metadata_is_the_meta_of_the_node(fs: RepovizzFileSystem, api: Api, pack: str) -> None:
    with fs.open(f"{pack}/a.csv", "wb", metadata={"side": "left"}) as file:
        file.write(b"1")
    fs.pipe_file(f"{pack}/a.csv", b"2")  # keeps it
    assert fs.info(f"{pack}/a.csv")["metadata"] == {"side": "left"}
    fs.pipe_file(f"{pack}/a.csv", b"3", metadata={"side": "right"})
    node = api.structure(fs.info(pack)["id"])["children"][0]
    assert node["meta"] == {"side": "right"}
    assert fs.cat_file(f"{pack}/a.csv") == b"3"
    with pytest.raises(NotImplementedError, match="metadata"):
        fs.pipe_file(f"{pack}/b.csv", b"3", tags=["x"])


def test_the_document_is_read_and_written_but_not_listed(
    fs: RepovizzFileSystem, api: Api, pack: str, tmp_path: Any
) -> None:
    path = f"{pack}/datapack.json"
    fs.pipe_file(f"{pack}/a.txt", b"1")
    assert fs.find(pack) == [f"{pack}/a.txt"]
    assert fs.exists(path)
    assert fs.isfile(path)
    content = fs.cat_file(path)
    assert fs.info(path)["size"] == len(content)
    assert fs.cat_file(path, 2, 8) == content[2:8]
    assert fs.cat_ranges([path, path], [0, -3], [4, None]) == [content[:4], content[-3:]]
    with fs.open(path) as file:
        assert file.read() == content
        assert pickle.loads(pickle.dumps(file)).read() == b""  # at the same place: the end
    fs.get_file(path, tmp_path / "datapack.json")
    assert (tmp_path / "datapack.json").read_bytes() == content
    with fs.open(path, "r") as file:
        structure = json.load(file)
    structure["info"]["keywords"] = ["arm"]
    structure["children"].append(container("IMU"))
    before = fs.checksum(path)
    with fs.open(path, "w") as file:
        json.dump(structure, file)
    assert api.structure(fs.info(pack)["id"]) == structure
    assert fs.isdir(f"{pack}/IMU")
    assert fs.checksum(path) != before
    for broken, error in ((b"{", InvalidDatapackError), (b'{"info": {}, "children": []}', ValueError)):
        with pytest.raises(error):
            fs.pipe_file(path, broken)
    assert api.structure(fs.info(pack)["id"]) == structure
    with pytest.raises(PermissionError):
        fs.rm(path)


def test_a_content_is_read_by_its_hash(fs: RepovizzFileSystem, pack: str) -> None:
    fs.pipe_file(f"{pack}/a.txt", b"first")
    info = fs.info(f"{pack}/a.txt")
    fs.pipe_file(f"{pack}/a.txt", b"second")
    for start in (pack, info["datapack"]):
        by_hash = f"{start}/{info['link']}"
        assert fs.cat_file(by_hash) == b"first"
        assert fs.open(by_hash).read() == b"first"
        assert fs.info(by_hash)["size"] == 5
        assert fs.isfile(by_hash)
    assert not fs.exists(f"{pack}/repovizz:{'0' * 40}")
    assert fs.cat_file(f"{pack}/a.txt", version_id=info["link"].removeprefix("repovizz:")) == b"first"


def test_a_pickled_file_stays_at_its_content(fs: RepovizzFileSystem, pack: str) -> None:
    fs.pipe_file(f"{pack}/a.txt", b"0123456789")
    with fs.open(f"{pack}/a.txt") as file:
        file.seek(3)
        fs.rm(f"{pack}/a.txt")
        assert pickle.loads(pickle.dumps(file)).read() == b"3456789"


def test_a_node_without_content_is_a_file_that_cannot_be_read(
    fs: RepovizzFileSystem, api: Api, name: str
) -> None:
    api.create(name, data("a.csv", "somewhere/a.csv"))
    assert fs.find(name) == [f"{name}/a.csv"]
    assert (fs.info(f"{name}/a.csv")["type"], fs.info(f"{name}/a.csv")["size"]) == ("file", None)
    with pytest.raises(FileNotFoundError, match="not uploaded yet"):
        fs.cat_file(f"{name}/a.csv")
    fs.pipe_file(f"{name}/a.csv", b"now")
    assert fs.cat_file(f"{name}/a.csv") == b"now"


FLAWED = [
    data("same", "a"),
    data("same", "a", type="00000000-0000-4000-8000-00000000000f"),
    {"class": "data", "link": "b"},
    {"class": "container", "name": 5, "children": [data("deep", "c", mime=7, meta=[])]},
]


@pytest.mark.parametrize("listed", [True, False])
def test_a_document_with_flaws_is_read_if_it_can_be(
    fs: RepovizzFileSystem, server: LiveServer, api: Api, name: str, listed: bool
) -> None:
    good, flawed = api.create(f"{name} good", data("a", "a")), api.create(f"{name} flawed")
    unreadable = api.create(f"{name} unreadable")
    put_as_it_is(server, flawed, {"children": FLAWED})
    put_as_it_is(server, unreadable, {"children": [container("c", {"class": "folder", "name": "x/y"})]})
    api.upload(good, "a", b"good")
    if listed:
        fs.ls("")
    assert fs.cat_file(f"{name} good/a") == b"good"
    assert {f"{name} good", f"{name} flawed", f"{name} unreadable"} <= set(fs.ls("", detail=False))
    inner = ["b", "same", "same~2", "unnamed", "unnamed/deep"]
    assert fs.find(f"{name} flawed", withdirs=True)[1:] == [f"{name} flawed/{path}" for path in inner]
    assert fs.info(f"{name} flawed/unnamed/deep")["mime"] is None
    for path in (f"{name} unreadable", unreadable):
        for look in (fs.ls, fs.info, fs.exists, fs.find):
            with pytest.raises(InvalidDatapackError, match="c/x%2Fy: 'class' is 'folder'"):
                look(path)


def put_as_it_is(server: LiveServer, identifier: str, structure: Json) -> None:
    """Store a structure that the server would refuse, as other servers may hold."""
    with contextlib.closing(sqlite3.connect(server.data_dir / "rinofs.sqlite3")) as database, database:
        changed = database.execute(
            "UPDATE datapacks SET structure = ?, etag = ? WHERE id = ?",
            (json.dumps(structure), secrets.token_hex(8), identifier),
        )
        assert changed.rowcount == 1


def test_a_failed_upload_leaves_what_there_was(fs: RepovizzFileSystem, server: LiveServer, pack: str) -> None:
    fs.pipe_file(f"{pack}/a.txt", b"same")
    fs.cp_file(f"{pack}/a.txt", f"{pack}/b.txt")
    server.faults = lambda method, path: (
        Fault(status=413) if method == "POST" and "/content" in path else None
    )
    for path in ("a.txt", "new/deep/c.txt"):
        with pytest.raises(OSError, match="413"):
            fs.pipe_file(f"{pack}/{path}", b"other")
    server.reset()
    cold(fs)
    assert fs.find(pack, withdirs=True) == [pack, f"{pack}/a.txt", f"{pack}/b.txt"]
    assert fs.cat_file(f"{pack}/a.txt") == b"same"


def test_a_lost_answer_is_not_a_lost_write(fs: RepovizzFileSystem, server: LiveServer, pack: str) -> None:
    for lost in ("/content", "/datapacks/", "/datapacks"):
        left = [1]

        def lose(method: str, path: str, lost: str = lost, left: list[int] = left) -> Fault | None:
            hit = method == "POST" and (path.endswith(lost) if lost == "/datapacks" else lost in path)
            hit = hit and ("/content" in path) == (lost == "/content")
            return Fault(lose_answer=True) if hit and left and left.pop() else None

        server.faults = lose
        where = f"{pack} {lost.strip('/')}" if lost == "/datapacks" else pack
        fs.pipe_file(f"{where}/{lost.strip('/')}.txt", lost.encode())
        assert not left
        server.reset()
        cold(fs)
        assert fs.cat_file(f"{where}/{lost.strip('/')}.txt") == lost.encode()


def test_what_was_damaged_on_the_way_is_told(fs: RepovizzFileSystem, server: LiveServer, pack: str) -> None:
    fs.pipe_file(f"{pack}/a.txt", b"1")  # the server is seen to name contents by their sha1
    body = json.dumps({"id": "0" * 40}).encode()
    made_up = Fault(status=200, headers={"content-type": "application/json"}, body=body)
    server.faults = lambda method, path: made_up if method == "POST" and "/content" in path else None
    with pytest.raises(ContentMismatchError, match="0000"):
        fs.pipe_file(f"{pack}/b.txt", b"2")
    server.reset()
    cold(fs)
    if server.extensions:  # it was not linked to
        assert fs.find(pack) == [f"{pack}/a.txt"]


def test_a_datapack_is_removed_where_the_server_can(
    fs: RepovizzFileSystem, server: LiveServer, pack: str
) -> None:
    fs.pipe_file(f"{pack}/a.txt", b"1")
    with pytest.raises(IsADirectoryError):
        fs.rm(pack)
    if server.extensions:
        fs.rm(pack, recursive=True)
        assert not fs.exists(pack)
        fs.mkdir(pack)
        assert fs.ls(pack) == []
    else:
        with pytest.raises(NotImplementedError, match="cannot delete datapacks"):
            fs.rm(pack, recursive=True)
        assert fs.exists(f"{pack}/a.txt")


def test_a_datapack_that_others_removed_is_not_found(extended: LiveServer, name: str) -> None:
    fs = RepovizzFileSystem(endpoint_url=extended.endpoint_url, token=extended.token)
    fs.pipe_file(f"{name}/a.txt", b"1")
    api = Api.of(extended)
    api.delete(fs.info(name)["id"])
    with pytest.raises(FileNotFoundError):
        fs.cat_file(f"{name}/a.txt", 0, None)
    fs.pipe_file(f"{name}/b.txt", b"2")  # made anew
    assert fs.find(name) == [f"{name}/b.txt"]


def test_a_server_without_ranges_is_read_all_the_same(plain_server: LiveServer, name: str) -> None:
    fs = RepovizzFileSystem(endpoint_url=plain_server.endpoint_url, token=plain_server.token)
    content = bytes(range(256)) * 2000
    fs.pipe_file(f"{name}/a.bin", content)
    cold(fs)
    fs._backend.session.no_ranges = True  # as it is found to be by the first answer to a range
    with fs.open(f"{name}/a.bin") as file:
        file.seek(300_000)
        assert file.read(10) == content[300_000:300_010]
    assert fs.info(f"{name}/a.bin")["size"] == len(content)


def test_pandas_reads_and_writes_nodes(fs: RepovizzFileSystem, options: dict[str, Any], pack: str) -> None:
    import pandas as pd

    frame = pd.DataFrame({"x": [0.947266, 0.9], "y": [-1, 2]})
    frame.to_csv(f"repovizz://{pack}/IMU/a.csv", index=False, storage_options=options)
    frame.to_json(f"repovizz2://{pack}/IMU/a.json", storage_options=options)
    for read in (
        pd.read_csv(f"repovizz://{pack}/IMU/a.csv", storage_options=options),
        pd.read_json(f"repovizz://{pack}/IMU/a.json", storage_options=options),
    ):
        pd.testing.assert_frame_equal(read, frame)
    assert fs.find(pack) == [f"{pack}/IMU/a.csv", f"{pack}/IMU/a.json"]


def test_dask_globs_over_nodes(fs: RepovizzFileSystem, options: dict[str, Any], pack: str) -> None:
    import dask.dataframe as dd

    fs.pipe({f"{pack}/runs/{n}.csv": f"x\n{n}\n{n}\n".encode() for n in range(5)})
    frame = dd.read_csv(f"repovizz://{pack}/runs/*.csv", storage_options=options)
    assert frame.npartitions == 5
    assert frame["x"].sum().compute(scheduler="threads") == 20


def test_audio_opens_as_it_is(fs: RepovizzFileSystem, options: dict[str, Any], pack: str) -> None:
    sound = io.BytesIO()
    with wave.open(sound, "wb") as written:
        written.setnchannels(1)
        written.setsampwidth(2)
        written.setframerate(44_100)
        written.writeframes(bytes(88_200))
    fs.pipe_file(f"{pack}/audio", sound.getvalue())
    with fsspec.open(f"repovizz://{pack}/audio", **options) as file, wave.open(file) as read:
        assert (read.getframerate(), read.getnframes()) == (44_100, 44_100)


def test_no_token_shows(options: dict[str, Any], fs: RepovizzFileSystem) -> None:
    token = options["token"]
    for shown in (repr(fs), fs.to_json(), str(fs._backend.session), fs.fsid):
        assert token not in shown


@pytest.mark.parametrize("link", ["http://example.org/a.mp4", "", "../up"])
def test_a_link_that_leads_out_is_kept_and_not_followed(
    fs: RepovizzFileSystem, api: Api, name: str, link: str
) -> None:
    api.create(name, data("video", link))
    assert fs.ls(name, detail=False) == [f"{name}/video"]
    with pytest.raises(FileNotFoundError, match="leads out of the datapack"):
        fs.cat_file(f"{name}/video")
    fs.pipe_file(f"{name}/video", b"moving")
    assert fs.cat_file(f"{name}/video") == b"moving"
