"""`datapack://`: files of a datapack, wherever they are."""

from __future__ import annotations

import json
import os
import pickle
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask.dataframe as dd
import fsspec
import pandas as pd
import pytest
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem
from fsspec.tests.abstract import AbstractFixtures, AbstractGetTests

from rinofs.datapack import Container, DataNode, Document, dump
from rinofs.datapack.document.new import new_document
from rinofs.datapack.filesystem import DatapackFileSystem
from rinofs.errors import InvalidDatapackError, InvalidOptionError
from tests.datapack.packs import tutorial, write_tutorial

if TYPE_CHECKING:
    from collections.abc import Iterator

HASH = "repovizz:0123456789abcdef0123456789abcdef01234567"
CLIP = bytes(range(256)) * 40


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """The document of a datapack with its files beside it."""
    return write_tutorial(tmp_path / "MYO")


@pytest.fixture
def fs(pack: Path) -> DatapackFileSystem:
    return DatapackFileSystem(str(pack))


def a_pack_of(tmp_path: Path, *nodes: Container | DataNode, **info: Any) -> DatapackFileSystem:
    document = Document.create("d", nodes)
    (tmp_path / "pack.json").write_text(dump(document.with_info(**info)))
    return DatapackFileSystem(str(tmp_path / "pack.json"), skip_instance_cache=True)


class PreparedFileSystem(DatapackFileSystem):
    """Lets a test that makes what it reads do so beside the document."""

    def mkdir(self, path: str, create_parents: bool = True, **kwargs: Any) -> None:
        self._folder.joinpath(path).mkdir()
        described(self._folder)

    def touch(self, path: str, truncate: bool = True, **kwargs: Any) -> None:
        self._folder.joinpath(path).touch()
        described(self._folder)

    @property
    def _folder(self) -> Path:
        return Path(self.storage_options["fo"]).parent


def described(folder: Path) -> str:
    """Write the document of all that is in a folder."""
    (folder / "datapack.json").write_text(dump(new_document(LocalFileSystem(), str(folder))))
    return "source"


class TestGet(AbstractFixtures, AbstractGetTests):
    """fsspec's own tests of downloads; what they expect to be there is written beside the document."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        folder = tmp_path / "pack"
        folder.mkdir()
        return folder

    @pytest.fixture
    def fs(self, folder: Path) -> DatapackFileSystem:
        return PreparedFileSystem(str(folder / "datapack.json"), listings_expiry_time=0)

    @pytest.fixture
    def fs_path(self) -> str:
        return ""

    @pytest.fixture
    def fs_join(self) -> Any:
        return lambda *parts: "/".join(part for part in parts if part)

    @pytest.fixture
    def fs_bulk_operations_scenario_0(self, folder: Path) -> str:
        self._bulk_operations_scenario_0(LocalFileSystem(auto_mkdir=True), os.path.join, str(folder))
        return described(folder)

    @pytest.fixture
    def fs_glob_edge_cases_files(self, folder: Path) -> str:
        self._glob_edge_cases_files(LocalFileSystem(auto_mkdir=True), os.path.join, str(folder))
        return described(folder)

    @pytest.fixture
    def fs_dir_and_file_with_same_name_prefix(self, folder: Path) -> str:
        self._dir_and_file_with_same_name_prefix(LocalFileSystem(auto_mkdir=True), os.path.join, str(folder))
        return described(folder)

    @pytest.fixture
    def fs_10_files_with_hashed_names(self, folder: Path) -> str:
        self._10_files_with_hashed_names(LocalFileSystem(auto_mkdir=True), os.path.join, str(folder))
        return described(folder)


def test_lists_nodes_under_their_names(fs: DatapackFileSystem) -> None:
    assert fs.ls("", detail=False) == ["EMG", "IMU", "video"]
    assert fs.ls("datapack://IMU/", detail=False) == ["IMU/Accelerometer", "IMU/Gyroscope"]
    assert fs.ls("/video", detail=False) == ["video"]
    assert fs.find("") == ["EMG/EMG", "IMU/Accelerometer", "IMU/Gyroscope", "video"]
    assert fs.find("IMU", withdirs=True) == ["IMU", "IMU/Accelerometer", "IMU/Gyroscope"]
    assert fs.find("", maxdepth=1) == ["video"]
    assert fs.find("video") == ["video"]
    assert fs.find("nothing") == []
    assert fs.glob("*/A*") == ["IMU/Accelerometer"]
    assert fs.glob("**") == ["EMG", "EMG/EMG", "IMU", "IMU/Accelerometer", "IMU/Gyroscope", "video"]
    assert list(fs.walk("")) == [
        *[("", ["EMG", "IMU"], ["video"]), ("EMG", [], ["EMG"]), ("IMU", [], ["Accelerometer", "Gyroscope"])]
    ]
    with pytest.raises(FileNotFoundError):
        fs.ls("nothing")


def test_describes_nodes(fs: DatapackFileSystem) -> None:
    assert fs.info("video") == {
        "name": "video",
        "type": "file",
        "size": len(CLIP),
        "node_name": "video",
        "text": "video of the arm",
        "id": None,
        "link": "clip 1.mp4",
        "mime": "video/mp4; charset=binary",
        "datatype": None,
    }
    assert fs.info("IMU/Accelerometer")["datatype"] == "ae13fb70-fa1e-47d8-9cd6-00cef4fe21cc"
    assert fs.info("IMU") == {
        "name": "IMU",
        "type": "directory",
        "size": 0,
        "node_name": "IMU",
        "text": "",
        "id": None,
    }
    root = fs.info("")
    assert (root["type"], root["node_name"], root["text"]) == ("directory", "MYO", "An arm")
    assert fs.ls("IMU") == [fs.info("IMU/Accelerometer"), fs.info("IMU/Gyroscope")]
    assert fs.find("", detail=True) == {path: fs.info(path) for path in fs.find("")}
    assert fs.glob("IMU/*", detail=True) == fs.find("IMU", detail=True)
    assert [list(files.values()) for _, _, files in fs.walk("IMU", detail=True)] == [fs.ls("IMU")]
    assert fs.du("") == sum(path.stat().st_size for path in files_of(fs))
    with pytest.raises(FileNotFoundError):
        fs.info("nothing")


def files_of(fs: DatapackFileSystem) -> list[Path]:
    return [Path(fs.storage_options["fo"]).parent / fs.info(path)["link"] for path in fs.find("")]


def test_tells_what_there_is(fs: DatapackFileSystem) -> None:
    kinds = {
        path: (fs.exists(path), fs.isdir(path), fs.isfile(path))
        for path in ("", "IMU", "video", "x", "video/x")
    }
    assert kinds == {
        "": (True, True, False),
        "IMU": (True, True, False),
        "video": (True, False, True),
        "x": (False, False, False),
        "video/x": (False, False, False),
    }


def test_the_document_is_there_but_not_listed(fs: DatapackFileSystem, pack: Path) -> None:
    assert json.loads(fs.cat_file("datapack.json")) == tutorial()
    assert fs.isfile("datapack.json")
    assert fs.info("datapack.json")["size"] == pack.stat().st_size
    assert "datapack.json" not in fs.ls("", detail=False)
    assert fs.ls("datapack.json", detail=False) == ["datapack.json"]


def test_reads_files_and_ranges_of_them(fs: DatapackFileSystem, tmp_path: Path) -> None:
    assert fs.cat_file("video") == CLIP
    assert fs.cat_file("video", 100, 200) == CLIP[100:200]
    assert fs.cat_file("video", -10) == CLIP[-10:]
    assert fs.cat(["video", "EMG/EMG"]) == {"video": CLIP, "EMG/EMG": b"a,b\n1,2\n3,4\n"}
    assert fs.cat_ranges(["video", "video"], [0, 5], [2, 7]) == [CLIP[0:2], CLIP[5:7]]
    with fs.open("video") as file:
        file.seek(5000)
        assert file.read(10) == CLIP[5000:5010]
    with fs.open("EMG/EMG", "r") as file:
        assert file.readline() == "a,b\n"
    fs.get("", str(tmp_path / "copy"), recursive=True)
    assert (tmp_path / "copy" / "IMU" / "Accelerometer").read_bytes() == fs.cat_file("IMU/Accelerometer")
    assert sorted(path.name for path in (tmp_path / "copy").iterdir()) == ["EMG", "IMU", "video"]
    with pytest.raises(IsADirectoryError):
        fs.open("IMU")
    with pytest.raises(FileNotFoundError):
        fs.open("nothing")


def test_downloads_from_the_top_into_a_folder_that_is_there(fs: DatapackFileSystem, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    for _ in range(2):
        fs.get("video", str(tmp_path / "out"))
        fs.get("IMU", tmp_path / "out", recursive=True)
        assert sorted(fsspec.filesystem("file").find(str(tmp_path / "out"))) == [
            *(str(tmp_path / "out" / path) for path in ("IMU/Accelerometer", "IMU/Gyroscope", "video"))
        ]


def test_refuses_every_change(fs: DatapackFileSystem, tmp_path: Path) -> None:
    (tmp_path / "new").write_text("x")
    for change in (
        lambda: fs.open("new", "wb"),
        lambda: fs.open("video", "ab"),
        lambda: fs.pipe_file("new", b"x"),
        lambda: fs.put_file(str(tmp_path / "new"), "new"),
        lambda: fs.touch("new"),
        lambda: fs.mkdir("new"),
        lambda: fs.makedirs("new"),
        lambda: fs.makedirs("IMU"),
        lambda: fs.rmdir("IMU"),
        lambda: fs.rm("IMU", recursive=True),
        lambda: fs.rm_file("video"),
        lambda: fs.cp_file("video", "new"),
        lambda: fs.mv("video", "new"),
    ):
        with pytest.raises(OSError, match="read-only"):
            change()
    fs.makedirs("IMU", exist_ok=True)
    assert fs.cat_file("video") == CLIP


@pytest.mark.parametrize("protocol", ["file", "memory", "zip"])
def test_chained_urls(pack: Path, protocol: str) -> None:
    target = pack.as_uri()
    if protocol == "memory":
        memory = fsspec.filesystem("memory")
        memory.put(str(pack.parent), "/chained", recursive=True)
        target = "memory://chained/pack.json"
    if protocol == "zip":
        import shutil

        shutil.make_archive(str(pack.parent), "zip", pack.parent)
        target = f"zip://pack.json::{pack.parent.as_uri()}.zip"
    with fsspec.open(f"datapack://IMU/Accelerometer::{target}") as file:
        assert json.load(file)[0] == [0.947266, -0.337891, 0.169922]
    fs, path = fsspec.url_to_fs(f"datapack://::{target}")
    assert (path, fs.ls("", detail=False)) == ("", ["EMG", "IMU", "video"])
    assert fs.info("EMG/EMG")["size"] == 12
    assert [file.path for file in fsspec.open_files(f"datapack://IMU/*::{target}")] == fs.find("IMU")
    assert fsspec.url_to_fs(f"datapack::{target}")[0].find("") == fs.find("")


def test_links_are_escaped_in_urls(pack: Path) -> None:
    http_sync = pytest.importorskip("fsspec.implementations.http_sync")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(pack.parent)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        # fsspec's filesystem on requests, which not all admitted releases have; the usual one needs aiohttp
        fsspec.register_implementation("sync-http", http_sync.HTTPFileSystem, clobber=True)
        url = f"http://127.0.0.1:{server.server_port}/pack.json"
        fs = DatapackFileSystem(url, target_protocol="sync-http")
        assert fs.cat_file("EMG/EMG") == b"a,b\n1,2\n3,4\n"
        assert fs.cat_file("video") == CLIP
        assert fs.info("video")["size"] == len(CLIP)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_pandas_and_dask(pack: Path) -> None:
    url = f"datapack://EMG/EMG::{pack.as_uri()}"
    assert pd.read_csv(url).to_dict("list") == {"a": [1, 3], "b": [2, 4]}
    frame = dd.read_csv(f"datapack://EMG/*::{pack.as_uri()}")
    assert frame.compute(scheduler="synchronous").to_dict("list") == {"a": [1, 3], "b": [2, 4]}
    assert pd.read_json(f"datapack://IMU/Gyroscope::{pack.as_uri()}").to_numpy().tolist() == [[1, 2, 3]]


def test_cached_files(pack: Path, tmp_path: Path) -> None:
    options = {"cache_storage": str(tmp_path / "cache"), "check_files": True}
    url = f"filecache::datapack://EMG/EMG::{pack.as_uri()}"
    with fsspec.open(url, filecache=options) as file:
        assert file.read() == b"a,b\n1,2\n3,4\n"
    (pack.parent / "emg 100%#2.csv").write_text("a,b\n5,6\n")
    with fsspec.open(url, filecache=options) as file:
        assert file.read() == b"a,b\n5,6\n"


def test_one_instance_for_one_document(pack: Path, fs: DatapackFileSystem) -> None:
    assert DatapackFileSystem(str(pack)) is fs
    again = pickle.loads(pickle.dumps(fs))
    assert again.cat_file("video") == CLIP
    assert again == fs
    assert AbstractFileSystem.from_json(fs.to_json()).find("") == fs.find("")
    with fs.open("video") as file:
        file.seek(3)
        assert file.read(2) == CLIP[3:5]


def test_many_threads_read_at_once(pack: Path) -> None:
    fs = DatapackFileSystem(str(pack), listings_expiry_time=0)
    results: list[bool] = []

    def read() -> None:
        results.extend(fs.cat_file("video") == CLIP and len(fs.find("", detail=True)) == 4 for _ in range(20))

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 160


def test_a_changed_document_is_seen(pack: Path) -> None:
    fresh = DatapackFileSystem(str(pack), listings_expiry_time=0)
    uncached = DatapackFileSystem(str(pack), use_listings_cache=False)
    slow = DatapackFileSystem(str(pack), listings_expiry_time=3600)
    assert fresh.exists("video")
    assert slow.exists("video")
    assert uncached.exists("video")
    raw = tutorial()
    raw["children"][0]["name"] = "film"
    pack.write_text(json.dumps(raw))
    assert fresh.exists("film")
    assert uncached.exists("film")
    assert not fresh.exists("video")
    assert slow.exists("video")
    slow.invalidate_cache()
    assert slow.exists("film")
    assert slow.document == fresh.document


def test_keys_follow_the_content(fs: DatapackFileSystem, pack: Path) -> None:
    before = fs.ukey("EMG/EMG"), fs.checksum("EMG/EMG"), fs.modified("EMG/EMG")
    assert before == (fs.ukey("EMG/EMG"), fs.checksum("EMG/EMG"), fs.modified("EMG/EMG"))
    assert fs.created("EMG/EMG")
    (pack.parent / "emg 100%#2.csv").write_text("other")
    assert fs.ukey("EMG/EMG") != before[0]
    assert fs.checksum("EMG/EMG") != before[1]


@pytest.mark.parametrize(
    "link", ["../secret", "/etc/passwd", "a/../../secret", "..", ".", "a//b", "..\\secret", "a\\..\\b"]
)
def test_links_that_lead_out_are_not_followed(tmp_path: Path, link: str) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "inner").mkdir()
    fs = a_pack_of(tmp_path / "inner", Container.create("IMU", [DataNode.create("acc", link)]))
    for use in (fs.cat_file, fs.open, fs.ukey, lambda path: fs.get_file(path, str(tmp_path / "x"))):
        with pytest.raises(InvalidDatapackError, match=r"^IMU/acc: the link"):
            use("IMU/acc")
    assert fs.info("IMU/acc")["size"] is None
    assert fs.find("", detail=True)["IMU/acc"]["link"] == link


def test_a_missing_link_or_file_is_named(tmp_path: Path) -> None:
    bare = DataNode({"class": "data", "name": "bare", "text": ""})
    fs = a_pack_of(tmp_path, bare, *(DataNode.create(f"gone{n}", f"gone{n}.csv") for n in range(10)))
    with pytest.raises(InvalidDatapackError, match=r"^bare: 'link' is missing$"):
        fs.open("bare")
    with pytest.raises(FileNotFoundError, match=r"the file of this node does not exist: gone1\.csv.*'gone1'"):
        fs.open("gone1")
    assert fs.exists("gone1")
    assert {entry["size"] for entry in fs.ls("")} == {None}
    assert fs.cat(["gone1", "gone2"], on_error="omit") == {}


@pytest.mark.parametrize(
    "name", ["a b", "100%", "#1", "é", "ü?.csv", "[1].csv", "a*", "%2F", "tab\t", "a\\b", "::"]
)
def test_tricky_links_and_names(tmp_path: Path, name: str) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / name).write_text(name)
    fs = a_pack_of(tmp_path, DataNode.create(name, f"sub/{name}"), DataNode.create("a/b", f"sub/{name}"))
    paths = fs.find("")
    assert [fs.info(path)["node_name"] for path in paths if path != "a%2Fb"] == [name]
    assert all(fs.cat_file(path) == name.encode() for path in paths)
    for path in paths:
        fs.get(path, str(tmp_path / "copy"))
        assert (tmp_path / "copy").read_text() == name


def test_links_to_the_service(tmp_path: Path) -> None:
    service = fsspec.filesystem("memory")
    service.pipe(f"/some-uuid/{HASH}", b"at the service")
    (tmp_path / "here.csv").write_text("here")
    nodes = [DataNode.create("far", HASH), DataNode.create("near", "here.csv")]
    fs = a_pack_of(tmp_path, *nodes, id="some-uuid")
    with pytest.raises(InvalidOptionError, match=f"^far: its file is {HASH}; set repovizz="):
        fs.open("far")
    assert fs.cat_file("near") == b"here"
    assert fs.info("far")["size"] is None
    fs = DatapackFileSystem(str(tmp_path / "pack.json"), repovizz=service)
    assert fs.cat_file("far", 3, 6) == b"the"
    assert {path: info["size"] for path, info in fs.find("", detail=True).items()} == {"far": 14, "near": 4}
    assert pickle.loads(pickle.dumps(fs)).cat_file("far") == b"at the service"
    a_pack_of(tmp_path, DataNode.create("a", "repovizz:../x"))
    fs = DatapackFileSystem(str(tmp_path / "pack.json"), repovizz=service, listings_expiry_time=0)
    with pytest.raises(InvalidDatapackError, match=r"^a: 'repovizz:\.\./x' is not a repovizz link"):
        fs.open("a")


def test_a_document_that_cannot_be_read(tmp_path: Path) -> None:
    fs = DatapackFileSystem(str(tmp_path / "none.json"))
    assert not fs.exists("x")
    assert not fs.isdir("")
    assert not fs.isfile("datapack.json")
    assert fs.find("") == []
    for use in (fs.ls, fs.info, fs.open):
        with pytest.raises(FileNotFoundError, match=r"none\.json"):
            use("x")
    (tmp_path / "none.json").write_text("[]")
    for refused in (fs.ls, fs.exists, fs.isdir, fs.find, fs.glob, fs.open):
        with pytest.raises(InvalidDatapackError, match=r"none\.json: a datapack document is a JSON object"):
            refused("x")


def test_only_not_found_means_absent(tmp_path: Path, fs: DatapackFileSystem) -> None:
    """A document that nobody may read is an error, not an empty datapack."""

    class Locked(LocalFileSystem):
        protocol = "locked"

        def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
            raise PermissionError(13, "locked", path)

    fsspec.register_implementation("locked", Locked, clobber=True)
    locked = DatapackFileSystem("/x/pack.json", target_protocol="locked")
    for use in (locked.exists, locked.isdir, locked.isfile, locked.find, locked.glob, locked.ls):
        with pytest.raises(PermissionError):
            use("x")


def test_options_are_checked() -> None:
    with pytest.raises(InvalidOptionError, match="unknown option 'repoviz'; did you mean 'repovizz'"):
        DatapackFileSystem("x.json", repoviz={})
    with pytest.raises(InvalidOptionError, match="needs fo="):
        DatapackFileSystem()
    assert DatapackFileSystem("x.json", asynchronous=False, max_paths=3)


class Guarded(LocalFileSystem):
    """A filesystem with a secret, which its own JSON leaves out."""

    protocol = "guarded"

    def __init__(self, token: str = "", **options: Any) -> None:
        super().__init__(**options)

    def to_dict(self, *, include_password: bool = True) -> dict[str, Any]:
        return {key: value for key, value in super().to_dict().items() if key != "token"}


def test_secrets_of_inner_filesystems_are_not_shown(pack: Path) -> None:
    fsspec.register_implementation("guarded", Guarded, clobber=True)
    fs = DatapackFileSystem(
        str(pack), target_protocol="guarded", target_options={"token": "s3cret", "auto_mkdir": False}
    )
    assert "s3cret" not in fs.to_json() + repr(fs) + str(fs)
    assert '"auto_mkdir": false' in fs.to_json()
    assert pickle.loads(pickle.dumps(fs)).storage_options["target_options"]["token"] == "s3cret"


def test_listing_ten_thousand_files_asks_their_folder_once(tmp_path: Path) -> None:
    asked: list[str] = []

    class Counting(LocalFileSystem):
        protocol = "counting"

        def ls(self, path: str, detail: bool = False, **kwargs: Any) -> Any:
            asked.append("ls")
            before = len(asked)
            listed = super().ls(path, detail=detail, **kwargs)
            del asked[before:]  # what it asks itself
            return listed

        def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
            asked.append("info")
            return super().info(path, **kwargs)

    fsspec.register_implementation("counting", Counting, clobber=True)
    for n in range(200):
        (tmp_path / f"{n}.csv").write_text("x" * n)
    rows = [
        Container.create(f"c{n}", [DataNode.create(f"{m}", f"{m % 200}.csv") for m in range(100)])
        for n in range(100)
    ]
    (tmp_path / "pack.json").write_text(dump(Document.create("d", rows)))
    fs = DatapackFileSystem(str(tmp_path / "pack.json"), target_protocol="counting")
    assert len(fs.find("")) == 10_000
    assert asked == ["info"], "the document alone"
    asked.clear()
    assert fs.find("", detail=True)["c3/7"]["size"] == 7
    assert asked == ["ls"]


@pytest.fixture(autouse=True)
def _clean_memory() -> Iterator[None]:
    yield
    fsspec.filesystem("memory").store.clear()
    fsspec.filesystem("memory").pseudo_dirs[:] = [""]


def test_a_document_that_is_not_there_is_named(tmp_path: Path) -> None:
    for path, error in ((tmp_path / "none.json", FileNotFoundError), (tmp_path, IsADirectoryError)):
        with pytest.raises(error, match=f"document.*file://{path}'"):
            fsspec.open(f"datapack://a.csv::file://{path}").open()


@pytest.mark.parametrize(
    ("protocol", "options", "from_root"),
    [
        ("file", {}, True),
        ("dir", {"target_protocol": "file"}, False),
        ("simplecache", {"target_protocol": "file"}, True),
        ("blockcache", {"target_protocol": "file"}, True),
    ],
)
def test_symbolic_links_are_not_followed_out_of_the_folder(
    tmp_path: Path, protocol: str, options: dict[str, Any], from_root: bool
) -> None:
    pack = tmp_path / "pack"
    pack.mkdir()
    (tmp_path / "secret.txt").write_text("secret")
    (pack / "inside.txt").write_text("inside")
    (pack / "near.txt").symlink_to("inside.txt")
    (pack / "out.txt").symlink_to("../secret.txt")
    (pack / "folder").symlink_to(tmp_path)
    links = ["inside.txt", "near.txt", "out.txt", "folder/secret.txt", "folder/pack/inside.txt"]
    nodes = [DataNode.create(str(number), link) for number, link in enumerate(links)]
    (pack / "pack.json").write_text(dump(Document.create("d", nodes)))
    document = str(pack / "pack.json") if from_root else "pack.json"
    options = options if from_root else {**options, "path": str(pack)}
    fs = DatapackFileSystem(document, target_protocol=protocol, target_options=options)
    assert [fs.cat_file(path) for path in ("0", "1", "4")] == [b"inside"] * 3
    for path in ("2", "3"):
        with pytest.raises(InvalidDatapackError, match="symbolic link out of"):
            fs.cat_file(path)


@pytest.mark.parametrize("given", ["MYO/pack.json", Path("MYO/pack.json"), "./MYO/../MYO/pack.json"])
def test_a_relative_path_is_that_of_the_folder_where_it_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str | Path
) -> None:
    opened = []
    for subject in ("one", "two"):
        folder = tmp_path / subject / "MYO"
        folder.mkdir(parents=True)
        (folder / "x.txt").write_text(subject)
        (folder / "pack.json").write_text(dump(Document.create("d", [DataNode.create("x", "x.txt")])))
        monkeypatch.chdir(tmp_path / subject)
        for fs in (DatapackFileSystem(given), fsspec.filesystem("datapack", fo=given)):
            assert fs.cat_file("x") == subject.encode()
            opened.append((subject, pickle.dumps(fs)))
    DatapackFileSystem.clear_instance_cache()
    for subject, pickled in opened:
        assert pickle.loads(pickled).cat_file("x") == subject.encode()


def test_the_document_is_an_option_however_it_is_given(pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(pack.parent)
    given = [
        DatapackFileSystem(str(pack)),
        DatapackFileSystem(pack.name),
        DatapackFileSystem(fo=pack),
        fsspec.filesystem("datapack", fo=pack.name),
    ]
    given += [pickle.loads(pickle.dumps(fs)) for fs in given]
    given += [AbstractFileSystem.from_json(fs.to_json()) for fs in given]
    given += [DatapackFileSystem.from_dict(fs.to_dict()) for fs in given]
    assert all(fs is given[0] for fs in given)
    assert (given[0].storage_args, given[0].storage_options) == ((), {"fo": str(pack)})
    for url, document in ((pack.as_uri(), str(pack)), ("memory://p/pack.json", "/p/pack.json")):
        chained, _ = fsspec.url_to_fs(f"datapack://x::{url}")
        assert (chained.storage_args, chained.storage_options["fo"]) == ((), document)
    with pytest.raises(TypeError, match="fo"):
        DatapackFileSystem(str(pack), fo=str(pack))
