"""What is on this machine beside regular files, and files that change while they are sent."""

from __future__ import annotations

import os
import socket
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fsspec
import pytest
from fsspec.callbacks import Callback

from rinofs.errors import ContentChangedError
from rinofs.testing import live_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rinofs.testing import LiveServer


@pytest.fixture(scope="module", params=[True, False], ids=["extended", "plain"])
def server(request: pytest.FixtureRequest) -> Iterator[LiveServer]:
    with live_server(extensions=request.param) as running:
        yield running


@pytest.fixture(params=["rino", "repovizz"])
def fs(request: pytest.FixtureRequest, server: LiveServer) -> Any:
    return fsspec.filesystem(request.param, endpoint_url=server.endpoint_url, token=server.token)


def pack(request: pytest.FixtureRequest) -> str:
    return "".join(each if each.isalnum() else "-" for each in request.node.name)


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's path may have 100 bytes
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def make_link_to_folder(path: Path) -> None:
    elsewhere = path.parent.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "data.csv").write_bytes(b"1")
    path.symlink_to(elsewhere)


def make_link_to_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def make_link_to_proc(path: Path) -> None:
    path.symlink_to("/proc/self/status")


def make_broken_link(path: Path) -> None:
    path.symlink_to("nowhere")


KINDS = [
    make_fifo,
    make_socket,
    make_link_to_folder,
    make_link_to_device,
    make_link_to_proc,
    make_broken_link,
]


@pytest.mark.covering(2)
@pytest.mark.parametrize("many", [False, True], ids=["alone", "among many"])
@pytest.mark.parametrize("make", KINDS)
def test_what_is_no_regular_file_is_an_error_that_names_it(
    fs: Any, make: Callable[[Path], None], many: bool, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    name = pack(request)
    folder = tmp_path / "exp"
    folder.mkdir()
    for number in range(12 if many else 1):
        (folder / f"{number}.csv").write_bytes(b"content")
    make(folder / "raw")
    with pytest.raises(OSError, match="raw"):
        fs.put(f"{folder}/", name, recursive=True)
    errors = fs.put(f"{folder}/", name, recursive=True, on_error="return")
    assert [Path(path).name for path in errors] == ["raw"]
    assert sorted(fs.find(name)) == sorted(f"{name}/{path.name}" for path in folder.glob("*.csv"))
    assert not fs.exists(f"{name}/raw")


def test_links_to_files_and_a_link_that_is_named_are_followed(
    fs: Any, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    name = pack(request)
    folder = tmp_path / "exp"
    (folder / "empty").mkdir(parents=True)
    (folder / "a.csv").write_bytes(b"1")
    (folder / "b.csv").symlink_to("a.csv")
    (tmp_path / "named").symlink_to(folder)
    fs.put(f"{tmp_path}/named/", name, recursive=True)
    assert {path: fs.cat_file(path) for path in fs.find(name)} == {
        f"{name}/a.csv": b"1",
        f"{name}/b.csv": b"1",
    }
    assert fs.isdir(f"{name}/empty")


class Changing(Callback):
    """Changes a file once its first bytes were read."""

    def __init__(self, change: Callable[[], object]) -> None:
        super().__init__()
        self._change: Callable[[], object] | None = change

    def relative_update(self, inc: int = 1) -> None:
        change, self._change = self._change, None
        if change is not None:
            change()


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def shrink(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def rewrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"x")
    about = path.stat()
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns + 10**9))  # clocks of files are coarse


@pytest.mark.covering(2)
@pytest.mark.parametrize("in_transaction", [False, True])
@pytest.mark.parametrize("change", [grow, shrink, rewrite])
def test_a_file_that_changes_while_it_is_sent_is_not_stored(
    fs: Any,
    change: Callable[[Path], None],
    in_transaction: bool,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    path = f"{pack(request)}/a.bin"
    fs.pipe_file(path, b"before")
    local = tmp_path / "local.bin"
    local.write_bytes(bytes(3_000_000))

    whole = fs.transaction if in_transaction else nullcontext()
    with pytest.raises(ContentChangedError, match=r"changed.*local\.bin"), whole:
        fs.put_file(str(local), path, callback=Changing(lambda: change(local)))
    assert fs.cat_file(path) == b"before"
    assert fs.find(path.rpartition("/")[0]) == [path]
    fs.put_file(str(local), path)
    assert fs.cat_file(path) == local.read_bytes()


def test_a_file_that_takes_the_place_of_another_one_is_no_change(
    fs: Any, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    path = f"{pack(request)}/a.bin"
    local, other = tmp_path / "local.bin", tmp_path / "other.bin"
    local.write_bytes(bytes(3_000_000))
    other.write_bytes(b"other")
    fs.put_file(str(local), path, callback=Changing(lambda: local.unlink()))
    assert fs.cat_file(path) == bytes(3_000_000)
