"""Several append to one file at once: whatever was acknowledged is there, exactly once."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import fsspec
import pytest

from rinofs.errors import PreconditionError
from rinofs.testing import live_server
from tests.campaign import rounds
from tests.forkserver import CONTEXT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rinofs.testing import LiveServer

SERVICES = ("rino", "repovizz")
PATIENCE = 300


@pytest.fixture(scope="module", params=[True, False], ids=["extended", "plain"])
def server(request: pytest.FixtureRequest) -> Iterator[LiveServer]:
    with live_server(extensions=request.param) as running:
        yield running


def connect(service: str, server_url: str, token: str) -> Any:
    return fsspec.filesystem(service, endpoint_url=server_url, token=token, skip_instance_cache=True)


@pytest.fixture(params=SERVICES)
def fs(request: pytest.FixtureRequest, server: LiveServer) -> Any:
    return connect(request.param, server.endpoint_url, server.token)


def append(fs: Any, path: str, who: object, count: int) -> list[str]:
    """Append lines, one file object each, and return those that were acknowledged."""
    acknowledged = []
    for number in range(count):
        line = f"{who}-{number}\n"
        with fs.open(path, "a") as file:
            file.write(line)
        acknowledged.append(line)
    return acknowledged


def lines(fs: Any, path: str) -> list[str]:
    fs.invalidate_cache()
    return sorted(fs.cat_file(path).decode().splitlines(keepends=True))


@pytest.fixture(scope="module")
def processes() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(2, mp_context=CONTEXT) as pool:
        yield pool


def test_two_processes(fs: Any, processes: ProcessPoolExecutor) -> None:
    path = "pack/two processes.txt"
    fs.pipe_file(path, b"start\n")
    count = rounds(6, 50)
    waiting = [processes.submit(append, fs, path, who, count) for who in ("one", "two")]
    said = [line for one in waiting for line in one.result(PATIENCE)]
    assert len(said) == 2 * count
    assert lines(fs, path) == sorted(["start\n", *said])


def test_eight_threads(fs: Any) -> None:
    path = "pack/eight threads.txt"
    fs.pipe_file(path, b"start\n")
    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(lambda who: append(fs, path, who, rounds(2, 8)), range(8)))
    assert lines(fs, path) == sorted(["start\n", *(line for one in said for line in one)])


def test_threads_that_make_the_file(fs: Any, server: LiveServer) -> None:
    """Each has a filesystem object of its own, and all append the same lines."""
    path = "new pack/folder/made by all.txt"
    others = [connect(fs.service.name, server.endpoint_url, server.token) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        said = list(pool.map(lambda other: append(other, path, "same", 3), others))
    assert lines(fs, path) == sorted(line for one in said for line in one)


def test_open_at_the_same_time(fs: Any) -> None:
    fs.pipe_file("pack/both.txt", b"start\n")
    one, other = fs.open("pack/both.txt", "ab"), fs.open("pack/both.txt", "ab")
    one.write(b"one\n")
    other.write(b"other\n")
    other.close()
    one.close()
    assert lines(fs, "pack/both.txt") == ["one\n", "other\n", "start\n"]


def test_bytes_that_are_no_text(fs: Any) -> None:
    fs.pipe_file("pack/raw.bin", b"\xff")
    one, other = fs.open("pack/raw.bin", "ab"), fs.open("pack/raw.bin", "ab")
    one.write(b"\xfe")
    other.write(b"\xfd")
    other.close()
    one.close()
    assert fs.cat_file("pack/raw.bin") == b"\xff\xfd\xfe"


@pytest.mark.parametrize("name", ["repovizz:abc", f"repovizz:{'0' * 40}", "a:b", "@x"])
def test_names_that_could_address_a_content(fs: Any, name: str) -> None:
    fs.pipe_file("pack/beside.txt", b"beside")  # the folder is there
    for expected in ("one\n", "one\none\n"):
        with fs.open(f"pack/{name}", "a") as file:
            file.write("one\n")
        assert fs.cat_file(f"pack/{name}").decode() == expected


def test_what_is_appended_comes_last(fs: Any) -> None:
    fs.pipe_file("pack/last.txt", b"start")
    with fs.open("pack/last.txt", "ab") as file:
        assert file.tell() == 5
        file.seek(0)
        assert file.read(2) == b"st"
        file.write(b"+more")
    assert fs.cat_file("pack/last.txt") == b"start+more"
    with fs.open("pack/last.txt", "ab") as file:
        pass
    assert fs.cat_file("pack/last.txt") == b"start+more"


def test_what_cut_the_file_is_not_repeated(fs: Any) -> None:
    fs.pipe_file("pack/cut.txt", b"start\n")
    file = fs.open("pack/cut.txt", "ab")
    file.truncate(2)
    fs.pipe_file("pack/cut.txt", b"others\n")
    with pytest.raises(PreconditionError):
        file.close()
    assert fs.cat_file("pack/cut.txt") == b"others\n"


def test_a_file_that_was_removed_meanwhile(fs: Any) -> None:
    fs.pipe_file("pack/removed.txt", b"start\n")
    file = fs.open("pack/removed.txt", "ab")
    file.write(b"more\n")
    fs.rm("pack/removed.txt")
    file.close()
    assert fs.cat_file("pack/removed.txt") == b"more\n"


def test_a_transaction_appends_too(fs: Any) -> None:
    fs.pipe_file("pack/kept.txt", b"start\n")
    with fs.transaction, fs.open("pack/kept.txt", "ab") as file:
        file.write(b"in it\n")
    assert fs.cat_file("pack/kept.txt") == b"start\nin it\n"


# Conditions


def test_a_content_is_replaced_on_condition(fs: Any) -> None:
    path = "pack/on condition.txt"
    with pytest.raises(PreconditionError, match=r"on condition\.txt"):
        fs.pipe_file(path, b"0", if_match="anything")
    assert not fs.exists(path)
    fs.pipe_file(path, b"1")
    etag = fs.info(path)["etag"]
    fs.pipe_file(path, b"2", if_match=etag)
    for use in (
        lambda: fs.pipe_file(path, b"3", if_match=etag),
        lambda: fs.pipe({path: b"3"}, if_match=etag),
        lambda: fs.open(path, "wb", if_match=etag).close(),
    ):
        with pytest.raises(PreconditionError, match=r"on condition\.txt"):
            use()
    assert fs.cat_file(path) == b"2"
    with fs.open(path, "wb", if_match=fs.info(path)["etag"]) as file:
        file.write(b"4")
    fs.pipe_file(path, b"5", if_match="*")
    assert fs.cat_file(path) == b"5"
    with fs.transaction:
        fs.pipe_file(path, b"6", if_match=fs.info(path)["etag"])
    assert fs.cat_file(path) == b"6"


def test_what_cannot_be_a_condition(fs: Any) -> None:
    fs.pipe_file("pack/a.txt", b"1")
    with pytest.raises(ValueError, match="if_match"):
        fs.pipe_file("pack/a.txt", b"2", mode="create", if_match="x")
    with pytest.raises(ValueError, match="if_match"):
        fs.open("pack/a.txt", "ab", if_match="x")
    with pytest.raises(TypeError, match="if_match"):
        fs.pipe_file("pack/a.txt", b"2", if_match=5)
    assert fs.cat_file("pack/a.txt") == b"1"


def test_only_one_of_many_creates(fs: Any, server: LiveServer) -> None:
    if not server.extensions:
        pytest.skip("without conditions it is a look, and then a write")

    def create(number: int) -> bool:
        try:
            fs.pipe_file("pack/created.txt", str(number).encode(), mode="create")
        except FileExistsError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(create, range(8)))
    assert made.count(True) == 1
    assert fs.cat_file("pack/created.txt") == str(made.index(True)).encode()
