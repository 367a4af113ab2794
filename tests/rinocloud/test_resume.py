"""`get` from Python: downloads that continue, names that change, errors file by file."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

import pytest
from fsspec.callbacks import Callback

from rinofs.errors import NotFoundError
from rinofs.fs.transfer.download import PART_PREFIX, PART_SUFFIX
from rinofs.fs.transfer.resume import _digest, kept_size, kept_sizes
from rinofs.testing import Fault
from tests.breaking import CONTENT, SIZE, Broken, downloaded, parts

if TYPE_CHECKING:
    from pathlib import Path

    from rinofs import RinoFileSystem
    from rinofs.testing import LiveServer

KEPT = 9_000_000


@pytest.fixture(params=["get", "get_file"])
def get(request: pytest.FixtureRequest, fs: RinoFileSystem) -> Any:
    return getattr(fs, request.param)


@pytest.fixture
def target(fs: RinoFileSystem, server: LiveServer, get: Any, tmp_path: Path) -> Path:
    """Where a download broke off after some megabytes."""
    fs.pipe_file("exp/big", CONTENT[:SIZE])
    server.faults = Broken(KEPT)
    path = tmp_path / "big"
    with pytest.raises(NotFoundError) as caught:
        get("exp/big", str(path), resume=True)
    assert "are kept" in caught.value.__notes__[0]
    assert not path.exists()
    [part] = parts(tmp_path)
    assert 0 < part.stat().st_size <= KEPT
    server.reset()
    return path


def test_it_continues_where_it_broke_off(get: Any, server: LiveServer, target: Path) -> None:
    kept = parts(target.parent)[0].stat().st_size
    get("exp/big", str(target), resume=True)
    assert target.read_bytes() == CONTENT[:SIZE]
    assert parts(target.parent) == []
    assert downloaded(server) < SIZE - kept + 100_000


def test_another_version_starts_over(get: Any, fs: RinoFileSystem, server: LiveServer, target: Path) -> None:
    fs.pipe_file("exp/big", CONTENT[1 : SIZE + 1])
    server.reset()
    get("exp/big", str(target), resume=True)
    assert target.read_bytes() == CONTENT[1 : SIZE + 1]
    assert parts(target.parent) == []
    assert downloaded(server) == SIZE


class AtFirstBytes(Callback):  # type: ignore[misc]
    """Does something when the first bytes of a file have arrived."""

    def __init__(self, then: Any) -> None:
        super().__init__()
        self._then = then

    def branched(self, path_1: str, path_2: str, **kwargs: Any) -> Callback:
        return self

    def relative_update(self, inc: int = 1) -> None:
        then, self._then = self._then, None
        if then:
            then()


def test_two_versions_are_not_mixed_if_one_is_replaced_while_it_continues(
    get: Any, server: LiveServer, target: Path, api: Any
) -> None:
    other = CONTENT[1 : SIZE + 1]
    cuts = iter([Fault(cut_after=500_000)])
    server.faults = lambda _, path: next(cuts, None) if path.endswith("/download/") else None
    get("exp/big", str(target), resume=True, callback=AtFirstBytes(lambda: api.upload("exp/big", other)))
    assert target.read_bytes() in {CONTENT[:SIZE], other}  # a version can be read on by its id
    assert parts(target.parent) == []


def test_a_download_of_another_version_leaves_one_that_is_under_way_alone(
    get: Any, options: dict[str, Any], fs: RinoFileSystem, tmp_path: Path
) -> None:
    from rinofs import RinoFileSystem

    target = tmp_path / "big"
    target.write_bytes(b"an old local file")
    fs.pipe_file("exp/big", CONTENT[:SIZE])
    other = RinoFileSystem(**options, skip_instance_cache=True)

    def fail() -> None:
        raise RuntimeError("interrupted")

    def overtake() -> None:
        other.pipe_file("exp/big", CONTENT[1 : SIZE + 1])
        with pytest.raises(RuntimeError, match="interrupted"):
            other.get_file("exp/big", str(target), resume=True, callback=AtFirstBytes(fail))

    get("exp/big", str(target), resume=True, callback=AtFirstBytes(overtake))
    assert target.read_bytes() == CONTENT[:SIZE]
    other.get_file("exp/big", str(target), resume=True)
    assert target.read_bytes() == CONTENT[1 : SIZE + 1]
    assert parts(tmp_path) == []


@pytest.mark.parametrize("old", [None, b"an old local file", CONTENT[1 : SIZE + 1]])
def test_a_part_that_is_deleted_meanwhile_is_downloaded_again(
    get: Any, fs: RinoFileSystem, tmp_path: Path, old: bytes | None
) -> None:
    target = tmp_path / "big"
    if old is not None:
        target.write_bytes(old)
    fs.pipe_file("exp/big", CONTENT[:SIZE])
    get("exp/big", str(target), resume=True, callback=AtFirstBytes(lambda: parts(tmp_path)[0].unlink()))
    assert target.read_bytes() == CONTENT[:SIZE]
    assert parts(tmp_path) == []


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_a_part_that_leads_to_another_file_is_not_written_to(
    get: Any, fs: RinoFileSystem, server: LiveServer, tmp_path: Path, link: Any
) -> None:
    folder, victim = tmp_path / "shared", tmp_path / "victim"
    folder.mkdir()
    target = folder / "big"
    fs.pipe_file("exp/big", CONTENT[:SIZE])
    server.faults = Broken(KEPT)
    with pytest.raises(NotFoundError):
        get("exp/big", str(target), resume=True)
    server.reset()
    [part] = parts(folder)  # this is its name
    part.unlink()
    victim.write_bytes(b"nothing to do with it")
    link(victim, part)
    get("exp/big", str(target), resume=True)
    assert victim.read_bytes() == b"nothing to do with it"
    assert target.read_bytes() == CONTENT[:SIZE]
    assert not target.is_symlink()
    assert not target.samefile(victim)


def test_a_damaged_part_is_noticed(get: Any, target: Path) -> None:
    [part] = parts(target.parent)
    with part.open("r+b") as file:
        file.seek(1234)
        file.write(b"!")
    seen = Callback()
    get("exp/big", str(target), resume=True, callback=seen)
    assert target.read_bytes() == CONTENT[:SIZE]
    assert parts(target.parent) == []


def test_a_part_that_is_whole_needs_no_download(get: Any, server: LiveServer, target: Path) -> None:
    [part] = parts(target.parent)
    part.write_bytes(CONTENT[: SIZE + 5])
    get("exp/big", str(target), resume=True)
    assert target.read_bytes() == CONTENT[:SIZE]
    assert downloaded(server) == 0


def test_a_part_that_another_process_completes_is_not_counted(tmp_path: Path) -> None:
    target = tmp_path / "big"
    part = f"{PART_PREFIX}{_digest(target.name)}-{_digest('etag')}{PART_SUFFIX}"
    (tmp_path / part).symlink_to("renamed")  # listed, and not there
    assert kept_size(target) == 0
    assert kept_sizes({str(target): SIZE}) == {}


def test_without_resume_nothing_is_kept_and_nothing_used(get: Any, server: LiveServer, target: Path) -> None:
    before = parts(target.parent)
    server.faults = Broken(KEPT)
    with pytest.raises(NotFoundError):
        get("exp/big", str(target))
    assert parts(target.parent) == before
    server.reset()
    get("exp/big", str(target))
    assert downloaded(server) == SIZE


def test_progress_continues_with_what_is_kept(fs: RinoFileSystem, tmp_path: Path, server: LiveServer) -> None:
    fs.pipe_file("exp/big", CONTENT[:SIZE])
    server.faults = Broken(KEPT)
    with pytest.raises(NotFoundError):
        fs.get_file("exp/big", tmp_path / "big", resume=True)
    kept = parts(tmp_path)[0].stat().st_size
    server.reset()
    seen: list[int] = []
    hook = Callback(hooks={"first": lambda _, value: seen.append(value)})
    fs.get_file("exp/big", tmp_path / "big", resume=True, callback=hook)
    assert next(value for value in seen if value) == kept
    assert hook.value == hook.size == SIZE


def test_several_connections_leave_what_can_be_continued(
    options: dict[str, Any], server: LiveServer, tmp_path: Path
) -> None:
    from rinofs import RinoFileSystem

    fs = RinoFileSystem(**options, parallel_ranges=3, skip_instance_cache=True)
    content = CONTENT * 7  # parts are large
    fs.pipe_file("exp/huge", content)
    server.reset()
    begun = threading.Event()

    def stall(_: str, path: str) -> Fault | None:
        if not path.endswith("/download/"):
            return None
        if begun.is_set():
            return Fault(status=404, body=b'{"error": "gone for now"}')
        begun.set()
        return None

    server.faults = stall
    try:
        fs.get_file("exp/huge", tmp_path / "huge", resume=True)
    except NotFoundError:  # where the server brings parts of a version
        [part] = parts(tmp_path)
        assert part.read_bytes() == content[: part.stat().st_size]
    server.reset()
    fs.get_file("exp/huge", tmp_path / "huge", resume=True)
    assert (tmp_path / "huge").read_bytes() == content
    assert parts(tmp_path) == []


def test_names_that_this_machine_cannot_hold_are_changed(fs: RinoFileSystem, tmp_path: Path) -> None:
    long = "ü" * 200
    fs.pipe({f"exp/{long}/a.csv": b"1", "exp/b.csv": b"2"})
    with pytest.warns(UserWarning, match="some names are not valid on this system"):
        fs.get("exp", str(tmp_path / "got"), recursive=True)
    assert (tmp_path / "got" / "b.csv").read_bytes() == b"2"
    [other] = [path for path in (tmp_path / "got").iterdir() if path.is_dir()]
    assert other.name.startswith("ü")
    assert (other / "a.csv").read_bytes() == b"1"


@pytest.mark.parametrize("count", [3, 30])
def test_one_file_that_fails_does_not_lose_the_others(fs: RinoFileSystem, tmp_path: Path, count: int) -> None:
    fs.pipe({f"exp/{number}": b"%d" % number for number in range(count)})
    sources = [f"exp/{number}" for number in range(count)]
    targets = [str(tmp_path / str(number)) for number in range(count)]
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "in the way").touch()
    errors = fs.get([*sources, "exp/gone"], [*targets, str(tmp_path / "gone")], on_error="return")
    assert errors is not None
    assert set(errors) == {"exp/1", "exp/gone"}
    assert isinstance(errors["exp/gone"], FileNotFoundError)
    found = {path.name for path in tmp_path.iterdir() if path.is_file()}
    assert found == {str(number) for number in range(count)} - {"1"}
    assert fs.get([*sources, "exp/gone"], [*targets, str(tmp_path / "gone")], on_error="omit") is None
    with pytest.raises(OSError, match=r"gone|folder"):
        fs.get([*sources, "exp/gone"], [*targets, str(tmp_path / "gone")])


@pytest.mark.parametrize("count", [3, 30])
def test_uploads_and_copies_go_on_after_errors_too(fs: RinoFileSystem, tmp_path: Path, count: int) -> None:
    for number in range(count):
        (tmp_path / str(number)).write_text(str(number))
    fs.pipe_file("file", b"1")
    sources = [str(tmp_path / str(number)) for number in range(count)]
    targets = [f"up/{number}" if number != 1 else "file/below" for number in range(count)]
    errors = fs.put([*sources, str(tmp_path / "gone")], [*targets, "up/gone"], on_error="return")
    assert set(errors or ()) == {sources[1], str(tmp_path / "gone")}
    assert sorted(fs.find("up")) == sorted(f"up/{number}" for number in range(count) if number != 1)
    told: dict[str, Exception] = {}
    fs.copy(["up/0", "up/gone", "up/2"], ["down/0", "down/gone", "down/2"], on_error=told.__setitem__)
    assert set(told) == {"up/gone"}
    assert fs.find("down") == ["down/0", "down/2"]
