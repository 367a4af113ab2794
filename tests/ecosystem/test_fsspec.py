"""fsspec's own ways to use a filesystem, by URL and from program to program."""

from __future__ import annotations

import base64
import json
import pickle
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import fsspec
import pandas as pd
import pyarrow.fs
import pytest
from fsspec.config import conf
from fsspec.core import get_fs_token_paths, url_to_fs
from fsspec.generic import GenericFileSystem, rsync
from fsspec.registry import _registry

from rinofs import RinoFileSystem
from tests.ecosystem.modes import both_modes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rinofs.testing import LiveServer

AWKWARD = [
    "with space.txt",
    "hash #1.txt",
    "100%.txt",
    "50%25.txt",
    "a%2Fb.txt",
    "[brackets].txt",
    "a[0-9].txt",
    "star*.txt",
    "what?.txt",
    "x=1&y=2;z.txt",
    "plus+tilde~.txt",
    "back\\slash.txt",
    "ünïcode ☃.txt",
    ".hidden",
    "@848",
    "@@1",
    "{a,b}.txt",
    "colon:.txt",
    "x" * 200,
]


@both_modes
@pytest.mark.parametrize("name", AWKWARD)
def test_any_name_goes_through_a_url(name: str, options: Any, fs: RinoFileSystem) -> None:
    url = f"rino://exp #1/{name}" if name != "@848" else "rino://exp #1/@@848"
    with fsspec.open(url, "w", **options) as file:
        file.write("héllo")
    assert fsspec.open(url, "r", **options).open().read() == "héllo"
    found, path = url_to_fs(url, **options)
    assert path == url.removeprefix("rino://")
    assert found.unstrip_protocol(path) == url
    assert found.cat(url) == found.cat_file(url) == "héllo".encode()
    assert fs.ls("exp #1", detail=False) == [path]
    found.rm(url)
    assert not fs.exists(path)


def test_two_colons_in_a_url_are_fsspecs() -> None:
    assert fsspec.core._un_chain("simplecache::rino://a/b", {})[1][0] == "a/b"


@pytest.mark.parametrize("protocol", ["rino", "rinocloud"])
def test_a_filesystem_is_found_by_its_protocols(protocol: str, options: Any) -> None:
    assert fsspec.get_filesystem_class(protocol) is RinoFileSystem
    found, path = url_to_fs(f"{protocol}://a/b.txt", **options)
    assert isinstance(found, RinoFileSystem)
    assert path == "a/b.txt"
    assert found._strip_protocol([f"{protocol}://a/", "b"]) == ["a", "b"]


@both_modes
def test_patterns_open_many_files(options: Any, fs: RinoFileSystem) -> None:
    fs.pipe({f"exp #1/{day}/run {n}.txt": f"{day}{n}".encode() for day in "ab" for n in range(3)})
    files = fsspec.open_files("rino://exp #1/*/run [12].txt", "rt", **options)
    with files as opened:
        assert [file.read() for file in opened] == ["a1", "a2", "b1", "b2"]
    _, token, paths = get_fs_token_paths("rino://exp #1/**/run 0.txt", storage_options=options)
    assert paths == ["exp #1/a/run 0.txt", "exp #1/b/run 0.txt"]
    assert options["token"] not in token


@both_modes
def test_patterns_write_many_files(options: Any, fs: RinoFileSystem) -> None:
    files = fsspec.open_files("rino://out/part-*.gz", "wt", num=3, compression="infer", **options)
    with files as opened:
        for number, file in enumerate(opened):
            file.write(f"part {number}")
    assert fs.ls("out", detail=False) == [f"out/part-{n}.gz" for n in range(3)]
    with fs.open("out/part-2.gz", "rt", compression="gzip") as file:
        assert file.read() == "part 2"


@both_modes
def test_a_mapper_is_a_dict_of_contents(options: Any, fs: RinoFileSystem) -> None:
    store = fsspec.get_mapper("rino://exp #1/store", create=True, **options)
    store["a/b [1].bin"] = b"one"
    store.setitems({"a/c": b"two", "d": b"three"})
    assert sorted(store) == ["a/b [1].bin", "a/c", "d"]
    assert len(store) == 3
    assert "a/c" in store
    assert "a" not in store
    assert store.getitems(["a/c", "d", "nothing"], on_error="omit") == {"a/c": b"two", "d": b"three"}
    assert store["d"] == b"three"
    with pytest.raises(KeyError):
        store["nothing"]
    del store["a/c"]
    store.delitems(["d"])
    assert fs.find("exp #1/store") == ["exp #1/store/a/b [1].bin"]
    store.clear()
    assert len(store) == 0


def test_a_mapper_hides_no_refusal(server: LiveServer) -> None:
    options = {"endpoint_url": server.endpoint_url, "token": "rino_of-nobody-at-all"}
    store = fsspec.get_mapper("rino://exp1", **options)
    with pytest.raises(PermissionError):
        store["a"]
    with pytest.raises(PermissionError):
        "a" in store  # noqa: B015
    with pytest.raises(PermissionError):
        list(store)


@both_modes
def test_a_folder_as_a_filesystem(options: Any, fs: RinoFileSystem) -> None:
    below = fsspec.filesystem("dir", path="exp #1", fs=fs)
    below.pipe_file("a/b.txt", b"1")
    assert fs.cat_file("exp #1/a/b.txt") == b"1"
    assert below.find("") == ["a/b.txt"]
    below.mv("a/b.txt", "c.txt")
    assert fs.find("exp #1") == ["exp #1/c.txt"]


# rsync and copies between filesystems


def _tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


@both_modes
@pytest.mark.usefixtures("configured")
def test_rsync_both_ways(fs: RinoFileSystem, tmp_path: Path) -> None:
    source, again = tmp_path / "source", tmp_path / "again"
    for name in ("a.txt", "sub 1/b #2.txt", "sub 1/deep/50%.bin"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(name.encode())
    rsync(f"file://{source}", "rino://mirror")
    assert {path.removeprefix("mirror/"): fs.cat_file(path) for path in fs.find("mirror")} == _tree(source)
    rsync("rino://mirror", f"file://{again}")
    assert _tree(again) == _tree(source)


@both_modes
@pytest.mark.usefixtures("configured")
def test_rsync_sends_what_changed_and_deletes_what_went(
    fs: RinoFileSystem, tmp_path: Path, server: LiveServer
) -> None:
    for name in ("same.txt", "changed.txt", "gone.txt"):
        (tmp_path / name).write_bytes(name.encode())
    rsync(f"file://{tmp_path}", "rino://mirror")
    (tmp_path / "changed.txt").write_bytes(b"longer than before")
    (tmp_path / "gone.txt").unlink()
    server.reset()
    rsync(f"file://{tmp_path}", "rino://mirror", delete_missing=True)
    assert len([request for request in server.requests if "upload" in request.path]) == 1
    assert {path: fs.cat_file(path) for path in fs.find("mirror")} == {
        "mirror/changed.txt": b"longer than before",
        "mirror/same.txt": b"same.txt",
    }


@pytest.mark.usefixtures("configured")
def test_copies_between_services(fs: RinoFileSystem) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/rinofs-test/a.txt", b"from memory")
    try:
        both = GenericFileSystem()
        both.cp("memory://rinofs-test/a.txt", "rino://copied/a.txt")
        assert fs.cat_file("copied/a.txt") == b"from memory"
        both.cp("rino://copied/a.txt", "memory://rinofs-test/b.txt")
        assert memory.cat_file("/rinofs-test/b.txt") == b"from memory"
    finally:
        memory.rm("/rinofs-test", recursive=True)


# Other filesystems on top


@both_modes
def test_references_into_files(fs: RinoFileSystem, options: Any) -> None:
    fs.pipe_file("exp #1/raw.bin", bytes(range(200)))
    references = {
        "version": 1,
        "refs": {
            "emg/0": ["rino://exp #1/raw.bin", 10, 20],
            "emg/1": ["rino://exp #1/raw.bin", 30, 5],
            "all": ["rino://exp #1/raw.bin"],
            "inline": "base64:" + base64.b64encode(b"here").decode(),
        },
    }
    fs.pipe_file("exp #1/references.json", json.dumps(references).encode())
    view = fsspec.filesystem(
        "reference",
        fo="rino://exp #1/references.json",
        target_options=options,
        remote_protocol="rino",
        remote_options=options,
    )
    assert view.cat(["emg/0", "emg/1"]) == {"emg/0": bytes(range(10, 30)), "emg/1": bytes(range(30, 35))}
    assert view.cat_file("all") == bytes(range(200))
    assert view.cat_file("inline") == b"here"


@both_modes
def test_an_archive_on_the_server_is_a_filesystem(fs: RinoFileSystem, options: Any) -> None:
    with fs.open("exp #1/pack.zip", "wb") as file:
        archive = fsspec.filesystem("zip", fo=file, mode="w")
        archive.pipe_file("inside/a.txt", b"zipped")
        archive.close()
    with fsspec.open("zip://inside/a.txt::rino://exp #1/pack.zip", rino=options) as file:
        assert file.read() == b"zipped"


def test_a_transaction_over_several_writers(fs: RinoFileSystem) -> None:
    with fs.transaction:
        with fs.open("a.txt", "wb") as first, fs.open("b.txt", "wb") as second:
            first.write(b"a")
            second.write(b"b")
        assert not fs.exists("a.txt", refresh=True)
    assert fs.cat(["a.txt", "b.txt"]) == {"a.txt": b"a", "b.txt": b"b"}


# Protocols of one's own


class Lab(RinoFileSystem):
    protocol = "lab"


class Twice(RinoFileSystem):
    protocol = ("bench", "desk")


@pytest.fixture
def registered() -> Iterator[None]:
    for cls, protocol in ((Lab, "lab"), (Twice, "bench"), (Twice, "desk")):
        fsspec.register_implementation(protocol, cls, clobber=True)
    yield
    for protocol in ("lab", "bench", "desk"):
        del _registry[protocol]


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(("protocol", "kind"), [("lab", Lab), ("bench", Twice), ("desk", Twice)])
def test_a_subclass_has_a_protocol_of_its_own(
    protocol: str, kind: type[RinoFileSystem], options: Any, fs: RinoFileSystem
) -> None:
    table = pd.DataFrame({"x": [1, 2]})
    table.to_csv(f"{protocol}://exp/a.csv", index=False, storage_options=options)
    assert fs.find("") == ["exp/a.csv"]
    assert pd.read_csv(f"{protocol}://exp/a.csv", storage_options=options).equals(table)
    made, path = url_to_fs(f"{protocol}://exp/a.csv", **options)
    assert type(made) is kind
    assert path == "exp/a.csv"
    first = protocol if isinstance(kind.protocol, str) else kind.protocol[0]
    assert made.unstrip_protocol("exp/a.csv") == f"{first}://exp/a.csv"
    assert made.unstrip_protocol(f"{protocol}://exp/a.csv") == f"{protocol}://exp/a.csv"
    assert made.info(f"{protocol}://exp/a.csv")["name"] == "exp/a.csv"
    with pytest.raises(FileNotFoundError, match=f"{first}://exp/nothing"):
        made.cat_file(f"{protocol}://exp/nothing")
    assert kind._strip_protocol([f"{protocol}://a/", PurePosixPath("b/c"), "d"]) == ["a", "b/c", "d"]
    assert made.unstrip_protocol(PurePosixPath("b/c")) == f"{first}://b/c"
    assert pickle.loads(pickle.dumps(made)) is made


@pytest.mark.usefixtures("registered")
def test_a_subclass_is_configured_under_its_own_protocol(
    server: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(conf, "lab", {"endpoint_url": server.endpoint_url, "token": server.token})
    monkeypatch.setitem(conf, "rino", {"endpoint_url": "http://elsewhere.invalid", "token": "of-elsewhere"})
    fsspec.filesystem("lab").pipe_file("a", b"1")
    made = Lab()
    assert made.endpoint_url == server.endpoint_url
    assert made.cat("lab://a") == b"1"
    assert server.token.encode() not in pickle.dumps(made)


# What others look for in an info


@both_modes
def test_times_are_where_others_look_for_them(fs: RinoFileSystem) -> None:
    fs.pipe({"exp/a.csv": b"1", "exp/b.csv": b"2"})
    for info in [fs.info("exp/a.csv"), fs.info("exp"), *fs.ls("exp"), *fs.find("exp", detail=True).values()]:
        assert type(info["mtime"]) is float
        assert info["mtime"] == info["modified"].timestamp()
    selector = pyarrow.fs.FileSelector("exp")
    found = pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(fs)).get_file_info(selector)
    assert [file.mtime for file in found] == [fs.modified("exp/a.csv"), fs.modified("exp/b.csv")]


def test_times_as_others_look_for_them_are_no_field(fs: RinoFileSystem) -> None:
    fs.pipe_file("exp/a.csv", b"1", metadata={"x": 1})
    assert [sorted(info) for info in fs.query("exp")] == [sorted(fs.info("exp/a.csv").keys() - {"mtime"})]
    assert "mtime" not in fs.query_frame("exp").columns
    assert fs.count("exp", mtime__gt=0) == 0


def test_a_time_that_is_not_known_is_not_implemented(fs: RinoFileSystem) -> None:
    with pytest.raises(NotImplementedError):
        fs.modified("")
    with pytest.raises(FileNotFoundError):
        fs.modified("nothing")
