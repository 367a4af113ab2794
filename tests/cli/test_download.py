"""`get` of large files: continued where it broke off, checked, never half there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import fsspec
import pytest
from blake3 import blake3

from rinofs.testing import live_server
from tests.breaking import CONTENT, SIZE, Broken, breaking, downloaded, parts
from tests.cli.conftest import point_to

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rinofs.testing import LiveServer
    from tests.cli.conftest import Run


@pytest.fixture(params=[True, False], ids=["extensions", "plain"])
def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[LiveServer]:
    with live_server(extensions=request.param) as running:
        point_to(running, monkeypatch)
        yield running


@pytest.fixture
def fs(server: LiveServer) -> Any:
    return fsspec.filesystem("rino", endpoint_url=server.endpoint_url, token=server.token)


@pytest.fixture
def broken_off(run: Run, server: LiveServer, fs: Any, tmp_path: Path) -> Path:
    """The folder of a download that broke off after 9 MB."""
    fs.pipe_file("exp/big", CONTENT[:SIZE])
    folder = tmp_path / "there"
    folder.mkdir()
    server.faults = Broken(9_000_000)
    result = run("get", "rino://exp/big", folder)
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "are kept: the same command continues there" in result.stderr
    assert not (folder / "big").exists()
    [part] = parts(folder)
    assert 0 < part.stat().st_size <= 9_000_000
    assert part.read_bytes() == CONTENT[: part.stat().st_size]
    server.reset()
    return folder


def test_a_download_continues_where_it_broke_off(run: Run, server: LiveServer, broken_off: Path) -> None:
    kept = parts(broken_off)[0].stat().st_size
    assert run("get", "rino://exp/big", broken_off).exit_code == 0
    assert (broken_off / "big").read_bytes() == CONTENT[:SIZE]
    assert parts(broken_off) == []
    assert downloaded(server) < SIZE - kept + 100_000


def test_a_download_of_another_version_starts_over(
    run: Run, server: LiveServer, broken_off: Path, fs: Any
) -> None:
    other = CONTENT[1 : SIZE + 1]
    fs.pipe_file("exp/big", other)
    server.reset()
    fs.invalidate_cache()
    assert run("get", "rino://exp/big", broken_off).exit_code == 0
    assert (broken_off / "big").read_bytes() == other
    assert parts(broken_off) == []
    assert downloaded(server) == SIZE


def test_what_was_kept_is_checked(run: Run, server: LiveServer, broken_off: Path) -> None:
    [part] = parts(broken_off)
    with part.open("r+b") as file:
        file.seek(1234)
        file.write(b"!")
    assert run("get", "rino://exp/big", broken_off).exit_code == 0
    assert (broken_off / "big").read_bytes() == CONTENT[:SIZE]
    assert parts(broken_off) == []


def test_a_part_that_is_whole_needs_no_download(run: Run, server: LiveServer, broken_off: Path) -> None:
    [part] = parts(broken_off)
    part.write_bytes(CONTENT[: SIZE + 5])
    assert run("get", "rino://exp/big", broken_off).exit_code == 0
    assert (broken_off / "big").read_bytes() == CONTENT[:SIZE]
    assert downloaded(server) == 0


def test_without_resume_nothing_is_kept_and_nothing_used(
    run: Run, server: LiveServer, broken_off: Path
) -> None:
    server.faults = Broken(9_000_000)
    before = parts(broken_off)
    assert run("get", "--no-resume", "rino://exp/big", broken_off).exit_code == 1
    assert parts(broken_off) == before
    server.reset()
    assert run("get", "--no-resume", "rino://exp/big", broken_off).exit_code == 0
    assert (broken_off / "big").read_bytes() == CONTENT[:SIZE]
    assert downloaded(server) == SIZE


def test_a_connection_that_breaks_is_mended_within_the_download(
    run: Run, server: LiveServer, fs: Any, tmp_path: Path
) -> None:
    fs.pipe_file("exp/big", CONTENT[:SIZE])
    server.faults = breaking(5_000_000)
    assert run("get", "rino://exp/big", tmp_path).exit_code == 0
    assert (tmp_path / "big").read_bytes() == CONTENT[:SIZE]


def test_two_at_once_do_not_spoil_each_other(start: Any, server: LiveServer, fs: Any, tmp_path: Path) -> None:
    fs.pipe_file("exp/big", CONTENT[:SIZE])
    both = [start("get", "rino://exp/big", tmp_path) for _ in range(2)]
    for process in both:
        _, errors = process.communicate(timeout=120)
        assert (process.returncode, errors) == (0, b"")
    assert (tmp_path / "big").read_bytes() == CONTENT[:SIZE]
    assert parts(tmp_path) == []


def test_small_files_are_not_kept(run: Run, server: LiveServer, fs: Any, tmp_path: Path) -> None:
    fs.pipe_file("exp/small", CONTENT[:1_000_000])
    server.faults = Broken(500_000)
    assert run("get", "rino://exp/small", tmp_path).exit_code == 1
    assert list(tmp_path.iterdir()) == []


def test_a_content_that_is_not_what_its_digest_says_is_not_stored(
    run: Run, server: LiveServer, fs: Any, tmp_path: Path
) -> None:
    fs.pipe_file("exp/big", CONTENT[:SIZE])
    digest = blake3(CONTENT[:SIZE]).hexdigest()
    [blob] = [path for path in server.data_dir.rglob("*") if path.is_file() and path.stat().st_size == SIZE]
    assert blob.name == digest
    with blob.open("r+b") as file:
        file.seek(SIZE // 2)
        file.write(b"rot")
    (tmp_path / "big").write_text("old")
    result = run("get", "rino://exp/big", tmp_path)
    assert result.exit_code == 1
    assert (tmp_path / "big").read_text() == "old"
    assert parts(tmp_path) == []


@pytest.mark.parametrize("changed", [False, True], ids=["continued", "started over"])
def test_the_bar_begins_where_the_download_continues(
    run: Run, server: LiveServer, broken_off: Path, fs: Any, monkeypatch: pytest.MonkeyPatch, changed: bool
) -> None:
    if changed:
        fs.pipe_file("exp/big", CONTENT[1 : SIZE + 1])
    monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda _: True, raising=False)
    result = run("get", "rino://exp/big", broken_off)
    assert result.exit_code == 0
    shown = [int(percent) for percent in re.findall(r"copying: +([0-9]+)%", result.stderr)]
    assert shown[-1] == 100
    if not changed:
        assert shown[0] > 50
