"""fsspec's caches on local disk, and that they notice when a file changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import fsspec
import pandas as pd
import pytest

from tests.ecosystem.modes import both_modes

if TYPE_CHECKING:
    from pathlib import Path

    from rinofs import RinoFileSystem
    from rinofs.testing import LiveServer

CHECKED = {
    "filecache": {"check_files": True, "expiry_time": 3_600},
    "blockcache": {"check_files": True, "expiry_time": 3_600},
}
FIRST = b"first " * 50_000
OTHER = b"other " * 50_000  # as long as the first, so that only its version tells


def _read(url: str, protocol: str, options: Any, folder: Path, **cache_options: Any) -> bytes:
    settings = {"cache_storage": str(folder), **cache_options}
    # Each read is that of a new program: nothing in memory says what the file was.
    caching = fsspec.filesystem(
        protocol, target_protocol="rino", target_options=options, skip_instance_cache=True, **settings
    )
    with caching.open(url, "rb") as file:
        return bytes(file.read())


def _downloads(server: LiveServer) -> int:
    return len([request for request in server.requests if "download" in request.path])


@both_modes
@pytest.mark.parametrize("protocol", CHECKED)
def test_what_is_unchanged_is_not_downloaded_again(
    protocol: str, fs: RinoFileSystem, options: Any, server: LiveServer, tmp_path: Path
) -> None:
    fs.pipe_file("exp #1/a [50%].bin", FIRST)
    assert _read("exp #1/a [50%].bin", protocol, options, tmp_path, **CHECKED[protocol]) == FIRST
    server.reset()
    assert _read("exp #1/a [50%].bin", protocol, options, tmp_path, **CHECKED[protocol]) == FIRST
    assert _downloads(server) == 0


@both_modes
@pytest.mark.parametrize("protocol", CHECKED)
def test_what_changed_is_read_anew(protocol: str, fs: RinoFileSystem, options: Any, tmp_path: Path) -> None:
    fs.pipe_file("a.bin", FIRST)
    assert _read("a.bin", protocol, options, tmp_path, **CHECKED[protocol]) == FIRST
    fs.pipe_file("a.bin", OTHER)
    assert _read("a.bin", protocol, options, tmp_path, **CHECKED[protocol]) == OTHER
    fs.rm("a.bin")
    fs.pipe_file("a.bin", FIRST)  # another object with the content of the first
    assert _read("a.bin", protocol, options, tmp_path, **CHECKED[protocol]) == FIRST


def test_a_change_by_someone_else_is_noticed(
    fs: RinoFileSystem, options: Any, server: LiveServer, tmp_path: Path
) -> None:
    import requests

    fs.pipe_file("a.bin", FIRST)
    assert _read("a.bin", "filecache", options, tmp_path, **CHECKED["filecache"]) == FIRST
    requests.post(
        f"{server.endpoint_url}/api/1/files/upload_multipart/",
        headers={"Authorization": f"Token {server.token}"},
        files={"json": (None, '{"name": "a.bin"}', "application/json"), "file": ("a.bin", OTHER)},
        timeout=30,
    ).raise_for_status()
    assert _read("a.bin", "filecache", options, tmp_path, **CHECKED["filecache"]) == OTHER


@both_modes
def test_metadata_do_not_invalidate_content(
    fs: RinoFileSystem, options: Any, server: LiveServer, tmp_path: Path
) -> None:
    fs.pipe_file("a.bin", FIRST)
    assert _read("a.bin", "filecache", options, tmp_path, **CHECKED["filecache"]) == FIRST
    fs.mv("a.bin", "b.bin")
    fs.mv("b.bin", "a.bin")
    server.reset()
    assert _read("a.bin", "filecache", options, tmp_path, **CHECKED["filecache"]) == FIRST
    assert _downloads(server) == 0


@both_modes
def test_simplecache_downloads_once(
    fs: RinoFileSystem, options: Any, server: LiveServer, tmp_path: Path
) -> None:
    fs.pipe_file("a.bin", FIRST)
    assert _read("a.bin", "simplecache", options, tmp_path) == FIRST
    server.reset()
    assert _read("a.bin", "simplecache", options, tmp_path) == FIRST
    assert server.requests == []


def test_simplecache_of_another_folder_has_the_new_content(
    fs: RinoFileSystem, options: Any, tmp_path: Path
) -> None:
    fs.pipe_file("a.bin", FIRST)
    assert _read("a.bin", "simplecache", options, tmp_path / "one") == FIRST
    fs.pipe_file("a.bin", OTHER)
    assert _read("a.bin", "simplecache", options, tmp_path / "other") == OTHER


@both_modes
def test_blockcache_downloads_the_blocks_that_are_read(
    fs: RinoFileSystem, options: Any, server: LiveServer, tmp_path: Path
) -> None:
    content = bytes(range(256)) * 4096 * 12  # 12 MiB
    fs.pipe_file("long.bin", content)
    caching = fsspec.filesystem(
        "blockcache", target_protocol="rino", target_options=options, cache_storage=str(tmp_path)
    )
    server.reset()
    with caching.open("long.bin", "rb", block_size=1024 * 1024) as file:
        file.seek(6_000_000)
        assert file.read(1_000) == content[6_000_000:6_001_000]
    assert sum(request.bytes_out for request in server.requests) < 3 * 1024 * 1024


@both_modes
@pytest.mark.parametrize("protocol", ["simplecache", "filecache", "blockcache"])
def test_chained_urls(protocol: str, fs: RinoFileSystem, options: Any, tmp_path: Path) -> None:
    fs.pipe_file("exp 1/a.csv", b"t,x\n1,2\n")
    storage_options = {"rino": options, protocol: {"cache_storage": str(tmp_path)}}
    table = pd.read_csv(f"{protocol}::rino://exp 1/a.csv", storage_options=storage_options)
    assert table.to_dict("list") == {"t": [1], "x": [2]}


@both_modes
@pytest.mark.parametrize("protocol", ["simplecache", "filecache"])
def test_writing_through_a_cache(protocol: str, fs: RinoFileSystem, options: Any, tmp_path: Path) -> None:
    storage_options = {"rino": options, protocol: {"cache_storage": str(tmp_path)}}
    with fsspec.open(f"{protocol}::rino://exp1/new.txt", "wb", **storage_options) as file:
        file.write(FIRST)
    assert fs.cat_file("exp1/new.txt") == FIRST
