"""Reading: whole files, parts of them, many at once; one version, checked."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from rinofs import RinoFileSystem
from rinofs.errors import ContentMismatchError, NotAllowedError
from rinofs.fs.blocks import shared_blocks
from rinofs.fs.copying import Transfer, copy_between
from rinofs.http.content.slices import read_content
from rinofs.testing import Fault
from tests.forks import in_child
from tests.rinocloud.database import database_of, exchange

if TYPE_CHECKING:
    from pathlib import Path

    from rinofs.testing import LiveServer
    from tests.rinocloud.api import Api

BIG = bytes(range(256)) * 4096 * 3  # 3 MiB
LINES = b"".join(b"line %d\n" % number for number in range(1000))


def downloads(server: LiveServer) -> list[str]:
    """Return the ranges of the downloads since the last call; empty for a whole content."""
    found = [r.headers_in.get("range", "") for r in server.requests if r.path.endswith("/download/")]
    server.requests.clear()
    return found


@pytest.fixture
def big(api: Api, server: LiveServer) -> bytes:
    api.upload("dir/big", BIG)
    server.reset()
    return BIG


# Parts


BOUNDS = (None, 0, 1, 5, 9, 10, 11, 100, -1, -10, -11)


@pytest.mark.parametrize("start", BOUNDS)
def test_cat_file_reads_what_a_slice_would(fs: RinoFileSystem, api: Api, start: int | None) -> None:
    api.upload("a", b"0123456789")
    for end in BOUNDS:
        assert fs.cat_file("a", start, end) == b"0123456789"[start:end], end
        with pytest.raises(FileNotFoundError):
            fs.cat_file("missing", start, end)


def test_a_part_costs_only_its_bytes(fs: RinoFileSystem, server: LiveServer, big: bytes) -> None:
    assert fs.cat_file("dir/big", 1_000_000, 1_000_010) == big[1_000_000:1_000_010]
    assert fs.tail("dir/big", 7) == big[-7:]
    assert fs.head("dir/big", 9) == big[:9]
    assert sum(request.bytes_out for request in server.requests) < 10_000


def test_an_empty_file(fs: RinoFileSystem, api: Api, tmp_path: Path) -> None:
    api.upload("empty", b"")
    assert fs.cat_file("empty") == fs.cat_file("empty", 0, 5) == fs.cat_file("empty", -5) == b""
    assert fs.head("empty") == fs.tail("empty") == b""
    assert fs.cat_ranges(["empty"] * 2, 0, 5) == [b"", b""]
    with fs.open("empty") as file:
        assert (file.size, file.read()) == (0, b"")
    fs.get_file("empty", str(tmp_path / "got"))
    assert (tmp_path / "got").read_bytes() == b""


def test_head_tail_and_read_block(fs: RinoFileSystem, api: Api) -> None:
    api.upload("lines", LINES)
    assert fs.head("lines", 12) == LINES[:12]
    assert fs.tail("lines", 9) == LINES[-9:]
    assert fs.head("lines", 0) == fs.tail("lines", 0) == b""
    assert fs.read_block("lines", 0, 10) == LINES[:10]
    assert fs.read_block("lines", 0, 10, delimiter=b"\n") == b"line 0\nline 1\n"
    assert fs.read_block("lines", 10, 10, delimiter=b"\n") == b"line 2\n"
    assert fs.read_block("lines", 100, None) == LINES[100:]


def test_folders_cannot_be_read(fs: RinoFileSystem, api: Api, tmp_path: Path) -> None:
    api.upload("dir/a", b"1")
    for path in ("dir", "", "/"):
        for read in (fs.cat_file, fs.open, fs.head):
            with pytest.raises(IsADirectoryError):
                read(path)


# Many at once


def test_cat_of_many(fs: RinoFileSystem, api: Api) -> None:
    api.upload("dir/a", b"1")
    api.upload("dir/sub/b", b"2")
    api.upload("c", b"3")
    assert fs.cat("c") == b"3"
    assert fs.cat(["c", "dir/a"]) == {"c": b"3", "dir/a": b"1"}
    assert fs.cat("dir", recursive=True) == {"dir/a": b"1", "dir/sub/b": b"2"}
    assert fs.cat("**/b") == {"dir/sub/b": b"2"}
    with pytest.raises(FileNotFoundError):
        fs.cat(["c", "missing"])
    assert fs.cat(["c", "missing"], on_error="omit") == {"c": b"3"}
    returned = fs.cat(["c", "missing"], on_error="return")
    assert returned["c"] == b"3"
    assert isinstance(returned["missing"], FileNotFoundError)


def test_ranges_close_to_each_other_share_a_request(
    fs: RinoFileSystem, server: LiveServer, big: bytes
) -> None:
    starts = [0, 100, 2_000_000, 50, 65_700, 2_000_050]
    ends = [10, 200, 2_000_010, 120, 65_710, 2_000_060]
    found = fs.cat_ranges(["dir/big"] * len(starts), starts, ends)
    assert found == [big[start:end] for start, end in zip(starts, ends, strict=True)]
    extended = server.extensions
    apart = ["bytes=0-65709", "bytes=2000000-2000059"]
    # Where the server is known to keep to a version, one request brings several parts.
    together = ["bytes=0-65709, 2000000-2000059"]
    assert sorted(downloads(server)) == (together if extended else apart)
    fs.cat_ranges(["dir/big"] * 2, [0, 100], [10, 200], max_gap=0)
    apart, together = ["bytes=0-9", "bytes=100-199"], ["bytes=0-9, 100-199"]
    assert sorted(downloads(server)) == (together if extended else apart)


def test_many_ranges_share_requests(fs: RinoFileSystem, server: LiveServer, big: bytes) -> None:
    starts = list(range(0, len(big) - 10, len(big) // 40))
    ends = [start + 10 for start in starts]
    found = fs.cat_ranges(["dir/big"] * len(starts), starts, ends, max_gap=0)
    assert found == [big[start:end] for start, end in zip(starts, ends, strict=True)]
    in_one = 16 if server.extensions else 1
    assert len(downloads(server)) == -(-len(starts) // in_one)


def test_ranges_with_bounds_from_the_end(fs: RinoFileSystem, api: Api, big: bytes) -> None:
    api.upload("small", b"0123456789")
    paths = ["dir/big", "dir/big", "small", "small", "dir/big", "small"]
    starts = [-10, 5, None, -3, 10**9, 7]
    ends = [None, 6, -8, -1, None, 3]
    contents = {"dir/big": big, "small": b"0123456789"}
    wanted = [contents[path][start:end] for path, start, end in zip(paths, starts, ends, strict=True)]
    assert fs.cat_ranges(paths, starts, ends) == wanted
    assert fs.cat_ranges(paths, None, -1) == [contents[path][:-1] for path in paths]
    assert fs.cat_ranges([], [], []) == []


def test_ranges_with_errors(fs: RinoFileSystem, api: Api) -> None:
    api.upload("a", b"0123456789")
    found = fs.cat_ranges(["a", "missing", "missing", "a"], [0, 0, 5, 5], 7)
    assert (found[0], found[3]) == (b"0123456", b"56")
    assert all(isinstance(error, FileNotFoundError) for error in found[1:3])
    for paths in (["a", "missing"], ["missing", "missing"]):
        with pytest.raises(FileNotFoundError):
            fs.cat_ranges(paths, 0, 7, on_error="raise")
    with pytest.raises(ValueError, match="bounds"):
        fs.cat_ranges(["a", "a"], [0], [1, 2])
    with pytest.raises(TypeError):
        fs.cat_ranges("a", 0, 1)  # type: ignore[arg-type]


def test_ranges_of_one_file_are_of_one_version(fs: RinoFileSystem, api: Api, server: LiveServer) -> None:
    old = api.upload("a", b"1" * 1_000_000)
    new = api.upload("b", b"2" * 1_000_000)
    fs.info("a")

    def replace(method: str, path: str) -> None:
        if path.endswith("/download/"):
            exchange(server, old["id"], new["id"])

    server.faults = replace
    found = fs.cat_ranges(["a"] * 3, [0, 400_000, 999_990], [10, 400_010, 1_000_000])
    assert found in ([b"1" * 10] * 3, [b"2" * 10] * 3)


@pytest.mark.parametrize(("start", "end"), [(-10, -5), (3, -4), (-10, 35), (-90, -1), (0, -50), (-1, 10**6)])
@pytest.mark.parametrize("way", ["cat_file", "cat_ranges"])
def test_a_part_with_a_bound_from_the_end_is_of_one_version(
    fs: RinoFileSystem, api: Api, server: LiveServer, way: str, start: int, end: int
) -> None:
    contents = [bytes(range(100)), bytes(reversed(range(40)))]
    records = [api.upload(name, content) for name, content in zip("ab", contents, strict=True)]
    for replaced_at in (1, 2):
        seen: list[str] = []

        def exchanging(_: str, path: str, at: int = replaced_at, seen: list[str] = seen) -> None:
            if path.endswith("/download/"):
                seen.append(path)
                if len(seen) == at:
                    exchange(server, records[0]["id"], records[1]["id"])

        fs.invalidate_cache()
        server.faults = exchanging
        found = (
            fs.cat_file("a", start, end)
            if way == "cat_file"
            else fs.cat_ranges(["a"], [start], [end], on_error="raise")[0]
        )
        server.faults = None
        assert found in [content[start:end] for content in contents]


@pytest.mark.parametrize("replaced_at", [1, 2, 3])
def test_a_part_from_a_service_that_names_no_version_is_of_one(
    server: LiveServer, api: Api, replaced_at: int
) -> None:
    if not server.extensions:
        return  # it finds contents by their ids only
    contents = [bytes(range(100)), bytes(reversed(range(40)))]
    record, other = api.upload("a", contents[0]), api.upload("b", contents[1])
    client = RinoFileSystem(endpoint_url=server.endpoint_url, token=server.token)._backend.client
    seen: list[str] = []

    def exchanging(_: str, path: str) -> None:
        seen.append(path)
        if len(seen) == replaced_at:
            exchange(server, record["id"], other["id"])

    server.faults = exchanging
    at = client.content_at(["a"], "a")
    nameless = replace(at, size=None, etag=None, conditional=False, version_of=lambda _: None)
    assert read_content(client.session, nameless, -10, -5) in [content[-10:-5] for content in contents]


# Files


def test_a_file_is_read_in_any_order(fs: RinoFileSystem, big: bytes) -> None:
    with fs.open("dir/big") as file:
        assert file.size == len(big)
        assert file.read(10) == big[:10]
        assert file.seek(-5, 2) == len(big) - 5
        assert file.read() == big[-5:]
        assert file.read() == b""
        file.seek(1_234_567)
        assert file.read(100_000) == big[1_234_567:1_334_567]
        assert file.tell() == 1_334_567
        buffer = bytearray(1000)
        assert file.readinto(buffer) == 1000
        assert buffer == big[1_334_567:1_335_567]
        with pytest.raises(ValueError, match="mode"):
            file.write(b"no")


def test_lines_and_text(fs: RinoFileSystem, api: Api, options: Any) -> None:
    api.upload("t.txt", "æ\nø\r\nå".encode())
    api.upload("t.txt.gz", gzip.compress("zipped\n".encode("utf-16")))
    with fs.open("t.txt", "r", encoding="utf-8") as file:
        assert file.readlines() == ["æ\n", "ø\n", "å"]
    with fs.open("t.txt", "r", encoding="utf-8", newline="") as file:
        assert file.read() == "æ\nø\r\nå"
    with fs.open("t.txt") as file:
        assert list(file) == ["æ\n".encode(), "ø\r\n".encode(), "å".encode()]
    with fs.open("t.txt.gz", "rt", compression="infer", encoding="utf-16") as file:
        assert file.read() == "zipped\n"
    with fsspec.open("rino://t.txt.gz", "r", compression="gzip", encoding="utf-16", **options) as file:
        assert file.read() == "zipped\n"


@pytest.mark.parametrize("cache_type", ["rinofs", "none", "readahead", "bytes", "all", "first", "mmap"])
def test_every_cache_reads_the_same(fs: RinoFileSystem, api: Api, cache_type: str) -> None:
    api.upload("lines", LINES)
    with fs.open("lines", cache_type=cache_type, block_size=700) as file:
        file.seek(3000)
        assert file.read(1500) == LINES[3000:4500]
        file.seek(0)
        assert file.read(100) == LINES[:100]
        if cache_type != "first":
            assert file.read() == LINES[100:]


@pytest.mark.parametrize("count", [0, 10, 2_000_000])
def test_a_forked_child_reads_on(fs: RinoFileSystem, big: bytes, count: int) -> None:
    with fs.open("dir/big") as file:
        begin = file.read(count)

        def read_on() -> None:
            assert begin + file.read() == big
            file.close()

        assert in_child(read_on) == 0
        assert begin + file.read() == big


def test_files_survive_pickling(fs: RinoFileSystem, api: Api, big: bytes) -> None:
    with fs.open("dir/big") as file:
        file.seek(77)
        packed = pickle.dumps(file)
    api.upload("dir/big", b"other")
    with pickle.loads(packed) as again:
        assert again.tell() == 77
        assert again.read(5) == big[77:82]


# One version


@pytest.mark.parametrize("cache_type", ["rinofs", "none", "readahead"])
def test_an_open_file_stays_at_its_version(
    fs: RinoFileSystem, api: Api, cache_type: str, options: Any
) -> None:
    api.upload("a", b"1" * 3_000_000)
    with fs.open("a", cache_type=cache_type, block_size=100_000) as file:
        assert file.read(10) == b"1" * 10
        api.upload("a", b"2" * 1_000_000)
        file.seek(500_000)
        assert file.read(10) == b"1" * 10
        file.seek(2_900_000)
        assert file.read() == b"1" * 100_000
    with RinoFileSystem(**options, use_listings_cache=False).open("a", cache_type=cache_type) as file:
        assert file.read() == b"2" * 1_000_000


def test_an_open_file_whose_version_is_gone_raises(fs: RinoFileSystem, api: Api) -> None:
    record = api.upload("a", b"1" * 3_000_000)
    with fs.open("a", cache_type="none") as file:
        assert file.read(10) == b"1" * 10
        api.post("delete", id=record["id"])
        api.upload("a", b"2" * 3_000_000)
        with pytest.raises(FileNotFoundError):
            file.read(10)


def test_content_that_is_appended_to_in_place_is_not_mixed(fs: RinoFileSystem, api: Api) -> None:
    record = api.upload("a", b"1" * 2_000_000)
    with fs.open("a", cache_type="none") as file:
        assert file.read(10) == b"1" * 10
        api.post("append", id=record["id"], chunk="2")  # the id stays, the content does not
        with pytest.raises(OSError, match="replaced"):
            file.read(10)


def test_a_get_that_is_overtaken_is_whole(
    fs: RinoFileSystem, api: Api, server: LiveServer, tmp_path: Path
) -> None:
    old, new = api.upload("a", b"1" * 500_000), api.upload("b", b"2" * 400_000)

    def overtake(method: str, path: str) -> None:
        if path.endswith("/download/"):
            exchange(server, old["id"], new["id"])

    server.faults = overtake
    for number in range(4):
        fs.get_file("a", str(tmp_path / str(number)))
        assert (tmp_path / str(number)).read_bytes() in (b"1" * 500_000, b"2" * 400_000)


def test_a_file_is_replaced_between_look_and_read(fs: RinoFileSystem, api: Api, server: LiveServer) -> None:
    old, new = api.upload("a", b"old"), api.upload("b", b"newer")
    fs.info("a")

    def replace(method: str, path: str) -> None:
        if path.endswith("/download/"):
            server.faults = None
            exchange(server, old["id"], new["id"])
            with database_of(server) as database:
                database.execute("DELETE FROM objects WHERE id = ?", (old["id"],))

    server.faults = replace
    assert fs.cat_file("a") == b"newer"


# Checked


def damage(server: LiveServer, data: bytes) -> None:
    """Change stored content behind the server's back."""
    [blob] = [
        path for path in server.data_dir.rglob("*") if path.is_file() and path.stat().st_size == len(data)
    ]
    assert blob.read_bytes() == data
    blob.chmod(0o600)
    blob.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def test_damaged_content_is_refused(
    fs: RinoFileSystem, api: Api, server: LiveServer, tmp_path: Path, options: Any
) -> None:
    data = b"damaged" * 123_457
    api.upload("a", data)
    damage(server, data)
    with pytest.raises(ContentMismatchError):
        fs.cat_file("a")
    (tmp_path / "got").write_bytes(b"before")
    with pytest.raises(ContentMismatchError):
        fs.get_file("a", str(tmp_path / "got"))
    assert [path.name for path in tmp_path.iterdir()] == ["got"]
    assert (tmp_path / "got").read_bytes() == b"before"
    with fs.open("a") as file, pytest.raises(ContentMismatchError):
        file.read()
    with fs.open("a") as file:
        for _ in range(len(data) // 200_000):
            file.read(200_000)
        with pytest.raises(ContentMismatchError):
            file.read(200_000)
    unchecked = RinoFileSystem(**options, verify_content=False)
    assert len(unchecked.cat_file("a")) == len(data)


# Caches


def test_what_was_read_is_not_downloaded_again(fs: RinoFileSystem, server: LiveServer, big: bytes) -> None:
    with fs.open("dir/big") as file:
        assert file.read() == big
    assert downloads(server) == [""]
    with fs.open("dir/big") as file:
        file.seek(1_000_000)
        assert file.read(1000) == big[1_000_000:1_001_000]
        file.seek(0)
        assert file.read() == big
    assert downloads(server) == []


def test_a_new_version_meets_no_old_blocks(fs: RinoFileSystem, api: Api) -> None:
    fs.pipe_file("a", b"1" * 100_000)
    with fs.open("a") as file:
        file.read()
    fs.pipe_file("a", b"2" * 100_000)
    with fs.open("a") as file:
        assert file.read() == b"2" * 100_000


def test_users_do_not_share_blocks(fs: RinoFileSystem, server: LiveServer, api: Api) -> None:
    fs.pipe_file("mine", b"secret")
    with fs.open("mine") as file:
        file.read()
    other = RinoFileSystem(endpoint_url=server.endpoint_url, token=server.add_user(f"other-{id(api)}"))
    assert other.ls("") == []
    with pytest.raises(FileNotFoundError):
        other.open(f"@{fs.info('mine')['id']}")


def test_the_cache_is_bounded(fs: RinoFileSystem, server: LiveServer, big: bytes) -> None:
    before = shared_blocks.max_bytes
    shared_blocks.resize(1_000_000)
    try:
        with fs.open("dir/big") as file:
            for _ in range(3):
                assert file.read(1_000_000)
        assert shared_blocks.bytes_held <= 1_000_000
    finally:
        shared_blocks.resize(before)


# To local files


def test_get_makes_folders_and_replaces_files(fs: RinoFileSystem, api: Api, tmp_path: Path) -> None:
    api.upload("dir/a", b"1")
    fs.get_file("dir/a", str(tmp_path / "new" / "folder" / "a"))
    assert (tmp_path / "new" / "folder" / "a").read_bytes() == b"1"
    api.upload("dir/a", b"22")
    fs.invalidate_cache()
    fs.get("dir/a", str(tmp_path / "new" / "folder" / "a"))
    assert (tmp_path / "new" / "folder" / "a").read_bytes() == b"22"
    with pytest.raises(FileNotFoundError):
        fs.get_file("missing", str(tmp_path / "x" / "y"))
    assert not (tmp_path / "x" / "y").exists()


@pytest.mark.parametrize("module", [gzip, bz2, lzma])
def test_get_file_into_a_file_that_compresses(
    fs: RinoFileSystem, api: Api, tmp_path: Path, module: Any
) -> None:
    api.upload("dir/a", b"data")
    with module.open(tmp_path / "a", "wb") as file:
        file.write(b"before ")
        fs.get_file("dir/a", file)
    with module.open(tmp_path / "a") as file:
        assert file.read() == b"before data"


@pytest.mark.parametrize("size", [3, 9 * 1024 * 1024])
@pytest.mark.parametrize("way", ["get_file", "get", "resume", "copy"])
def test_what_goes_to_a_pipe_or_a_device_does_not_replace_it(
    fs: RinoFileSystem, api: Api, tmp_path: Path, way: str, size: int
) -> None:
    content = bytes(size - 1) + b"1"
    api.upload("dir/a", content)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        got = pool.submit(pipe.read_bytes)
        if way == "copy":
            elsewhere = MemoryFileSystem()
            elsewhere.pipe_file("/rinofs-pipe", content)
            copy_between(elsewhere, LocalFileSystem(), [Transfer("/rinofs-pipe", str(pipe), size)])
            elsewhere.rm_file("/rinofs-pipe")
        elif way == "resume":
            fs.get_file("dir/a", str(pipe), resume=True)
        else:
            getattr(fs, way)("dir/a", str(pipe))
        assert got.result(60) == content
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]


@pytest.mark.parametrize("size", [1000, 300_000, 3_000_000])
def test_a_pipe_that_takes_a_part_at_once_gets_everything(fs: RinoFileSystem, api: Api, size: int) -> None:
    content = os.urandom(size)
    api.upload("a", content)
    reader, writer = os.pipe()
    with ThreadPoolExecutor(1) as pool, os.fdopen(reader, "rb") as source:
        got = pool.submit(source.read)
        with os.fdopen(writer, "wb", buffering=0) as target:
            fs.get_file("a", target)
        assert got.result(60) == content


class Slow(io.RawIOBase):
    """A raw file that takes less than it is given."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.got, self._most = bytearray(), most

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int | None:
        self.got += bytes(data[: self._most])
        return min(len(data), self._most) if self._most else None


@pytest.mark.parametrize("size", [0, 1, 300_000, 3_000_000])
def test_a_raw_file_that_takes_a_part_at_once_gets_everything(
    fs: RinoFileSystem, api: Api, size: int
) -> None:
    content = os.urandom(size)
    api.upload("a", content)
    target = Slow(10_007)
    fs.get_file("a", target)
    assert target.got == content
    if size:
        with pytest.raises(BlockingIOError):
            fs.get_file("a", Slow(0))


def test_callbacks_hear_of_every_byte(fs: RinoFileSystem, big: bytes, tmp_path: Path) -> None:
    callback = fsspec.Callback()
    fs.get_file("dir/big", str(tmp_path / "a"), callback=callback)
    assert (callback.size, callback.value) == (len(big), len(big))
    callback = fsspec.Callback()
    fs.put_file(str(tmp_path / "a"), "again", callback=callback)
    assert (callback.size, callback.value) == (len(big), len(big))
    callback = fsspec.Callback()
    fs.get("", str(tmp_path / "all"), recursive=True, callback=callback)
    assert callback.size == callback.value > 2


def test_a_failing_get_of_many_leaves_no_halves(
    api: Api, server: LiveServer, tmp_path: Path, options: Any
) -> None:
    fs = RinoFileSystem(**options)
    for number in range(20):
        api.upload(f"dir/{number}", b"x" * 300_000)  # too large to come together with others
    count = iter(range(10_000))
    server.faults = lambda method, path: (
        Fault(status=403, body=b"{}") if path.endswith("download/") and next(count) == 7 else None
    )
    with pytest.raises(NotAllowedError):
        fs.get("dir", str(tmp_path / "got"), recursive=True)
    assert all(path.stat().st_size == 300_000 for path in (tmp_path / "got").rglob("*") if path.is_file())


def test_opening_with_a_cache_type_that_does_not_exist_is_refused(fs: RinoFileSystem) -> None:
    fs.pipe_file("a", b"1")
    with pytest.raises(ValueError, match="did you mean 'readahead'"):
        fs.open("a", cache_type="readahed")
