"""What is where: infos, listings, walks, patterns; and that only "not found" means absent."""

from __future__ import annotations

import hashlib
import threading
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import fsspec
import numpy as np
import pytest
from fsspec.core import OpenFile

from rinofs import RinoFileSystem
from rinofs.errors import AuthenticationError, InvalidPathError, NotAllowedError, UnavailableError
from rinofs.http.session import retry
from rinofs.testing import Fault
from tests.rinocloud.database import rename

if TYPE_CHECKING:
    from collections.abc import Callable

    from rinofs.testing import LiveServer
    from tests.rinocloud.api import Api


@pytest.fixture
def tree(api: Api, server: LiveServer) -> dict[str, bytes]:
    """Some files, and two folders without any."""
    files = {
        "top.txt": b"top",
        "exp 1/a.csv": b"x,y\n1,2\n",
        "exp 1/b.csv": b"x,y\n",
        "exp 1/deep/er/c.bin": b"\0\1\2",
    }
    for path, data in files.items():
        api.upload(path, data)
    api.post("create_folder", name="exp 1/empty")
    api.post("create_folder", name="none")
    server.reset()
    return files


# Infos


def test_info_of_a_file(fs: RinoFileSystem, api: Api) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    first = api.upload("exp/a.csv", b"1", metadata={"subject": 3}, tags=["raw", "new"])
    second = api.upload("exp/a.csv", b"12", metadata={"subject": 4, "deep": {"er": [1, None]}}, tags=["raw"])
    info = fs.info("exp/a.csv")
    assert {name: info[name] for name in ("name", "size", "type", "id", "owner", "tags", "versions")} == {
        "name": "exp/a.csv",
        "size": 2,
        "type": "file",
        "id": second["id"],
        "owner": "rino",
        "tags": ["raw"],
        "versions": [first["id"]],
    }
    assert info["metadata"] == {"subject": 4, "deep": {"er": [1, None]}}
    assert info["etag"] == f"{hashlib.md5(hashlib.md5(b'12').digest()).hexdigest()}-1"
    assert before < info["created"] < info["modified"] < datetime.now(UTC) + timedelta(seconds=1)
    assert info["created"].utcoffset() == info["modified"].utcoffset() == timedelta(0)
    assert fs.created("exp/a.csv") == info["created"]
    assert fs.modified("exp/a.csv") == info["modified"]


def test_sha256_where_the_server_knows_it(fs: RinoFileSystem, tree: Any) -> None:
    known = hashlib.sha256(tree["top.txt"]).hexdigest()
    assert fs.info("top.txt")["sha256"] == (known if fs._backend.client.features.has("digest") else None)


def test_info_of_folders(fs: RinoFileSystem, tree: Any) -> None:
    folder = fs.info("exp 1")
    assert (folder["name"], folder["type"], folder["size"], folder["etag"]) == ("exp 1", "directory", 0, None)
    for root in ("", "/", "rino://", "rino:///"):
        top = fs.info(root)
        assert (top["name"], top["type"], top["size"]) == ("", "directory", 0)


def test_what_info_returns_is_the_callers(fs: RinoFileSystem, api: Api) -> None:
    api.upload("a", b"1", metadata={"deep": {"list": [1]}}, tags=["t"])
    for look in (lambda: fs.info("a"), lambda: fs.ls("")[0], lambda: fs.find("", detail=True)["a"]):
        mine = look()
        mine["metadata"]["deep"]["list"].append(2)
        mine["tags"].append("mine")
        mine["size"] = 77
        again = look()
        assert (again["metadata"], again["tags"], again["size"]) == ({"deep": {"list": [1]}}, ["t"], 1)


def test_metadata_and_renames_leave_the_time_of_the_content(fs: RinoFileSystem, api: Api) -> None:
    record = api.upload("a", b"1")
    before = fs.info("a")
    api.post("update", id=record["id"], metadata={"new": 1})
    fs.mv("a", "b")
    after = fs.info("b", refresh=True)
    assert after["metadata"] == {"new": 1}
    assert (after["created"], after["modified"]) == (before["created"], before["modified"])


def test_a_new_version_keeps_the_time_of_creation(fs: RinoFileSystem) -> None:
    fs.pipe_file("a", b"1")
    before = fs.info("a")
    fs.pipe_file("a", b"2")
    after = fs.info("a")
    assert after["created"] == before["created"]
    assert after["modified"] > before["modified"]


def test_checksum_and_ukey_change_with_the_content_only(fs: RinoFileSystem, api: Api) -> None:
    record = api.upload("a", b"1")
    marks = fs.checksum("a"), fs.ukey("a")
    assert marks == (fs.checksum("a"), fs.ukey("a"))
    api.post("update", id=record["id"], metadata={"new": 1})
    fs.invalidate_cache()
    assert marks == (fs.checksum("a"), fs.ukey("a"))
    fs.pipe_file("a", b"2")
    assert not {*marks} & {fs.checksum("a"), fs.ukey("a")}


# Listings


def test_ls(fs: RinoFileSystem, tree: Any) -> None:
    assert fs.ls("", detail=False) == ["exp 1", "none", "top.txt"]
    assert fs.ls("rino://exp 1/", detail=False) == [
        "exp 1/a.csv",
        "exp 1/b.csv",
        "exp 1/deep",
        "exp 1/empty",
    ]
    assert [info["type"] for info in fs.ls("exp 1")] == ["file", "file", "directory", "directory"]
    assert fs.ls("none") == []
    assert fs.ls("top.txt", detail=False) == ["top.txt"]
    assert fs.ls("exp 1/a.csv") == [fs.info("exp 1/a.csv")]


@pytest.mark.parametrize(
    "path", ["missing", "exp 1/missing", "missing/more", "top.txt/more", "@999999", "@0"]
)
def test_what_is_missing(fs: RinoFileSystem, tree: Any, path: str) -> None:
    assert not fs.exists(path)
    assert not fs.isfile(path)
    assert not fs.isdir(path)
    assert fs.find(path) == []
    assert fs.glob(path) == []
    assert list(fs.walk(path)) == []
    assert fs.du(path) == 0
    for look in (fs.info, fs.ls, fs.open, fs.cat_file, fs.created, fs.rm, fs.rmdir, fs.ukey):
        with pytest.raises(FileNotFoundError) as caught:
            look(path)
        assert path.partition("/")[0] in str(caught.value)


@pytest.mark.parametrize("path", ["a//b", "a/../b", "a/./b", "x\0y", "a\n", "n" * 256, "\ud800"])
def test_what_cannot_be_a_path(fs: RinoFileSystem, server: LiveServer, path: str) -> None:
    for look in (fs.info, fs.cat_file, lambda bad: fs.pipe_file(bad, b""), fs.mkdir):
        with pytest.raises(InvalidPathError):
            look(path)
    assert server.requests == []


NO_PATHS: list[Any] = [5, 0, b"d", None, 1.5, ("d",), {"d"}, object(), True]


@pytest.mark.parametrize("path", NO_PATHS, ids=lambda path: type(path).__name__)
def test_what_is_no_string_is_no_path(fs: RinoFileSystem, api: Api, path: Any, tmp_path: Any) -> None:
    api.upload("d/a", b"1")
    calls: list[Callable[[], Any]] = [
        lambda: fs.exists(path),
        lambda: fs.info(path),
        lambda: fs.ls(path),
        lambda: fs.isdir(path),
        lambda: fs.find(path),
        lambda: fs.cat_file(path),
        lambda: fs.cat_ranges([path], 0, 1, on_error="raise"),
        lambda: fs.open(path),
        lambda: fs.open(path, "wb"),
        lambda: fs.pipe_file(path, b"x"),
        lambda: fs.pipe({path: b"x"}),
        lambda: fs.makedirs(path),
        lambda: fs.mkdir(path),
        lambda: fs.touch(path),
        lambda: fs.rm(path, recursive=True),
        lambda: fs.rm([path], recursive=True),
        lambda: fs.copy(path, "to"),
        lambda: fs.copy("d/a", path),
        lambda: fs.mv("d/a", path),
        lambda: fs.get_file(path, tmp_path / "got"),
    ]
    for call in calls:
        with pytest.raises(TypeError):
            call()
    assert fs.find("", withdirs=True) == ["d", "d/a"]


def test_a_list_is_not_one_path(fs: RinoFileSystem, api: Api) -> None:
    api.upload("d/a", b"1")
    for call in (fs.exists, fs.info, fs.ls, fs.find):
        with pytest.raises(TypeError):
            call(["d"])
    assert fs._strip_protocol(["rino://d/a", "d/"]) == ["d/a", "d"]


@pytest.mark.parametrize("path", [PurePosixPath("d/a"), np.str_("d/a"), OpenFile(None, "d/a")])
def test_what_stands_for_a_string_is_a_path(fs: RinoFileSystem, api: Api, path: Any) -> None:
    api.upload("d/a", b"1")
    assert fs.cat_file(path) == b"1"
    assert fs.info(path)["name"] == "d/a"
    assert fs.ls(path, detail=False) == ["d/a"]
    assert type(fs._strip_protocol(path)) is str


@pytest.mark.parametrize("url", ["s3://bucket/key", "http://127.0.0.1/a"])
def test_a_url_of_another_service_is_no_path(fs: RinoFileSystem, url: str) -> None:
    with pytest.raises(InvalidPathError, match=rf"^'{url}' is not a path: it is a URL of something else$"):
        fs.cat_file(url)


def test_walk(fs: RinoFileSystem, tree: Any) -> None:
    assert list(fs.walk("")) == [
        ("", ["exp 1", "none"], ["top.txt"]),
        ("exp 1", ["deep", "empty"], ["a.csv", "b.csv"]),
        ("exp 1/deep", ["er"], []),
        ("exp 1/deep/er", [], ["c.bin"]),
        ("exp 1/empty", [], []),
        ("none", [], []),
    ]
    assert [top for top, _, _ in fs.walk("exp 1", topdown=False)] == [
        "exp 1/deep/er",
        "exp 1/deep",
        "exp 1/empty",
        "exp 1",
    ]
    assert [top for top, _, _ in fs.walk("", maxdepth=2)] == ["", "exp 1", "none"]
    [(_, folders, files)] = fs.walk("exp 1", maxdepth=1, detail=True)
    assert folders["deep"]["type"] == "directory"
    assert files["a.csv"]["size"] == 8
    with pytest.raises(ValueError, match="maxdepth"):
        list(fs.walk("", maxdepth=0))


def test_a_walk_goes_where_the_caller_lets_it(fs: RinoFileSystem, tree: Any) -> None:
    visited = []
    for top, folders, _ in fs.walk(""):
        visited.append(top)
        if "exp 1" in folders:
            folders.remove("exp 1")
    assert visited == ["", "none"]


def test_a_walk_tells_of_errors(fs: RinoFileSystem, server: LiveServer, tree: Any) -> None:
    with pytest.raises(FileNotFoundError):
        list(fs.walk("missing", on_error="raise"))
    errors: list[OSError] = []
    assert list(fs.walk("missing", on_error=errors.append)) == []
    assert [isinstance(error, FileNotFoundError) for error in errors] == [True]
    server.faults = lambda method, path: Fault(status=403, body=b'{"error": "no"}')
    with pytest.raises(PermissionError):
        list(fs.walk("none"))


def test_find(fs: RinoFileSystem, tree: dict[str, bytes]) -> None:
    assert fs.find("") == sorted(tree)
    assert fs.find("exp 1", maxdepth=1) == ["exp 1/a.csv", "exp 1/b.csv"]
    assert fs.find("exp 1", maxdepth=2, withdirs=True) == [
        "exp 1",
        "exp 1/a.csv",
        "exp 1/b.csv",
        "exp 1/deep",
        "exp 1/deep/er",
        "exp 1/empty",
    ]
    assert fs.find("top.txt") == ["top.txt"]
    assert {path: info["size"] for path, info in fs.find("", detail=True).items()} == {
        path: len(data) for path, data in tree.items()
    }


def test_du(fs: RinoFileSystem, tree: dict[str, bytes]) -> None:
    assert fs.du("") == sum(map(len, tree.values()))
    assert fs.du("exp 1", total=False) == {p: len(d) for p, d in tree.items() if p.startswith("exp 1/")}
    assert fs.du("exp 1", maxdepth=1) == 12
    assert fs.disk_usage("none") == 0


def test_tree(fs: RinoFileSystem, tree: Any) -> None:
    shown = fs.tree("exp 1", recursion_limit=3)
    assert shown.splitlines()[0] == "exp 1"
    assert [line.strip("├└─│ ") for line in shown.splitlines()[1:]] == [
        "deep",
        "er",
        "c.bin",
        "empty",
        "a.csv",
        "b.csv",
    ]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("exp 1/*.csv", ["exp 1/a.csv", "exp 1/b.csv"]),
        ("exp 1/[ax].csv", ["exp 1/a.csv"]),
        ("exp 1/[!a].csv", ["exp 1/b.csv"]),
        ("exp 1/?.csv", ["exp 1/a.csv", "exp 1/b.csv"]),
        ("*/*/*/*.bin", ["exp 1/deep/er/c.bin"]),
        ("**/c.bin", ["exp 1/deep/er/c.bin"]),
        ("*", ["exp 1", "none", "top.txt"]),
        ("*/", ["exp 1", "none"]),
        ("top.txt", ["top.txt"]),
        ("rino://exp 1/a*", ["exp 1/a.csv"]),
        ("nothing*", []),
        ("nothing/*", []),
    ],
)
def test_glob(fs: RinoFileSystem, tree: Any, pattern: str, found: list[str]) -> None:
    assert fs.glob(pattern) == found
    assert list(fs.glob(pattern, detail=True)) == found


@pytest.mark.parametrize("name", ["a[1].csv", "what?", "100%", "a#b", "[x]", "*", "a%20b", "é", "e\u0301"])
def test_names_that_look_like_something_else(fs: RinoFileSystem, options: Any, name: str) -> None:
    fs.pipe({f"dir/{name}": b"1", "dir/a1.csv": b"2", "dir/other": b"3"})
    assert fs.cat_file(f"dir/{name}") == b"1"
    assert fs.cat(f"dir/{name}") == b"1"
    assert fs.glob(f"dir/{name}")
    _, path = fsspec.url_to_fs(f"rino://dir/{name}", **options)
    assert path == f"dir/{name}"
    with fsspec.open(f"rino://dir/{name}", **options) as file:
        assert file.read() == b"1"
    fs.mv(f"dir/{name}", f"dir/moved {name}")
    fs.cp(f"dir/moved {name}", f"dir/{name}")
    fs.rm(f"dir/{name}")
    assert sorted(fs.ls("dir", detail=False)) == sorted([f"dir/moved {name}", "dir/a1.csv", "dir/other"])


def test_names_that_differ_in_normal_form_or_case_are_different(fs: RinoFileSystem) -> None:
    names = ["\u00e9", "e\u0301", "A", "a", "\u212b", "\u00c5", "K", "\u212a"]
    fs.pipe({name: name.encode() for name in names})
    assert fs.ls("", detail=False) == sorted(names)
    assert all(fs.cat_file(name) == name.encode() for name in names)


# What is unlike files and folders


def test_objects_without_data(fs: RinoFileSystem, api: Api, tmp_path: Any) -> None:
    record = api.post("create_object", name="note", metadata={"text": "hi"})
    api.upload("dir/file", b"1")
    api.post("create_object", name="thing", parent=api.id_of("dir"))
    info = fs.info("note")
    assert (info["type"], info["size"], info["id"], info["metadata"]) == (
        "other",
        0,
        record["id"],
        {"text": "hi"},
    )
    assert fs.ls("dir", detail=False) == ["dir/file", "dir/thing"]
    assert fs.exists("note")
    assert not fs.isfile("note")
    assert not fs.isdir("note")
    assert fs.find("") == ["dir/file"]
    assert fs.find("", withdirs=True) == ["dir", "dir/file"]
    for read in (fs.cat_file, fs.open, lambda path: fs.get_file(path, str(tmp_path / "got"))):
        with pytest.raises(OSError, match="no data to read"):
            read("note")
    assert list(tmp_path.iterdir()) == []
    fs.get("dir", str(tmp_path / "dir"), recursive=True)
    assert [path.name for path in (tmp_path / "dir").iterdir()] == ["file"]
    fs.rm("note")
    assert not fs.exists("note")


@pytest.mark.parametrize("name", ["a/b", "..", ".", "", "x\ny", "/"])
def test_names_that_cannot_be_in_a_path(fs: RinoFileSystem, api: Api, server: LiveServer, name: str) -> None:
    record = api.upload("dir/file", b"data")
    rename(server, record["id"], name)
    address = f"dir/@{record['id']}"
    assert fs.ls("dir", detail=False) == [address]
    assert fs.find("") == [address]
    assert fs.info(address)["size"] == 4
    assert fs.cat_file(address) == b"data"
    with fs.open(address) as file:
        assert file.read() == b"data"
    fs.mv(address, "dir/proper")
    assert fs.ls("dir", detail=False) == ["dir/proper"]


def test_folders_whose_name_cannot_be_in_a_path(fs: RinoFileSystem, api: Api, server: LiveServer) -> None:
    api.upload("dir/in/file", b"data")
    number = api.id_of("dir", "in")
    rename(server, number, "a/b")
    assert fs.find("") == [f"dir/@{number}/file"]
    assert fs.cat_file(f"dir/@{number}/file") == b"data"
    assert [top for top, _, _ in fs.walk("")] == ["", "dir", f"dir/@{number}"]
    fs.pipe_file(f"dir/@{number}/new", b"1")
    assert fs.ls(f"dir/@{number}", detail=False) == [f"dir/@{number}/file", f"dir/@{number}/new"]
    fs.rm("dir", recursive=True)
    assert fs.ls("") == []


def test_names_that_look_like_ids(fs: RinoFileSystem, api: Api) -> None:
    names = {"@12": "@@12", "@@7": "@@@7", "@": "@", "@a": "@a", "12": "12", "@1x": "@1x"}
    for name in names:
        api.upload(name, name.encode())
    assert fs.ls("", detail=False) == sorted(names.values())
    for name, part in names.items():
        assert fs.cat_file(part) == name.encode()
        fs.pipe_file(part, b"new")
        assert api.record(name)["size"] == 3


# What the service cannot do


def test_no_signed_urls(fs: RinoFileSystem, tree: Any) -> None:
    with pytest.raises(NotImplementedError, match=r"rino://top\.txt"):
        fs.sign("top.txt")


def test_times_cannot_be_set(fs: RinoFileSystem, tree: Any) -> None:
    with pytest.raises(NotImplementedError, match=r"rino://top\.txt"):
        fs.touch("top.txt", truncate=False)
    assert fs.cat_file("top.txt") == b"top"
    fs.touch("new/file", truncate=False)
    assert fs.cat_file("new/file") == b""


# Only "not found" means absent

FAULTS = {
    "401": (Fault(status=401, body=b'{"detail": "no"}'), AuthenticationError),
    "403": (Fault(status=403, body=b'{"error": "no"}'), NotAllowedError),
    "500": (Fault(status=500, body=b'{"error": "oops"}'), UnavailableError),
    "dropped": (Fault(lose_answer=True), ConnectionError),
}


@pytest.mark.covering(2)
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(
    "look",
    [
        lambda fs: fs.exists("exp 1"),
        lambda fs: fs.isfile("top.txt"),
        lambda fs: fs.isdir("none"),
        lambda fs: fs.find("exp 1"),
        lambda fs: fs.find("exp 1", maxdepth=1),
        lambda fs: fs.glob("exp 1/*"),
        lambda fs: fs.glob("**"),
        lambda fs: fs.ls("none"),
        lambda fs: list(fs.walk("")),
        lambda fs: fs.du("exp 1"),
    ],
    ids=["exists", "isfile", "isdir", "find", "find1", "glob", "glob**", "ls", "walk", "du"],
)
def test_trouble_is_not_absence(
    server: LiveServer,
    tree: Any,
    options: Any,
    fault: str,
    look: Callable[[RinoFileSystem], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(retry, "_LONGEST_PAUSE", 0.005)
    fs = RinoFileSystem(**options)
    fs.invalidate_cache()
    trouble, error = FAULTS[fault]
    server.faults = lambda method, path: trouble
    with pytest.raises(error):
        look(fs)
    server.faults = None
    look(fs)


def test_trouble_in_the_middle_of_a_find(server: LiveServer, tree: Any, options: Any) -> None:
    fs = RinoFileSystem(**options)
    answered = threading.Semaphore(1)
    server.faults = lambda method, path: (
        None if answered.acquire(blocking=False) else Fault(status=403, body=b'{"error": "no"}')
    )
    with pytest.raises(PermissionError):
        fs.find("exp 1", maxdepth=3)
