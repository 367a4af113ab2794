"""Contents are read from the store of the server, and from the server where that does not work."""

from __future__ import annotations

import logging
import os
import pickle
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from rinofs import RinoFileSystem
from rinofs.fs.blocks import shared_blocks
from rinofs.testing import live_server
from tests.server.conftest import s3_url, shared_seaweed
from tests.server.seaweed import SECRET
from tests.server.store_proxy import StoreFault, StoreProxy, store_proxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rinofs.testing import LiveServer
    from tests.server.seaweed import Seaweed

__all__ = ["s3_url", "shared_seaweed"]

MIB = 1024 * 1024
CONTENT = os.urandom(3 * MIB + 7)


@pytest.fixture
def proxy(shared_seaweed: Seaweed, s3_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[StoreProxy]:
    with store_proxy(shared_seaweed.endpoint_url) as running:
        monkeypatch.setenv("AWS_ENDPOINT_URL", running.endpoint_url)
        yield running


@pytest.fixture
def server(proxy: StoreProxy, s3_url: str) -> Iterator[LiveServer]:
    with live_server(configure=lambda settings: replace(settings, blobs_url=s3_url)) as running:
        yield running


def filesystem(server: LiveServer, **options: Any) -> RinoFileSystem:
    return RinoFileSystem(
        endpoint_url=server.endpoint_url, token=server.token, skip_instance_cache=True, **options
    )


def forget_blocks() -> None:
    """Have everything read again."""
    size = shared_blocks.max_bytes
    shared_blocks.resize(0)
    shared_blocks.resize(size)


def sent(server: LiveServer) -> int:
    """Return the bytes of contents that passed the server."""
    return sum(request.bytes_out for request in server.requests if request.path.endswith("/download/"))


def signed(proxy: StoreProxy) -> list[str]:
    """Return the requests to the store that were not the server's own."""
    return [path for method, path in proxy.seen if method == "GET" and "X-Amz-Signature" in path]


def read_in_all_ways(fs: RinoFileSystem, folder: Path) -> None:
    assert fs.ls("", detail=False) == ["f"]
    forget_blocks()
    with fs.open("f") as file:
        assert file.read() == CONTENT
    forget_blocks()
    with fs.open("f") as file:
        file.seek(MIB)
        assert file.read(MIB) == CONTENT[MIB : 2 * MIB]
    forget_blocks()
    assert fs.cat_file("f") == CONTENT
    assert fs.cat_file("f", 5, 2 * MIB) == CONTENT[5 : 2 * MIB]
    assert fs.cat_ranges(["f", "f"], [0, 2 * MIB], [MIB, 3 * MIB]) == [
        CONTENT[:MIB],
        CONTENT[2 * MIB : 3 * MIB],
    ]
    fs.get_file("f", str(folder / "f"))
    assert (folder / "f").read_bytes() == CONTENT


def test_large_contents_do_not_pass_the_server(server: LiveServer, proxy: StoreProxy, tmp_path: Path) -> None:
    fs = filesystem(server)
    fs.pipe_file("f", CONTENT)
    server.reset()
    read_in_all_ways(fs, tmp_path)
    assert sent(server) == 0
    assert len(signed(proxy)) >= 6
    # One address serves them all.
    assert sum(request.path.endswith("/direct/") for request in server.requests) == 1


def test_it_can_be_turned_off(server: LiveServer, proxy: StoreProxy, tmp_path: Path) -> None:
    filesystem(server).pipe_file("f", CONTENT)
    read_in_all_ways(filesystem(server, direct=False), tmp_path)
    assert sent(server) > 5 * MIB
    assert signed(proxy) == []


def test_small_contents_take_no_request_more(server: LiveServer, proxy: StoreProxy) -> None:
    fs = filesystem(server)
    fs.pipe_file("small", b"1,2")
    server.reset()
    assert fs.cat_file("small") == b"1,2"
    assert len(server.requests) == 1
    assert signed(proxy) == []


FAULTS = {
    "refused": StoreFault(status=403),
    "missing": StoreFault(status=404),
    "failing": StoreFault(status=500),
    "silent": StoreFault(silent=True),
    "another version": StoreFault(status=412),
    "wrong bytes": StoreFault(wrong_byte=1000),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_fails_there_is_read_through_the_server(
    server: LiveServer, proxy: StoreProxy, tmp_path: Path, fault: str
) -> None:
    fs = filesystem(server, timeout=2)
    fs.pipe_file("f", CONTENT)
    proxy.fault = lambda _method, path: FAULTS[fault] if "X-Amz-Signature" in path else None
    assert fs.ls("", detail=False) == ["f"]
    assert fs.cat_file("f") == CONTENT
    fs.get_file("f", str(tmp_path / "f"))
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert len(signed(proxy)) >= 1


@pytest.mark.parametrize("fault", ["refused", "another version", "wrong bytes"])
@pytest.mark.parametrize("mode", ["w+b", "a+b", "r+b"])
def test_what_a_file_object_had_before_stays(
    server: LiveServer, proxy: StoreProxy, tmp_path: Path, fault: str, mode: str
) -> None:
    fs = filesystem(server)
    fs.pipe_file("f", CONTENT)
    proxy.fault = lambda _method, path: FAULTS[fault] if "X-Amz-Signature" in path else None
    fs.ls("")
    head, rest = b"of the user, ", bytes(len(CONTENT) + 5) if mode == "r+b" else b""
    (tmp_path / "f").write_bytes(head + rest if mode != "w+b" else b"")
    with (tmp_path / "f").open(mode) as file:
        if mode == "w+b":
            file.write(head)
        file.seek(len(head))
        fs.get_file("f", file)
    assert (tmp_path / "f").read_bytes() == head + CONTENT + rest[len(CONTENT) :]
    assert signed(proxy)


def test_an_expired_address_is_renewed(server: LiveServer, proxy: StoreProxy) -> None:
    fs = filesystem(server)
    fs.pipe_file("f", CONTENT)
    refused = []

    def once(_method: str, path: str) -> StoreFault | None:
        if "X-Amz-Signature" in path and not refused:
            refused.append(path)
            return StoreFault(status=403)
        return None

    proxy.fault = once
    server.reset()
    with fs.open("f") as file:
        assert file.read() == CONTENT
    assert refused
    assert sent(server) == 0
    assert sum(request.path.endswith("/direct/") for request in server.requests) == 2


def read_by_stream(fs: RinoFileSystem, _folder: Path) -> bytes:
    with fs.open("f") as file:
        pieces = [file.read(200_000)]
        while piece := file.read(100_000):
            pieces.append(piece)
    return b"".join(pieces)


def read_at_once(fs: RinoFileSystem, _folder: Path) -> bytes:
    return bytes(fs.cat_file("f"))


def read_to_file(fs: RinoFileSystem, folder: Path) -> bytes:
    fs.get_file("f", str(folder / "f"))
    return (folder / "f").read_bytes()


@pytest.mark.parametrize("read", [read_by_stream, read_at_once, read_to_file])
@pytest.mark.parametrize("then", ["refused", "failing", "silent"])
def test_what_breaks_off_there_goes_on_with_a_new_address_or_through_the_server(
    server: LiveServer,
    proxy: StoreProxy,
    tmp_path: Path,
    then: str,
    read: Callable[[RinoFileSystem, Path], bytes],
) -> None:
    fs = filesystem(server, timeout=2)
    fs.pipe_file("f", CONTENT)
    assert fs.ls("", detail=False) == ["f"]
    asked = 0

    def fault(_method: str, path: str) -> StoreFault | None:
        nonlocal asked
        if "X-Amz-Signature" not in path:
            return None
        asked += 1
        if asked == 1:
            return StoreFault(cut_after=MIB)
        return FAULTS[then] if asked == 2 or then != "refused" else None

    proxy.fault = fault
    server.reset()
    assert read(fs, tmp_path) == CONTENT
    # Nothing is read twice, wherever the rest comes from.
    if then == "refused":
        assert (sent(server), asked) == (0, 3)
        assert sum(request.path.endswith("/direct/") for request in server.requests) == 2
    else:
        assert sent(server) == len(CONTENT) - MIB


def test_a_replaced_file_is_not_mixed(server: LiveServer) -> None:
    fs = filesystem(server)
    fs.pipe_file("f", CONTENT)
    with fs.open("f") as file:
        file.seek(MIB)
        first = file.read(1000)
        fs.pipe_file("f", CONTENT[::-1])
        forget_blocks()
        file.seek(2 * MIB)
        assert (first, file.read(1000)) == (CONTENT[MIB : MIB + 1000], CONTENT[2 * MIB : 2 * MIB + 1000])
    assert fs.cat_file("f") == CONTENT[::-1]


def test_no_secret_shows(
    server: LiveServer, proxy: StoreProxy, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    fs = filesystem(server)
    fs.pipe_file("f", CONTENT)
    with fs.open("f") as file:
        file.read()
        shown = [repr(file), repr(file._source), str(pickle.dumps(file)), repr(fs), str(pickle.dumps(fs))]
        content = file._source.whole()[1]
        shown.append(repr(content))
    proxy.fault = lambda _method, path: StoreFault(status=403) if "X-Amz-Signature" in path else None
    try:
        fs.cat_file("f", 0, MIB)
    except OSError as error:
        shown.append(f"{error!r} {error} {error.__cause__!r} {error.__context__!r}")
    shown.append(caplog.text)
    signatures = {path.partition("X-Amz-Signature=")[2][:64] for path in signed(proxy)}
    assert signatures
    for secret in (SECRET, *signatures):
        assert [text for text in shown if secret in text] == []
    assert [path for _, path in proxy.seen if server.token in path] == []
