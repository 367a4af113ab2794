"""Files that are read in pieces from the beginning to the end: verified, by few requests, of one version."""

from __future__ import annotations

import io
import os
import shutil
from typing import TYPE_CHECKING, Any

import fsspec
import hypothesis.strategies as st
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings

from rinofs import RinoFileSystem
from rinofs.errors import ContentChangedError, ContentMismatchError
from rinofs.fs.blocks import BLOCK, shared_blocks
from rinofs.fs.files.reader import HEADER, LARGE, PIECE, SMALL
from rinofs.protocol import digests
from rinofs.testing import Fault
from tests.campaign import rounds
from tests.rinocloud.proxy import proxy_to

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rinofs.testing import LiveServer
    from tests.rinocloud.api import Api
    from tests.rinocloud.proxy import Exchange

LINE = b"%08d,12.5\n"
CONTENT = b"".join(LINE % number for number in range(80_000))  # 1.1 MB: more than is hashed without threads
SIZES = [1, 1000, BLOCK, HEADER, HEADER + 1, SMALL, SMALL + 1, 2 * SMALL, PIECE + BLOCK, len(CONTENT)]


def forget_blocks() -> None:
    """Have everything read again."""
    size = shared_blocks.max_bytes
    shared_blocks.resize(0)
    shared_blocks.resize(size)


def downloads(server: LiveServer) -> int:
    return sum(request.path.endswith("/download/") for request in server.requests)


def blob_of(server: LiveServer, data: bytes) -> Path:
    """Return the file in which the server stores a content."""
    blobs = (server.data_dir / "blobs").rglob("*")
    [blob] = [path for path in blobs if path.is_file() and path.stat().st_size == len(data)]
    blob.chmod(0o600)
    return blob


def flip(blob: Path, position: int) -> None:
    """Change a bit behind the server's back."""
    with blob.open("r+b") as file:
        file.seek(position)
        [byte] = file.read(1)
        file.seek(position)
        file.write(bytes([byte ^ 1]))


def rest_of(file: Any, piece: int) -> bytes:
    return b"".join(iter(lambda: file.read(piece), b""))


# Ways of reading a whole file


def pieces_of(size: int) -> Callable[[Any, Any], bytes]:
    def read(fs: Any, options: Any) -> bytes:
        with fs.open("a.csv") as file:
            return rest_of(file, size)

    read.__name__ = f"pieces_of_{size}"
    return read


def a_header_and_the_rest(fs: Any, options: Any) -> bytes:
    with fs.open("a.csv") as file:
        return bytes(file.read(10) + file.read())


def a_header_and_large_pieces(fs: Any, options: Any) -> bytes:
    with fs.open("a.csv", block_size=100_000) as file:
        return bytes(file.read(10) + rest_of(file, 300_000))


def after_a_look_at_the_beginning(fs: Any, options: Any) -> bytes:
    with fs.open("a.csv") as file:
        file.read(3 * BLOCK)
        file.read(BLOCK)
        file.seek(0)
        return rest_of(file, 8192)


def some_bytes_twice(fs: Any, options: Any) -> bytes:
    found = b""
    with fs.open("a.csv") as file:
        while piece := file.read(50_000):
            found = found[: file.tell() - len(piece)] + piece
            if len(piece) == 50_000:
                file.seek(-20_000, io.SEEK_CUR)
    return found


def text_lines(fs: Any, options: Any) -> bytes:
    with fs.open("a.csv", "r", encoding="ascii", newline="") as file:
        return "".join(file).encode()


def binary_lines(fs: Any, options: Any) -> bytes:
    with fs.open("a.csv") as file:
        return b"".join(file)


def buffered(fs: Any, options: Any) -> bytes:
    with io.BufferedReader(fs.open("a.csv"), 10_000) as file:
        return b"".join(file)


def into_a_buffer(fs: Any, options: Any) -> bytes:
    buffer, found = bytearray(20_000), b""
    with fs.open("a.csv") as file:
        while count := file.readinto(buffer):
            found += buffer[:count]
    return found


def copyfileobj(fs: Any, options: Any) -> bytes:
    target = io.BytesIO()
    with fs.open("a.csv") as file:
        shutil.copyfileobj(file, target)
    return target.getvalue()


def fsspec_text(fs: Any, options: Any) -> bytes:
    with fsspec.open("rino://a.csv", "r", encoding="ascii", newline="", **options) as file:
        return str(file.read()).encode()


def _written(table: pd.DataFrame) -> bytes:
    return table.to_csv(index=False, header=False, lineterminator="\n").encode()


def pandas_file(fs: Any, options: Any) -> bytes:
    with fs.open("a.csv") as file:
        return _written(pd.read_csv(file, header=None, dtype=str))


def pandas_url(fs: Any, options: Any) -> bytes:
    return _written(pd.read_csv("rino://a.csv", header=None, dtype=str, storage_options=options))


def pandas_in_chunks(fs: Any, options: Any) -> bytes:
    url = "rino://a.csv"
    with pd.read_csv(url, header=None, dtype=str, chunksize=5000, storage_options=options) as chunks:
        return b"".join(map(_written, chunks))


WAYS = [
    *map(pieces_of, (3000, BLOCK, 20_000, HEADER, HEADER + 1, 300_000)),
    a_header_and_the_rest,
    a_header_and_large_pieces,
    after_a_look_at_the_beginning,
    some_bytes_twice,
    text_lines,
    binary_lines,
    buffered,
    into_a_buffer,
    copyfileobj,
    fsspec_text,
    pandas_file,
    pandas_url,
    pandas_in_chunks,
]


@pytest.mark.covering(2)
@pytest.mark.parametrize("place", ["first", "middle", "last"])
@pytest.mark.parametrize("read", WAYS)
def test_a_damaged_byte_is_found_in_every_way_of_reading(
    fs: RinoFileSystem,
    server: LiveServer,
    options: dict[str, Any],
    read: Callable[[Any, Any], bytes],
    place: str,
) -> None:
    fs.pipe_file("a.csv", CONTENT)
    forget_blocks()
    assert read(fs, options) == CONTENT
    flip(blob_of(server, CONTENT), {"first": 0, "middle": 300_000, "last": len(CONTENT) - 2}[place])
    forget_blocks()
    with pytest.raises(ContentMismatchError):
        read(fs, options)


@pytest.mark.covering(2)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("piece", [1000, BLOCK, BLOCK + 1, HEADER, HEADER + 1, SMALL])
def test_files_of_any_size_are_verified(
    fs: RinoFileSystem, server: LiveServer, size: int, piece: int
) -> None:
    content = os.urandom(size)
    fs.pipe_file("a.csv", content)
    forget_blocks()
    server.reset()
    read = pieces_of(piece)
    assert read(fs, {}) == content
    assert downloads(server) <= 2  # a header, and all
    flip(blob_of(server, content), size - 1)
    forget_blocks()
    with pytest.raises(ContentMismatchError):
        read(fs, {})


@pytest.mark.parametrize("piece", [8192, HEADER, SMALL, SMALL + 1])
def test_large_files_are_verified_and_their_beginnings_cost_little(
    fs: RinoFileSystem, server: LiveServer, piece: int
) -> None:
    content = os.urandom(LARGE + 12_345)
    fs.pipe_file("a.csv", content)
    forget_blocks()
    server.reset()
    assert pieces_of(piece)(fs, {}) == content
    assert downloads(server) <= 6  # pieces that grow to a megabyte, and all the rest
    forget_blocks()
    server.reset()
    with fs.open("a.csv") as file:
        for at in range(0, 100_000, min(piece, HEADER)):
            assert file.read(min(piece, HEADER)) == content[at : at + min(piece, HEADER)]
        file.seek(-10, os.SEEK_END)
        assert file.read() == content[-10:]
    assert sum(request.bytes_out for request in server.requests) < 1_000_000
    flip(blob_of(server, content), len(content) - 1)
    forget_blocks()
    with pytest.raises(ContentMismatchError):
        pieces_of(piece)(fs, {})


@pytest.mark.parametrize("max_bytes", [0, LARGE, LARGE + PIECE, 2 * LARGE])
@pytest.mark.parametrize("piece", [8192, HEADER, SMALL - 1, SMALL, PIECE])
@pytest.mark.parametrize("at", [5, 1_500_000, LARGE])
def test_files_that_are_larger_than_the_cache_are_verified(
    fs: RinoFileSystem, server: LiveServer, piece: int, max_bytes: int, at: int
) -> None:
    content = os.urandom(2 * LARGE + 1)
    fs.pipe_file("a.csv", content)
    before = shared_blocks.max_bytes
    shared_blocks.resize(max_bytes)
    try:
        server.reset()
        assert pieces_of(piece)(fs, {}) == content
        assert downloads(server) <= 6
        flip(blob_of(server, content), at)
        forget_blocks()
        with pytest.raises(ContentMismatchError):
            pieces_of(piece)(fs, {})
    finally:
        shared_blocks.resize(before)


def reads_of(*sizes: int) -> Callable[[Any, Any], bytes]:
    """Read pieces of these sizes, the last one again and again; -1 reads the rest."""

    def read(fs: Any, options: Any) -> bytes:
        with fs.open("a.csv") as file:
            return b"".join(map(file.read, sizes)) + rest_of(file, sizes[-1])

    return read


@pytest.mark.covering(2)
@pytest.mark.parametrize("max_bytes", [0, LARGE, 2 * LARGE])
@pytest.mark.parametrize("size", [LARGE // 2, LARGE + 12_345])
@pytest.mark.parametrize(
    "sizes",
    [
        (10, -1),
        (HEADER, -1),
        (8192, 8192, 8192, -1),
        (500_000, -1),
        (10, SMALL),
        (10, PIECE),
        (HEADER, HEADER, 3 * PIECE),
        (10, LARGE // 2 - 11, 1),
        (10, 3 * LARGE // 2),
    ],
    ids=str,
)
def test_a_beginning_and_what_follows_is_verified(
    fs: RinoFileSystem, server: LiveServer, sizes: tuple[int, ...], size: int, max_bytes: int
) -> None:
    content = os.urandom(size)
    fs.pipe_file("a.csv", content)
    before = shared_blocks.max_bytes
    shared_blocks.resize(max_bytes)
    try:
        flip(blob_of(server, content), size // 2)
        read = reads_of(*sizes)
        with pytest.raises(ContentMismatchError):
            read(fs, {})
    finally:
        shared_blocks.resize(before)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("read"), st.sampled_from([1, 100, 8192, BLOCK, 40_000, HEADER, 70_000, 200_000])),
        st.tuples(st.just("back"), st.sampled_from([1, 1000, BLOCK, 50_000])),
        st.tuples(st.just("to"), st.sampled_from([0, 5, 100_000, 700_000, len(CONTENT) - 10])),
        st.tuples(st.just("forget"), st.just(0)),
    ),
    max_size=25,
)


@settings(
    deadline=None,
    database=None,
    max_examples=rounds(25, 1_000),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(some=steps, max_bytes=st.sampled_from([0, 5 * BLOCK, 2**28]))
def test_what_is_read_in_any_order_is_right_and_the_whole_is_verified(
    fs: RinoFileSystem, server: LiveServer, some: list[tuple[str, int]], max_bytes: int
) -> None:
    fs.pipe_file("a.csv", CONTENT)
    before = shared_blocks.max_bytes
    shared_blocks.resize(max_bytes)
    try:
        forget_blocks()
        with fs.open("a.csv") as file:
            for step, number in some:
                if step == "read":
                    start = file.tell()
                    assert file.read(number) == CONTENT[start : start + number]
                elif step == "forget":
                    forget_blocks()
                else:
                    file.seek(number if step == "to" else max(file.tell() - number, 0))
            file.seek(0)
            assert rest_of(file, 30_000) == CONTENT
    finally:
        shared_blocks.resize(before)


@pytest.mark.parametrize("max_bytes", [0, 3 * BLOCK, PIECE])
def test_a_small_cache_does_not_matter(
    fs: RinoFileSystem, server: LiveServer, options: dict[str, Any], max_bytes: int
) -> None:
    fs.pipe_file("a.csv", CONTENT)
    before = shared_blocks.max_bytes
    shared_blocks.resize(max_bytes)
    try:
        server.reset()
        assert text_lines(fs, options) == CONTENT
        assert downloads(server) == 2
        flip(blob_of(server, CONTENT), 5)
        forget_blocks()
        with pytest.raises(ContentMismatchError):
            text_lines(fs, options)
    finally:
        shared_blocks.resize(before)


def test_what_others_have_read_is_verified_too(fs: RinoFileSystem, server: LiveServer) -> None:
    fs.pipe_file("a.csv", CONTENT)
    flip(blob_of(server, CONTENT), 300_000)
    forget_blocks()
    with fs.open("a.csv") as first, fs.open("a.csv") as second:
        first.seek(100_000)
        first.read(250_000)  # a part, which cannot be verified
        first.seek(0)
        first.read(110_000)
        with pytest.raises(ContentMismatchError):
            rest_of(second, 8192)


# After a mismatch


@pytest.mark.parametrize("piece", [8192, HEADER, 100_000, len(CONTENT)])
def test_reading_on_after_a_mismatch_is_refused(fs: RinoFileSystem, server: LiveServer, piece: int) -> None:
    fs.pipe_file("a.csv", CONTENT)
    blob = blob_of(server, CONTENT)
    flip(blob, 300_000)
    forget_blocks()
    with fs.open("a.csv") as file:
        with pytest.raises(ContentMismatchError):
            rest_of(file, piece)
        for _ in range(2):
            with pytest.raises(ContentMismatchError):
                file.read(piece)
        position = file.tell()
        file.seek(max(position - 100, 1))
        with pytest.raises(ContentMismatchError):
            file.read(10)
        flip(blob, 300_000)
        file.seek(0)
        assert rest_of(file, piece) == CONTENT


# Readers that do not go on


def test_a_reader_that_seeks_away_reads_only_what_it_needs(
    fs: RinoFileSystem, server: LiveServer, options: dict[str, Any]
) -> None:
    fs.pipe_file("a.csv", CONTENT)
    forget_blocks()
    with fs.open("a.csv") as file:
        file.read(HEADER)
        file.read(1000)
        server.reset()
        for start in (900_000, 700_000, 500_010):
            file.seek(start)
            assert file.read(10) == CONTENT[start : start + 10]
        # The server may record the stream, which the first of them ended, only now.
        parts = [request for request in server.requests if request.headers_in.get("range", "-")[-1] != "-"]
        assert len(parts) == 3
        assert sum(request.bytes_out for request in parts) < 4 * BLOCK
    assert fs._backend.session.free_connections == fs.options.max_concurrency


def test_many_files_are_read_side_by_side(fs: RinoFileSystem) -> None:
    for number in range(20):
        fs.pipe_file(f"many/{number}", CONTENT[number:400_000])
    forget_blocks()
    files = [fs.open(f"many/{number}", "r", encoding="ascii", newline="") for number in range(20)]
    found = ["" for _ in files]
    while any(lines := [file.read(20_000) for file in files]):
        found = [all_before + line for all_before, line in zip(found, lines, strict=True)]
    assert found == [CONTENT[number:400_000].decode() for number in range(20)]
    for file in files:
        file.close()


# Connections, versions, processes


@pytest.mark.parametrize("piece", [8192, 100_000])
def test_a_lost_connection_does_not_end_the_verification(
    fs: RinoFileSystem, server: LiveServer, piece: int
) -> None:
    fs.pipe_file("a.csv", CONTENT)
    cuts = iter([Fault(cut_after=400_000), Fault(cut_after=300_000)])

    def cut(_: str, path: str) -> Fault | None:
        return next(cuts, None) if path.endswith("/download/") and downloads(server) else None

    forget_blocks()
    server.reset()
    server.faults = cut
    assert pieces_of(piece)(fs, {}) == CONTENT
    flip(blob_of(server, CONTENT), 10)
    forget_blocks()
    cuts = iter([Fault(cut_after=400_000)])
    with pytest.raises(ContentMismatchError):
        pieces_of(piece)(fs, {})


def test_a_failure_does_not_end_the_verification(fs: RinoFileSystem, server: LiveServer) -> None:
    fs.pipe_file("a.csv", CONTENT)
    flip(blob_of(server, CONTENT), 10)
    forget_blocks()
    with fs.open("a.csv") as file:
        file.read(HEADER)
        server.faults = lambda _, path: Fault(status=403) if path.endswith("/download/") else None
        with pytest.raises(OSError, match="403"):
            file.read(HEADER)
        server.faults = None
        with pytest.raises(ContentMismatchError):
            rest_of(file, HEADER)


def test_a_content_that_is_replaced_meanwhile_is_not_mixed(
    fs: RinoFileSystem, api: Api, options: dict[str, Any]
) -> None:
    other = CONTENT[::-1]
    for count in (1, 2, 5, 60):
        fs.pipe_file("a.csv", CONTENT)
        forget_blocks()
        with fs.open("a.csv") as file:
            found = b"".join(file.read(8192) for _ in range(count))
            api.upload("a.csv", other)
            try:
                found += rest_of(file, 8192)
            except ContentChangedError:
                continue
        assert found == CONTENT


def test_a_service_that_names_no_version_is_read_on_after_a_lost_connection(server: LiveServer) -> None:
    with proxy_to(server.endpoint_url) as between:
        cuts: list[int] = []

        def nameless(exchange: Exchange) -> None:
            answer = exchange.forward()
            named = {"etag", "rinocloud-api-result", "repr-digest", "rinocloud-api-extensions"}
            answer.headers = [header for header in answer.headers if header[0].lower() not in named]
            exchange.send(answer.head())
            if cuts and len(answer.body) > cuts[0]:
                exchange.send(answer.body[: cuts.pop()])
                exchange.hang_up()
            exchange.send(answer.body)

        between.faults = lambda _: nameless
        fs = RinoFileSystem(endpoint_url=between.url, token=server.token)
        fs.pipe_file("a.csv", CONTENT)
        forget_blocks()
        cuts.append(400_000)
        assert pieces_of(HEADER)(fs, {}) == CONTENT
        assert cuts == []


@pytest.fixture(params=[True, False], ids=["with blake3", "without"])
def _blake3(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if not request.param:
        monkeypatch.setattr(digests, "_blake3", lambda: None)  # other digests are computed in threads


@pytest.mark.usefixtures("_blake3")
@pytest.mark.parametrize("begun", [HEADER, 2 * HEADER, 900_000])
def test_a_forked_child_reads_on(server: LiveServer, options: dict[str, Any], begun: int) -> None:
    fs = RinoFileSystem(**options, skip_instance_cache=True)
    fs.pipe_file("a.csv", CONTENT)
    forget_blocks()
    with fs.open("a.csv") as file:
        while file.tell() < begun:
            file.read(BLOCK)
        left = CONTENT[file.tell() :]
        child = os.fork()
        if not child:
            code = 1
            try:
                code = 0 if rest_of(file, 8192) == left else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert rest_of(file, 8192) == left
