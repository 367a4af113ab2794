"""How many requests things take, counted by the server that answers them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fsspec.implementations.local import LocalFileSystem

from rinofs import RepovizzFileSystem
from rinofs.datapack import dump
from rinofs.datapack.document.new import new_document
from rinofs.testing import Fault, live_server
from tests.repovizz.api import Api, container, data
from tests.repovizz.conftest import cold

if TYPE_CHECKING:
    from pathlib import Path

    from rinofs.testing import LiveServer

NODES = 1_000


class Counter:
    """Count what a piece of work costs."""

    def __init__(self, server: LiveServer) -> None:
        self.server = server

    def __call__(self, work: Any) -> int:
        self.server.reset()
        work()
        return len(self.server.requests)


@pytest.fixture
def count(extended: LiveServer) -> Counter:
    return Counter(extended)


@pytest.fixture
def fs(extended: LiveServer) -> RepovizzFileSystem:
    return RepovizzFileSystem(endpoint_url=extended.endpoint_url, token=extended.token)


@pytest.fixture
def large(extended: LiveServer, fs: RepovizzFileSystem, name: str) -> str:
    """A datapack with 1,000 nodes in 10 containers, all of which have content."""
    api = Api.of(extended)
    rows = [[data(f"{i} {j}.csv", "same") for j in range(NODES // 10)] for i in range(10)]
    identifier = api.create(name, *(container(str(i), *row) for i, row in enumerate(rows)))
    api.upload(identifier, "same", b"1,2,3")
    cold(fs)
    return name


def first_contact(server: LiveServer) -> RepovizzFileSystem:
    """A filesystem that knows nothing of the server, as in a process that has just started."""
    fs = RepovizzFileSystem(endpoint_url=server.endpoint_url, token=server.token)
    cold(fs)
    features = fs._backend.client.features
    features.extensions, features.lacking, features.sha1 = frozenset(), frozenset(), False
    return fs


def write_files(folder: Path, count: int) -> Path:
    for number in range(count):
        (folder / f"{number}.csv").write_text(str(number))
    document = folder / "datapack.json"
    document.write_text(dump(new_document(LocalFileSystem(), str(folder))))
    return document


def test_looking_around_takes_two_requests_and_then_none(
    fs: RepovizzFileSystem, large: str, count: Counter
) -> None:
    for look, expected in [
        (lambda: fs.ls(large), 10),
        (lambda: fs.ls(f"{large}/3"), 100),
        (lambda: fs.find(large), NODES),
        (lambda: fs.find(large, detail=True), NODES),
        (lambda: fs.glob(f"{large}/*/* 7.csv"), 10),
        (lambda: fs.info(f"{large}/3/3 7.csv"), None),
        (lambda: fs.info(large), None),
        (lambda: fs.du(large), None),
    ]:
        cold(fs)
        assert count(look) <= 2
        assert count(look) == 0
        found = look()
        assert expected is None or len(found) == expected
    assert fs.du(large) == 5 * NODES


def test_a_cold_read_takes_three_requests_at_most(fs: RepovizzFileSystem, large: str, count: Counter) -> None:
    path = f"{large}/3/3 7.csv"
    for read in (lambda: fs.cat_file(path), lambda: fs.open(path).read()):
        cold(fs)
        assert count(read) <= 3
        assert count(read) == 0  # it is held
        fs.invalidate_cache()
        assert count(read) == 1
        assert [request.status for request in count.server.requests] == [304]


def test_with_the_document_known_a_read_takes_one(fs: RepovizzFileSystem, large: str, count: Counter) -> None:
    path = f"{large}/3/3 7.csv"
    for read in (lambda: fs.cat_file(path), lambda: fs.open(path).read(), lambda: fs.head(path, 3)):
        cold(fs)
        fs.exists(large)
        assert count(read) == 1


def test_what_was_read_is_held_whatever_becomes_of_the_document(
    fs: RepovizzFileSystem, large: str, count: Counter
) -> None:
    path = f"{large}/3/3 7.csv"
    fs.cat_file(path)
    fs.mv(path, f"{large}/elsewhere.csv")
    assert count(lambda: fs.cat_file(f"{large}/elsewhere.csv")) == 0


def test_a_push_takes_three_requests_more_than_files(
    fs: RepovizzFileSystem, count: Counter, name: str, tmp_path: Path
) -> None:
    document = write_files(tmp_path, 40)
    first_contact(count.server)
    assert count(lambda: fs.push(str(document), name)) <= 43
    cold(fs)
    assert count(lambda: fs.push(str(document), name)) == 1
    assert fs.cat_file(f"{name}/17.csv") == b"17"


def test_a_push_to_a_plain_server_that_was_never_seen_costs_no_more(
    plain_server: LiveServer, name: str, tmp_path: Path
) -> None:
    api = Api.of(plain_server)
    for number in range(5):
        api.create(f"{name} {number}")  # whose names nobody needs to ask for
    document = write_files(tmp_path, 20)
    count = Counter(plain_server)
    fs = first_contact(plain_server)
    assert count(lambda: fs.push(str(document), name)) <= 23
    fs = first_contact(plain_server)
    # Made already: the service names the one that is there.
    assert count(lambda: fs.push(str(document), name)) == 3
    assert fs.cat_file(f"{name}/17.csv") == b"17"
    with pytest.raises(FileExistsError, match="another structure"):
        first_contact(plain_server).push(str(document), f"{name} 1")


def test_changes_within_a_datapack_move_no_bytes(fs: RepovizzFileSystem, large: str, count: Counter) -> None:
    fs.ls(large)
    # The first one asks whether the datapack has the name still.
    assert count(lambda: fs.cp(f"{large}/3", f"{large}/copy", recursive=True)) == 2
    assert count(lambda: fs.mv(f"{large}/copy", f"{large}/moved")) == 2
    assert count(lambda: fs.rm([f"{large}/moved", f"{large}/0/0 0.csv"], recursive=True)) == 2
    assert sum(request.bytes_out for request in count.server.requests) < 10_000


def test_copies_within_several_datapacks_ask_for_each_of_them_once(
    fs: RepovizzFileSystem, extended: LiveServer, name: str
) -> None:
    api = Api.of(extended)
    packs = [f"{name} {number}" for number in range(3)]
    for pack in packs:
        api.create(pack, *(data(f"f{number}", "same") for number in range(10)))
        fs.find(pack)
    sources = [f"{pack}/f{number}" for pack in packs for number in range(10)]
    extended.reset()
    extended.faults = lambda _method, _path: Fault(delay=0.02)  # so that several are copied at once
    fs.copy(sources, [f"{source} copied" for source in sources])
    assert [request.method for request in extended.requests].count("GET") == 3
    assert len(fs.ls(packs[2], refresh=True)) == 20


def test_a_move_to_another_datapack_asks_for_both_once(server: LiveServer, name: str, tmp_path: Path) -> None:
    """For each file, it asks for the current content, reads and stores it, and edits both documents."""
    files = range(20)
    fs, count = first_contact(server), Counter(server)
    fs.push(str(write_files(tmp_path, len(files))), name)
    fs.mkdir(f"{name} other")
    # A server without extensions accepts a content only for a node that is there. It finds no datapack by its
    # name, so that all are asked for.
    is_extended = bool(fs._backend.client.features.extensions)
    each, one_to_a_new_one = (5, 12) if is_extended else (7, 9 + len(Api.of(server).ids()))
    sources = [f"{name}/{number}.csv" for number in files]
    assert count(lambda: fs.mv(sources, f"{name} other/")) <= 2 + each * len(files)
    assert fs.find(name) == []
    assert fs.cat_file(f"{name} other/17.csv") == b"17"
    assert count(lambda: fs.mv(f"{name} other/1.csv", f"{name} new/1.csv")) <= one_to_a_new_one


def test_writing_a_file_takes_an_edit_and_an_upload(
    fs: RepovizzFileSystem, large: str, count: Counter
) -> None:
    fs.ls(large)
    assert count(lambda: fs.pipe_file(f"{large}/new/a.csv", b"1")) == 2
    assert count(lambda: fs.pipe_file(f"{large}/new/b.csv", b"2")) == 2
    assert count(lambda: fs.pipe_file(f"{large}/new/a.csv", b"3")) == 2


@pytest.mark.parametrize("extensions", [True, False])
def test_making_a_datapack_takes_one_request_however_many_there_are(extensions: bool) -> None:
    with live_server(extensions=extensions) as server:
        fs = RepovizzFileSystem(endpoint_url=server.endpoint_url, token=server.token)
        count = Counter(server)
        fs.mkdir("first")  # from here on, the user's id is known
        fs.ls("")
        assert count(lambda: [fs.mkdir(f"pack {number}") for number in range(10)]) == 10
        nested = count(lambda: [fs.makedirs(f"nested {number}/folder") for number in range(10)])
        assert nested <= (20 if extensions else 30)
        with pytest.raises(FileExistsError):
            fs.mkdir("pack 1")
        fs.makedirs("pack 1/folder", exist_ok=True)
        assert fs.isdir("pack 1/folder")


@pytest.mark.parametrize("extensions", [True, False])
def test_a_datapack_that_another_client_made_meanwhile_is_found(extensions: bool) -> None:
    with live_server(extensions=extensions) as server:
        fs = RepovizzFileSystem(endpoint_url=server.endpoint_url, token=server.token)
        api = Api.of(server)
        fs.ls("")
        api.create("one", data("a", "a.csv"))
        api.create("two", data("a", "a.csv"))
        api.create("three", data("a", "a.csv"))
        with pytest.raises(FileExistsError):
            fs.mkdir("one")
        fs.makedirs("two/folder")
        fs.pipe("three/b", b"content")
        assert fs.ls("two", detail=False) == ["two/a", "two/folder"]
        assert fs.ls("three", detail=False) == ["three/a", "three/b"]
        assert len(api.ids()) == 3
