"""One large file by several connections: only where that pays, and as whole as by one."""

from __future__ import annotations

import contextlib
import random
import threading
from typing import TYPE_CHECKING, Any

import pytest
from fsspec.callbacks import Callback

from rinofs import RinoFileSystem
from rinofs.errors import ContentChangedError, ContentMismatchError
from rinofs.fs.transfer import splitting
from rinofs.fs.transfer.connections import DownloadConnections
from rinofs.fs.transfer.download import download, replacing
from rinofs.fs.transfer.pool import Stop, Stopped
from rinofs.http.content.content import open_content
from rinofs.testing import live_server
from tests.rinocloud.api import Api
from tests.rinocloud.narrow import Way, narrow_way
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rinofs.testing import LiveServer

MEBIBYTE = 1024 * 1024
BIG = random.Random(3).randbytes(72 * MEBIBYTE)
OTHER = BIG[::-1]
SLOW = Way(each=12 * MEBIBYTE)


class Bytes(Callback):  # type: ignore[misc]
    """Counts bytes, and does something at the first ones."""

    def __init__(self, then: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self.count = 0
        self._then = then

    def relative_update(self, inc: int = 1) -> None:
        self.count += inc
        if self.count >= 40 * MEBIBYTE:
            self._then()


@pytest.fixture(scope="module")
def extended() -> Iterator[LiveServer]:
    """A server that has the file."""
    with live_server() as server:
        filesystem(server).pipe_file("big", BIG)
        yield server


@pytest.fixture
def server(extended: LiveServer) -> Iterator[LiveServer]:
    fs = filesystem(extended)
    if fs.info("big")["size"] != len(BIG) or fs.cat_file("big", 0, 8) != BIG[:8]:
        fs.pipe_file("big", BIG)
    extended.reset()
    yield extended
    extended.reset()


def filesystem(server: LiveServer, url: str = "", **options: Any) -> RinoFileSystem:
    """Return a filesystem that has sent small requests, and so knows how far away the server is."""
    fs = RinoFileSystem(
        endpoint_url=url or server.endpoint_url, token=server.token, skip_instance_cache=True, **options
    )
    for _ in range(5):
        fs.ls("", refresh=True)
    server.requests.clear()
    return fs


def parts(server: LiveServer) -> list[str]:
    """Return the ranges of the downloads; empty for a whole content."""
    return [r.headers_in.get("range", "") for r in server.requests if r.path.endswith("/download/")]


def holds(path: Path, data: bytes) -> bool:
    return path.stat().st_size == len(data) and path.read_bytes() == data


@contextlib.contextmanager
def damaged(path: Path, at: int) -> Iterator[None]:
    """Have a stored content damaged for a while."""
    mode = path.stat().st_mode
    path.chmod(0o600)
    with path.open("r+b", buffering=0) as file:
        for end in (False, True):
            file.seek(at)
            byte = file.read(1)
            file.seek(at)
            file.write(bytes([byte[0] ^ 1]))
            if not end:
                yield
    path.chmod(mode)


@pytest.fixture(autouse=True)
def _others() -> None:
    """Wait for the threads of what was given up before, so that those of a test can be told from them."""
    wait_until(no_thread_is_left)


def no_thread_is_left() -> bool:
    return not [thread for thread in threading.enumerate() if thread.name == "rinofs-part"]


@pytest.mark.parametrize("verify", [True, False])
def test_several_connections_where_each_is_held_back(
    server: LiveServer, tmp_path: Path, verify: bool
) -> None:
    with narrow_way(server.endpoint_url, SLOW) as url:
        fs = filesystem(server, url, verify_content=verify)
        seen = Bytes()
        fs.get_file("big", tmp_path / "big", callback=seen)
        assert (tmp_path / "big").read_bytes() == BIG
        assert seen.count == seen.size == len(BIG)
        asked = parts(server)
        assert asked.count("") == 1
        assert 2 <= len(asked) <= 8
        assert all(r.headers_in["if-match"] for r in server.requests if "range" in r.headers_in)
        assert no_thread_is_left()


def test_several_connections_that_are_held_back_together(server: LiveServer, tmp_path: Path) -> None:
    with narrow_way(server.endpoint_url, Way(together=25 * MEBIBYTE)) as url:
        filesystem(server, url).get_file("big", tmp_path / "big")
    assert (tmp_path / "big").read_bytes() == BIG
    assert 2 <= len(parts(server)) <= 8


def test_a_service_that_stops_bringing_parts(server: LiveServer, tmp_path: Path) -> None:
    target = tmp_path / "big"
    target.touch()
    with narrow_way(server.endpoint_url, Way()) as url:
        fs = filesystem(server, url)
        content = fs._backend.locate("big").source.content
        with open_content(fs._backend.session, content) as stream:
            content = stream.in_parts
            assert content is not None
            with DownloadConnections(fs._backend.session, content, target, MEBIBYTE) as connections:
                connections.start(stream, 3)
                fs._backend.session.no_ranges = True
                news = connections.wait(30)
                arrived = news.arrived
                while not news.done:
                    news = connections.wait(30)
                    arrived += news.arrived
    assert arrived == news.complete == len(BIG)
    assert target.read_bytes() == BIG
    assert len(parts(server)) < 10  # of 72


@pytest.mark.parametrize("options", [{}, {"verify_content": False}, {"parallel_ranges": 1}])
def test_one_connection_where_the_server_is_near(
    server: LiveServer, tmp_path: Path, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(splitting, "_LATENCY", 60.0)  # however busy this machine is
    filesystem(server, **options).get_file("big", tmp_path / "big")
    assert parts(server) == [""]
    assert (tmp_path / "big").read_bytes() == BIG


def test_one_connection_where_it_is_switched_off(server: LiveServer, tmp_path: Path) -> None:
    with narrow_way(server.endpoint_url, Way(each=80 * MEBIBYTE)) as url:
        filesystem(server, url, parallel_ranges=1).get_file("big", tmp_path / "big")
    assert parts(server) == [""]


def test_as_many_connections_as_are_asked_for(server: LiveServer, tmp_path: Path) -> None:
    fs = filesystem(server, parallel_ranges=3)
    fs.get_file("big", tmp_path / "big")
    assert (tmp_path / "big").read_bytes() == BIG
    assert len(parts(server)) == 4


def test_no_more_connections_than_are_allowed(server: LiveServer, tmp_path: Path) -> None:
    filesystem(server, parallel_ranges=4, max_concurrency=1).get_file("big", tmp_path / "big")
    assert parts(server) == [""]


def test_one_connection_into_a_file_of_the_callers(server: LiveServer, tmp_path: Path) -> None:
    with (tmp_path / "big").open("wb") as file:
        filesystem(server, parallel_ranges=4).get_file("big", file)
    assert parts(server) == [""]
    assert (tmp_path / "big").read_bytes() == BIG


def test_one_connection_to_a_server_that_keeps_to_no_version(tmp_path: Path) -> None:
    with live_server(extensions=False) as server:
        fs = filesystem(server, parallel_ranges=4)
        fs.pipe_file("big", BIG)
        server.reset()
        fs.get_file("big", tmp_path / "big")
        assert parts(server) == [""]
        assert (tmp_path / "big").read_bytes() == BIG


def test_a_service_that_sends_everything_for_each_part(server: LiveServer, tmp_path: Path) -> None:
    with narrow_way(server.endpoint_url, Way(ranges=False)) as url:
        fs = filesystem(server, url, parallel_ranges=2)
        seen = Bytes()
        fs.get_file("big", tmp_path / "first", callback=seen)
        assert fs._backend.session.no_ranges
        assert len(parts(server)) <= 3  # the second part, and all after the first two
        server.requests.clear()
        fs.get_file("big", tmp_path / "second")
        assert parts(server) == [""]
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes() == BIG
    assert seen.count == len(BIG)


def test_a_part_that_breaks_is_continued(server: LiveServer, tmp_path: Path) -> None:
    broken: list[str] = []

    def cut(head: str) -> int | None:
        if "Range:" not in head or broken:
            return None
        broken.append(head)
        return 5 * MEBIBYTE

    with narrow_way(server.endpoint_url, Way(cut=cut)) as url:
        seen = Bytes()
        filesystem(server, url, parallel_ranges=4).get_file("big", tmp_path / "big", callback=seen)
    assert broken
    assert (tmp_path / "big").read_bytes() == BIG
    assert seen.count == len(BIG)


def replaced_at_the_first_part(server: LiveServer) -> Callable[[str], int | None]:
    lock, done = threading.Lock(), threading.Event()

    def cut(head: str) -> int | None:
        with lock:
            if "Range:" in head and not done.is_set():
                Api.of(server).upload("big", OTHER)
                done.set()
        return None

    return cut


def test_a_version_that_is_replaced_midway_is_read_anew(server: LiveServer, tmp_path: Path) -> None:
    with narrow_way(server.endpoint_url, Way(cut=replaced_at_the_first_part(server))) as url:
        filesystem(server, url, parallel_ranges=4).get_file("big", tmp_path / "big")
    assert (tmp_path / "big").read_bytes() == OTHER
    assert [path.name for path in tmp_path.iterdir()] == ["big"]


def fetch(fs: RinoFileSystem, target: Path, callback: Callback, stop: Stop) -> None:
    with replacing(target) as part:
        content = fs._backend.locate("big").source.content
        download(fs._backend.session, content, part, verify=True, callback=callback, stop=stop, connections=4)


def test_two_versions_are_never_mixed(server: LiveServer, tmp_path: Path) -> None:
    with narrow_way(server.endpoint_url, Way(cut=replaced_at_the_first_part(server))) as url:
        fs = filesystem(server, url)
        with pytest.raises(ContentChangedError):
            fetch(fs, tmp_path / "big", Bytes(), Stop())
    assert list(tmp_path.iterdir()) == []
    assert no_thread_is_left()


def test_what_is_damaged_in_a_part_is_found(server: LiveServer, tmp_path: Path) -> None:
    fs = filesystem(server, parallel_ranges=4)
    [stored] = [path for path in server.data_dir.rglob("*") if path.is_file() and holds(path, BIG)]
    (tmp_path / "big").write_bytes(b"before")
    with damaged(stored, 60 * MEBIBYTE), pytest.raises(ContentMismatchError):
        fs.get_file("big", tmp_path / "big")
    assert (tmp_path / "big").read_bytes() == b"before"
    assert [path.name for path in tmp_path.iterdir()] == ["big"]
    assert len(parts(server)) > 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, Stopped])
def test_nothing_is_left_of_what_was_given_up(
    server: LiveServer, tmp_path: Path, error: type[BaseException]
) -> None:
    def give_up() -> None:
        if error is Stopped:
            stop.set()
        else:
            raise error

    stop = Stop()
    with narrow_way(server.endpoint_url, Way(each=80 * MEBIBYTE)) as url:
        fs = filesystem(server, url)
        seen = Bytes(give_up)
        with pytest.raises(error):
            fetch(fs, tmp_path / "big", seen, stop)
        assert 40 * MEBIBYTE <= seen.count < len(BIG)
        assert list(tmp_path.iterdir()) == []
        assert no_thread_is_left()
        assert fs._backend.session.free_connections == fs.options.max_concurrency
        assert fs.cat_file("big", 0, 100) == BIG[:100]
