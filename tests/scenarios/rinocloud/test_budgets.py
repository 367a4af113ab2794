"""How many requests each operation costs, three levels deep, as the server counts them.

On the published API a path is resolved name by name, once: by then it is known that the server has no
extensions, which one wasted request told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from rinofs import RinoFileSystem
from rinofs.testing import live_server
from tests.rinocloud.api import Api
from tests.rinocloud.database import database_of

if TYPE_CHECKING:
    from pathlib import Path

    from rinofs.testing import LiveServer

FOLDER = "lab/exp 1/runs"
"""The folder at depth 3."""


@pytest.fixture
def is_extended(request: pytest.FixtureRequest, server: LiveServer) -> bool:
    fs = RinoFileSystem(endpoint_url=server.endpoint_url, token=server.token)
    return fs._backend.client.features.has("path")


@pytest.fixture
def made(server: LiveServer) -> Api:
    """Another client, which made two files in a folder at depth 2; nothing of it is counted."""
    api = Api.of(server)
    api.upload("lab/exp 1/a.csv", b"x,y\n1,2\n")
    api.upload("lab/exp 1/b.csv", b"x,y\n3,4\n")
    server.reset()
    return api


def seen(server: LiveServer) -> list[str]:
    """Return the endpoints that were asked since the last call."""
    endpoints = [request.path.removeprefix("/api/1/files/").strip("/") for request in server.requests]
    assert not [request for request in server.requests if request.method == "HEAD"]
    server.requests.clear()
    return endpoints


def multiply(server: LiveServer, *names: str, count: int) -> None:
    """Put as many further objects, with the content of one, beside it: 0, 1, ..."""
    record = Api.of(server).record(*names)
    with database_of(server) as database:
        columns = [row[1] for row in database.execute("PRAGMA table_info(objects)")]
        values = ", ".join(
            {"id": "NULL", "name": "CAST(n AS TEXT)"}.get(name, f'"{name}"') for name in columns
        )
        database.execute(
            "WITH RECURSIVE numbers(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < ?)"
            f" INSERT INTO objects SELECT {values} FROM objects, numbers WHERE id = ?",
            (count, record["id"]),
        )
    server.reset()


def test_a_new_server_is_probed_once(tmp_path: Path) -> None:
    for extensions, cost in ((False, 3 + 1), (True, 1)):
        with live_server(extensions=extensions) as server:
            Api.of(server).upload("lab/exp 1/a.csv", b"1")
            server.reset()
            fs = RinoFileSystem(endpoint_url=server.endpoint_url, token=server.token)
            fs.info("lab/exp 1/a.csv")
            assert len(seen(server)) == cost
            fs.invalidate_cache()
            fs.info("lab/exp 1/a.csv")
            assert len(seen(server)) == (1 if extensions else 3)


def test_info(server: LiveServer, fs: RinoFileSystem, made: Api, is_extended: bool) -> None:
    fs.info("lab/exp 1/a.csv")
    assert len(seen(server)) == (1 if is_extended else 3)
    fs.info("lab/exp 1/a.csv")
    fs.exists("lab/exp 1/a.csv")
    assert fs.isfile("lab/exp 1/a.csv")
    assert fs.size("lab/exp 1/a.csv") == 8
    assert seen(server) == []


def test_cat_file(server: LiveServer, fs: RinoFileSystem, made: Api, is_extended: bool) -> None:
    fs.cat_file("lab/exp 1/a.csv")
    assert len(seen(server)) == (1 if is_extended else 4)
    fs.cat_file("lab/exp 1/b.csv")
    assert len(seen(server)) == (1 if is_extended else 2)


def test_part_of_a_file(server: LiveServer, fs: RinoFileSystem, made: Api, is_extended: bool) -> None:
    assert fs.cat_file("lab/exp 1/a.csv", 2, 3) == b"y"
    assert len(seen(server)) == (1 if is_extended else 4)
    assert fs.tail("lab/exp 1/b.csv", 2) == b"4\n"
    assert len(seen(server)) == (1 if is_extended else 2)


def test_read_csv(server: LiveServer, fs: RinoFileSystem, made: Api, is_extended: bool, options: Any) -> None:
    line = b"12345678,87654321,1234567890123\n"
    data = b"x,y,z\n" + line * (31_000_000 // len(line))
    made.upload("lab/exp 1/big.csv", data)
    server.reset()
    frame = pd.read_csv("rino://lab/exp 1/big.csv", storage_options=options)
    assert len(frame) == 31_000_000 // len(line)
    requests = list(server.requests)
    assert len(seen(server)) == (2 if is_extended else 4)
    [download] = [request for request in requests if request.path.endswith("/download/")]
    assert "range" not in download.headers_in
    assert download.bytes_out == len(data)


def test_second_file_of_the_same_folder(
    server: LiveServer, fs: RinoFileSystem, made: Api, is_extended: bool
) -> None:
    with fs.open("lab/exp 1/a.csv") as file:
        file.read()
    assert len(seen(server)) == (2 if is_extended else 4)
    with fs.open("lab/exp 1/b.csv") as file:
        file.read()
    assert len(seen(server)) == 2


def test_reopening_downloads_nothing(server: LiveServer, fs: RinoFileSystem, made: Api) -> None:
    with fs.open("lab/exp 1/a.csv") as file:
        data = file.read()
    seen(server)
    with fs.open("lab/exp 1/a.csv") as file:
        assert file.read() == data
    assert "download" not in seen(server)


def test_ls_of_ten_thousand(server: LiveServer, fs: RinoFileSystem, made: Api, is_extended: bool) -> None:
    made.upload(f"{FOLDER}/one", b"1")
    multiply(server, *FOLDER.split("/"), "one", count=10_000)
    assert len(fs.ls(FOLDER)) == 10_001
    pages = 2
    # A page has ten thousand records, and this is one more.
    assert len(seen(server)) == (pages if is_extended else 3 + pages)
    assert len(fs.ls(FOLDER, detail=False)) == 10_001
    assert fs.info(f"{FOLDER}/77")["size"] == 1
    assert not fs.exists(f"{FOLDER}/none")
    assert seen(server) == []
    fs.invalidate_cache()
    assert len(fs.ls(FOLDER, detail=False)) == 10_001
    assert len(seen(server)) == (pages if is_extended else 3 + pages)


def test_ls_of_a_page(server: LiveServer, fs: RinoFileSystem, made: Api, is_extended: bool) -> None:
    made.upload(f"{FOLDER}/one", b"1")
    multiply(server, *FOLDER.split("/"), "one", count=9_999)
    assert len(fs.ls(FOLDER, detail=False)) == 10_000
    assert seen(server)[-1] == "children"
    fs.invalidate_cache()
    fs.ls(FOLDER)
    assert len(seen(server)) == (1 if is_extended else 3 + 1)


def test_find(server: LiveServer, fs: RinoFileSystem, made: Api, is_extended: bool) -> None:
    made.upload(f"{FOLDER}/first/one", b"1")
    multiply(server, *FOLDER.split("/"), "first", "one", count=24)
    folder, first = made.id_of(*FOLDER.split("/")), made.id_of(*FOLDER.split("/"), "first")
    folders = 50
    for number in range(folders - 1):
        made.post("copy", id=first, parent=folder, name=f"run {number}")
    server.reset()
    assert len(fs.find(FOLDER)) == folders * 25
    resolving, listing = 3, 1 + folders
    assert len(seen(server)) == (1 if is_extended else resolving + listing)
    fs.info(f"{FOLDER}/run 7/one")
    fs.ls(f"{FOLDER}/run 7")
    assert seen(server) == []


def test_rm_of_many(server: LiveServer, fs: RinoFileSystem, made: Api, is_extended: bool) -> None:
    made.upload(f"{FOLDER}/one", b"1")
    multiply(server, *FOLDER.split("/"), "one", count=499)
    found = fs.find(FOLDER)
    assert len(found) == 500
    seen(server)
    # What was known may be outdated by now: one listing tells where all of them are.
    fs.rm(found[:250])
    listing = ["children"] if is_extended else ["query"] * 3 + ["children"]
    assert seen(server) == [*listing, "delete"]
    fs.rm(f"{FOLDER}/*")
    # A pattern might exist as a path, and the folder might match.
    assert seen(server) == (
        ["get_metadata", "children", "get_metadata", "delete"]
        if is_extended
        else ["query", *listing, "delete"]
    )
    assert fs.ls(FOLDER) == []


def test_rm_of_few_in_a_long_folder(
    server: LiveServer, fs: RinoFileSystem, made: Api, is_extended: bool
) -> None:
    made.upload(f"{FOLDER}/one", b"1")
    multiply(server, *FOLDER.split("/"), "one", count=50_001)
    fs.rm([f"{FOLDER}/{number}" for number in range(5)])
    # A first page tells how long the listing is.
    lookups = ["get_metadata"] * 5 if is_extended else ["query"] * 5
    assert seen(server) == [*([] if is_extended else ["query"] * 3), "children", *lookups, "delete"]


def test_rm_and_mv_of_one(server: LiveServer, fs: RinoFileSystem, made: Api, is_extended: bool) -> None:
    fs.ls("lab/exp 1")
    fs.info("lab/exp 1/a.csv")
    seen(server)
    fs.rm("lab/exp 1/a.csv")
    assert seen(server) == [*(["get_metadata"] if is_extended else ["query"] * 3), "delete"]


def test_copy_move_and_rename(server: LiveServer, fs: RinoFileSystem, made: Api, is_extended: bool) -> None:
    """Source, target and the folder of a new target are looked up; on the published API, each name once."""
    made.post("create_folder", name=FOLDER)
    fs.info("lab/exp 1")
    fs.ls("lab/exp 1")
    fs.ls(FOLDER)
    seen(server)
    to_new = ["get_metadata"] * 3 if is_extended else ["query"] * 5
    fs.cp("lab/exp 1/a.csv", f"{FOLDER}/a.csv")
    assert seen(server) == [*to_new, "copy"]
    fs.cp("lab/exp 1/a.csv", f"{FOLDER}/copied.csv")
    assert seen(server) == [*to_new, "copy"]
    fs.mv("lab/exp 1/b.csv", f"{FOLDER}/b.csv")
    assert seen(server) == [*to_new, "move"]
    if is_extended:
        fs.mv(f"{FOLDER}/b.csv", f"{FOLDER}/copied.csv")
        assert seen(server) == ["get_metadata"] * 2 + ["move"]
    fs.mv("lab/exp 1/a.csv", "lab/exp 1/c.csv")
    assert seen(server) == (["get_metadata"] * 3 + ["move"] if is_extended else ["query"] * 4 + ["update"])
    fs.ls("lab/exp 1")
    fs.ls(FOLDER)
    seen(server)
    fs.mv("lab/exp 1/c.csv", f"{FOLDER}/d.csv")
    assert seen(server) == [*to_new, *(["move"] if is_extended else ["update", "move", "update"])]


def test_copy_and_move_of_many(server: LiveServer, fs: RinoFileSystem, made: Api, is_extended: bool) -> None:
    made.upload(f"{FOLDER}/one", b"1")
    multiply(server, *FOLDER.split("/"), "one", count=49)
    made.post("create_folder", name="lab/copies")
    found = fs.find(FOLDER)
    fs.ls("lab")
    seen(server)
    fs.cp(found, "lab/copies/")
    asked = seen(server)
    assert asked.count("copy") == 50
    assert len(asked) - 50 <= (3 if is_extended else 5)
    fs.mv(found, "lab/copies")
    asked = seen(server)
    assert asked.count("move") + asked.count("update") >= 50
    if is_extended:
        assert len(asked) - asked.count("move") - asked.count("update") <= 3


def test_copy_of_a_whole_folder(server: LiveServer, fs: RinoFileSystem, made: Api) -> None:
    made.upload(f"{FOLDER}/one", b"1")
    multiply(server, *FOLDER.split("/"), "one", count=50)
    fs.find("lab")
    fs.ls("lab/exp 1")
    seen(server)
    fs.cp(FOLDER, "lab/exp 1/again", recursive=True)
    assert seen(server).count("copy") == 1
    assert len(fs.find("lab/exp 1/again")) == 51


def test_put_file(server: LiveServer, fs: RinoFileSystem, made: Api, tmp_path: Path) -> None:
    local = tmp_path / "local"
    local.write_bytes(b"data")
    fs.info("lab/exp 1")
    seen(server)
    fs.put_file(str(local), "lab/exp 1/new")
    assert seen(server) == ["upload_multipart"]
    fs.pipe_file("lab/exp 1/new 2", b"1")
    assert seen(server) == ["upload_multipart"]
    with fs.open("lab/exp 1/new 3", "wb") as file:
        file.write(b"1")
    assert seen(server) == ["upload_multipart"]
    fs.info("lab/exp 1/new 3")
    assert seen(server) == []


def test_put_file_into_folders_that_are_not_there(server: LiveServer, fs: RinoFileSystem) -> None:
    fs.pipe_file("new/folders/on the way/a", b"1")
    assert seen(server) == ["upload_multipart"]


def test_cat_of_many(server: LiveServer, fs: RinoFileSystem, made: Api) -> None:
    count = 1_000 if server.extensions else 100
    made.upload(f"{FOLDER}/one", b"1")
    multiply(server, *FOLDER.split("/"), "one", count=count - 1)
    fs.ls(FOLDER)
    seen(server)
    contents = fs.cat(f"{FOLDER}/*")
    assert len(contents) == count
    assert set(contents.values()) == {b"1"}
    asked = seen(server)
    wanted = {"download_many": 16, "download": 0} if server.extensions else {"download": count}
    assert {name: asked.count(name) for name in wanted} == wanted


def test_put_of_a_thousand(server: LiveServer, fs: RinoFileSystem, tmp_path: Path, is_extended: bool) -> None:
    count = 1_000 if is_extended else 20
    for number in range(count):
        (tmp_path / f"{number}").write_bytes(b"%d" % number)
    fs.put(str(tmp_path), "lab", recursive=True)
    asked = seen(server)
    uploads = {"upload_many": 16} if is_extended else {"upload_multipart": count}
    assert {name: asked.count(name) for name in uploads} == uploads
    assert len(asked) <= sum(uploads.values()) + 3
    assert len(fs.ls("lab")) == count


def test_cat_of_a_list(server: LiveServer, fs: RinoFileSystem, made: Api) -> None:
    names = fs.ls("lab/exp 1", detail=False)
    seen(server)
    assert len(fs.cat(names)) == 2
    assert seen(server) == ["download", "download"]


def test_get_of_a_folder(
    server: LiveServer, fs: RinoFileSystem, made: Api, tmp_path: Path, is_extended: bool
) -> None:
    fs.get("lab/exp 1", str(tmp_path / "got"), recursive=True)
    endpoints = seen(server)
    assert endpoints.count("download") == 2
    assert len(endpoints) <= 2 + (2 if is_extended else 3)
