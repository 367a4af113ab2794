"""A write that fails or is killed, at whichever request, leaves what there was."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest

from rinofs import RepovizzFileSystem
from rinofs.datapack import parse
from rinofs.datapack.document.validation import flaws
from rinofs.testing import Fault
from tests.forkserver import CONTEXT
from tests.repovizz.api import Api
from tests.repovizz.conftest import cold
from tests.waiting import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

    from rinofs.testing import LiveServer

OLD = {"own.txt": b"own", "shared.txt": b"shared", "c/twin.txt": b"shared"}

WRITES: dict[str, tuple[str, dict[str, Any]]] = {
    "a new file": ("deep/er/new.txt", {}),
    "a file of its own content": ("own.txt", {}),
    "a file that shares its content": ("shared.txt", {}),
    "a file and what it says of itself": ("own.txt", {"metadata": {"side": "left"}}),
    "a new file, exclusively": ("new.txt", {"mode": "create"}),
}


def write_when_told(url: str, token: str, path: str, options: dict[str, Any], there: Connection) -> None:
    fs = RepovizzFileSystem(endpoint_url=url, token=token)
    fs.ls("")
    there.send("ready")
    there.recv()
    fs.pipe_file(path, b"written", **options)


@pytest.fixture(params=list(WRITES))
def write(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return WRITES[request.param]


@pytest.fixture
def before(fs: RepovizzFileSystem, pack: str, server: LiveServer) -> str:
    """A datapack of three files, two of which share one content."""
    fs.pipe({f"{pack}/own.txt": b"own", f"{pack}/shared.txt": b"shared"})
    fs.cp_file(f"{pack}/shared.txt", f"{pack}/c/twin.txt")
    server.reset()
    return pack


def seen(fs: RepovizzFileSystem, pack: str) -> dict[str, bytes | None]:
    """Return what everybody else sees: all files, None for one without content."""
    cold(fs)
    assert not flaws(parse(fs.cat_file(f"{pack}/datapack.json")))
    found = fs.find(pack, detail=True)
    return {
        path.removeprefix(f"{pack}/"): fs.cat_file(path) if info["size"] is not None else None
        for path, info in found.items()
    }


class Nth:
    """Do something at the n-th change that the server is asked for, counted from 0."""

    def __init__(self, nth: int, act: Callable[[], Fault | None]) -> None:
        self.left = nth
        self.act = act
        self.hit = False

    def __call__(self, method: str, _path: str) -> Fault | None:
        if method != "POST" or self.hit:
            return None
        self.left -= 1
        if self.left >= 0:
            return None
        self.hit = True
        return self.act()


@pytest.mark.covering(2)
@pytest.mark.parametrize("nth", range(3))
def test_a_refused_request_leaves_what_there_was(
    fs: RepovizzFileSystem, server: LiveServer, before: str, write: tuple[str, dict[str, Any]], nth: int
) -> None:
    path, options = write
    fault = Nth(nth, lambda: Fault(status=413))
    server.faults = fault
    fs.ls(before)
    try:
        fs.pipe_file(f"{before}/{path}", b"written", **options)
    except OSError:
        failed = True
    else:
        failed = False
    server.reset()
    assert failed == fault.hit  # else it took fewer requests
    expected = OLD if failed else {**OLD, path: b"written"}
    assert seen(fs, before) == expected
    if failed:  # nor is any container left behind
        assert fs.find(before, withdirs=True) == [
            before,
            *(f"{before}/{each}" for each in ("c", "c/twin.txt", "own.txt", "shared.txt")),
        ]


@pytest.mark.covering(2)
@pytest.mark.parametrize("carried_out", [True, False], ids=["carried out", "lost"])
@pytest.mark.parametrize("nth", range(3))
def test_a_killed_writer_leaves_what_there_was(
    fs: RepovizzFileSystem,
    server: LiveServer,
    before: str,
    write: tuple[str, dict[str, Any]],
    nth: int,
    carried_out: bool,
) -> None:
    path, options = write
    here, there = CONTEXT.Pipe()
    client = CONTEXT.Process(
        target=write_when_told, args=(server.endpoint_url, server.token, f"{before}/{path}", options, there)
    )
    client.start()
    assert here.poll(PATIENCE)
    assert here.recv() == "ready"

    def kill() -> Fault | None:
        client.kill()
        return None if carried_out else Fault(status=500)

    fault = Nth(nth, kill)
    server.faults = fault
    here.send("go")
    client.join(PATIENCE)
    server.reset()
    left = seen(fs, before)
    assert client.exitcode == (-signal.SIGKILL if fault.hit else 0)
    if server.extensions:  # whole or not at all, at every moment
        assert left in (OLD, {**OLD, path: b"written"})
        return
    # On the published API, a node has to be there before its content: what stays is without content, or
    # says what it is; no file that was there is touched.
    more = {each: content for each, content in left.items() if each not in OLD and each != path}
    assert len(more) <= 1
    assert all(each.startswith(".upload-") for each in more)
    assert left.get(path) in ((OLD[path], b"written") if path in OLD else (None, b"written"))
    assert all(left[each] == content for each, content in OLD.items() if each != path)
    for each in more:
        identifier = fs.info(before)["id"]
        nodes = Api.of(server).structure(identifier)["children"]
        assert [node["text"] for node in nodes if node["name"] == each] == [
            "Left by an upload that broke off; it can be removed."
        ]
