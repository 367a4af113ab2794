"""Listings of many pages: names alone are as complete as infos are, and are all that is sent and held."""

from __future__ import annotations

import gc
import tracemalloc
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from rinofs import RinoFileSystem
from rinofs.errors import ProtocolError
from rinofs.fs import listings
from rinofs.protocol.extensions import RinocloudExtension
from rinofs.rinocloud import children, client, records
from rinofs.rinocloud.queries import searching
from rinofs.server.catalog import listings as server_listings
from rinofs.server.errors import NotFound
from rinofs.testing import live_server
from tests.rinocloud.database import database_of, rename

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rinofs.server.catalog.records import User
    from rinofs.server.catalog.store import Store
    from rinofs.testing import LiveServer
    from tests.rinocloud.api import Api

PATTERNS = ["*", "**", "old/**/*3*", "new/", "**/new", "nothing*", "[o]ld/f?"]


@pytest.fixture
def short_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (client, records):
        monkeypatch.setattr(module, "CLIENT_PAGE", 3)
    monkeypatch.setattr(children, "NAMES_PAGE", 4)


@pytest.fixture
def shuffled(fs: RinoFileSystem, api: Api, server: LiveServer, short_pages: None) -> None:
    """A tree in which many objects are older than the folder that they are in, with odd names."""
    for number in range(12):
        api.upload(f"old/f{number}", b"x")
        api.upload(f"old/deep{number % 3}/er/f{number}", b"x")
    api.upload("old/@5", b"x")
    api.upload("old/@@7/g", b"x")
    rename(server, fs.info("old/f11")["id"], "a/b")
    rename(server, fs.info("old/deep2")["id"], "@12")
    fs.mkdir("new")
    for name in ("f1", "f2", "deep0"):
        fs.mv(f"old/{name}", f"new/{name}", recursive=True)
    fs.mkdir("old/newest")
    fs.mv("new", "old/newest/new", recursive=True)
    api.post("create_folder", name="new")
    api.post("create_object", name="no data", parent=None)
    fs.invalidate_cache()


@pytest.mark.usefixtures("shuffled")
@pytest.mark.parametrize("path", ["", "old", "old/newest", "old/newest/new/deep0", "old/f3", "nothing"])
def test_names_are_those_of_the_infos(fs: RinoFileSystem, path: str) -> None:
    def both(listed: Callable[..., Any]) -> tuple[Any, Any]:
        fs.invalidate_cache()
        names = listed(detail=False)
        fs.invalidate_cache()
        return names, listed(detail=True)

    names, infos = both(lambda detail: fs.find(path, detail=detail))
    assert names == list(infos)
    for maxdepth in (None, 1, 2, 5):
        names, infos = both(lambda detail, depth=maxdepth: fs.find(path, depth, withdirs=True, detail=detail))
        assert names == list(infos)
        names, infos = both(lambda detail, depth=maxdepth: list(fs.walk(path, depth, detail=detail)))
        assert [(where, sorted(folders), sorted(files)) for where, folders, files in names] == [
            (where, sorted(folders), sorted(files)) for where, folders, files in infos
        ]
    if path != "nothing":
        names, infos = both(lambda detail: fs.ls(path, detail=detail))
        assert names == [info["name"] for info in infos]


@pytest.mark.usefixtures("shuffled")
@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("withdirs", [True, False])
def test_patterns_match_the_same(fs: RinoFileSystem, pattern: str, withdirs: bool) -> None:
    for maxdepth in (None, 1, 3):
        names = fs.glob(pattern, maxdepth, withdirs=withdirs)
        fs.invalidate_cache()
        assert names == list(fs.glob(pattern, maxdepth, withdirs=withdirs, detail=True))
        fs.invalidate_cache()


def test_a_listing_of_names_that_does_not_move_on_ends(
    fs: RinoFileSystem, api: Api, short_pages: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(9):
        api.upload(f"f{number}", b"x")
    fs.ls("")
    if not fs._backend.client.features.has(RinocloudExtension.NAMES):
        return
    post = client.RinocloudClient._post

    def same_again(self: Any, endpoint: str, body: dict[str, Any], **options: Any) -> Any:
        return post(self, endpoint, {**body, **({"after": 0} if "after" in body else {})}, **options)

    monkeypatch.setattr(client.RinocloudClient, "_post", same_again)
    fs.invalidate_cache()
    with pytest.raises(ProtocolError, match="expected the names after"):
        fs.ls("", detail=False)


CHANGES: dict[str, Callable[[Store, User, int], object]] = {
    "deleted": lambda store, user, number: store.delete(user, [number]),
    "moved": lambda store, user, number: store.move(user, [number], None),
}
LISTED: dict[str, Callable[[RinoFileSystem], list[str]]] = {
    "ls": lambda fs: fs.ls("a", detail=False),
    "ls of infos": lambda fs: [info["name"] for info in fs.ls("a", detail=True)],
    "find": lambda fs: fs.find("a"),
    "find of infos": lambda fs: list(fs.find("a", detail=True)),
    "query": lambda fs: [info["name"] for info in fs.query("a", type="file")],
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("way", LISTED)
def test_what_goes_away_in_the_middle_of_a_page_takes_nothing_else_along(
    way: str, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (client, records, searching):
        monkeypatch.setattr(module, "CLIENT_PAGE", 12)
    monkeypatch.setattr(children, "NAMES_PAGE", 12)
    monkeypatch.setattr(server_listings, "PIECE_ROWS", 4)
    with live_server() as server:
        fs = RinoFileSystem(endpoint_url=server.endpoint_url, token=server.token, skip_instance_cache=True)
        fs.pipe({f"a/f{number:02}": b"x" for number in range(50)})
        store, user = server._services.store, server._user
        gone: list[str] = []
        read = server_listings._Pieces._next_piece

        def changed(pieces: Any) -> Any:
            for number in pieces._ids[pieces._start :][-1:]:
                with suppress(NotFound):
                    name = store.get(user, number).name
                    CHANGES[change](store, user, number)
                    gone.append(f"a/{name}")
            return read(pieces)

        monkeypatch.setattr(server_listings._Pieces, "_next_piece", changed)
        found = LISTED[way](fs)
        assert gone
        assert sorted({*found, *gone}) == [f"a/f{number:02}" for number in range(50)]
        assert len(found) == len(set(found))


MANY = 8000


@pytest.fixture(scope="module")
def wide() -> Iterator[LiveServer]:
    """A server with many files in two folders."""
    with live_server() as server:
        fs = RinoFileSystem(endpoint_url=server.endpoint_url, token=server.token)
        for folder in ("wide/one", "wide/two"):
            fs.pipe_file(f"{folder}/first", b"x", metadata={"subject": "A22", "notes": "n" * 50})
            number = fs.info(f"{folder}/first")["id"]
            with database_of(server) as database:
                copied = [row[1] for row in database.execute("PRAGMA table_info(objects)")][1:]
                values = ", ".join("'f' || n" if name == "name" else name for name in copied)
                database.execute(
                    "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?) "
                    f"INSERT INTO objects ({', '.join(copied)}) "
                    f"SELECT {values} FROM objects, numbers WHERE id = ?",
                    (MANY // 2 - 1, number),
                )
        yield server


WAYS: dict[str, Callable[[RinoFileSystem], Any]] = {
    "ls": lambda fs: [*fs.ls("wide/one", detail=False), *fs.ls("wide/two", detail=False)],
    "find": lambda fs: fs.find("wide"),
    "walk": lambda fs: [file for _, _, files in fs.walk("wide") for file in files],
    "glob": lambda fs: fs.glob("wide/*/*"),
}
NAMES = 1000  # a page


@pytest.mark.parametrize("way", list(WAYS))
def test_names_alone_are_sent_and_held(way: str, wide: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (client, records):
        monkeypatch.setattr(module, "CLIENT_PAGE", 500)
    monkeypatch.setattr(children, "NAMES_PAGE", NAMES)
    fs = RinoFileSystem(endpoint_url=wide.endpoint_url, token=wide.token)
    WAYS[way](fs)  # what client and server import and compile for the first time is not counted
    fs.invalidate_cache()
    fs.info("wide")
    wide.reset()
    gc.collect()
    tracemalloc.start()
    try:
        found = WAYS[way](fs)
        gc.collect()
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(found) == MANY
    assert held < MANY * 80 + 200_000  # strings of some 65 bytes in a list
    assert peak < MANY * 600  # with some pages, of the server too, which is in this process; infos take 1500
    assert len(wide.requests) <= 3 + 2 + MANY // NAMES + 2
    assert sum(request.bytes_out for request in wide.requests) < 80 * MANY + 2 * 500 * 700


DETAILED: dict[str, Callable[[RinoFileSystem], Any]] = {
    "ls": lambda fs: fs.ls("wide/one", detail=True),
    "find": lambda fs: fs.find("wide", detail=True),
}


@pytest.mark.parametrize("way", list(DETAILED))
def test_what_is_too_long_for_the_cache_is_held_once(
    way: str, wide: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listings, "MAX_LISTED", 1000)
    for module in (client, records):
        monkeypatch.setattr(module, "CLIENT_PAGE", 500)
    fs = RinoFileSystem(endpoint_url=wide.endpoint_url, token=wide.token)
    fs.ls("")
    gc.collect()
    tracemalloc.start()
    try:
        found = DETAILED[way](fs)
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - held < 150 * len(found)  # a record takes some 550
