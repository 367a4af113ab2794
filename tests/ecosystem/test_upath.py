"""universal_pathlib: paths as objects."""

from __future__ import annotations

import pickle
import stat
import warnings
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import pytest
from upath import UPath

from rinofs.fs.upath import RemotePath
from tests.ecosystem.modes import both_modes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rinofs import RinoFileSystem
    from rinofs.testing import LiveServer

NAMES = [
    "run 1.txt",
    "#2.txt",
    "50%.txt",
    "a%20b.txt",
    "[raw].txt",
    "what?.txt",
    "ünï.txt",
    ".hidden",
    "@@848",
]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        yield


@pytest.fixture
def root(options: Any) -> UPath:
    return UPath("rino://", **options)


@pytest.mark.parametrize("protocol", ["rino", "rinocloud"])
def test_a_url_makes_a_path_of_its_own_kind(protocol: str, options: Any) -> None:
    path = UPath(f"{protocol}://exp1/a.csv", **options)
    assert type(path) is RemotePath
    assert path.name == "a.csv"
    assert path.path == "exp1/a.csv"


@both_modes
@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_written_read_renamed_and_removed(name: str, root: UPath, fs: RinoFileSystem) -> None:
    path = root / "exp #1" / name
    path.write_text("héllo")
    assert fs.find("exp #1") == [f"exp #1/{name}"]
    assert str(path) == f"rino://exp #1/{name}"
    assert path.read_text() == "héllo"
    assert list(path.parent.iterdir()) == [path]
    moved = path.rename(path.with_name(f"moved {name}"))
    assert moved.read_bytes() == "héllo".encode()
    assert not path.exists()
    moved.unlink()
    assert list(path.parent.iterdir()) == []
    path.parent.rmdir()
    assert not path.parent.exists()


@both_modes
def test_folders_are_walked_and_matched(root: UPath, fs: RinoFileSystem) -> None:
    fs.pipe(dict.fromkeys(("exp 1/a.txt", "exp 1/sub/b.txt", "exp 1/sub/c.csv", "exp 2/d.txt"), b""))
    assert sorted(str(path) for path in root.glob("*/*.txt")) == ["rino://exp 1/a.txt", "rino://exp 2/d.txt"]
    assert [path.name for path in sorted((root / "exp 1").rglob("*.txt"), key=str)] == ["a.txt", "b.txt"]
    [below] = (root / "exp 1" / "sub").glob("*.csv")
    assert str(below.relative_to(root / "exp 1")) == "sub/c.csv"
    assert sorted(path.name for path in root.iterdir()) == ["exp 1", "exp 2"]
    walked = {str(folder): (sorted(folders), sorted(files)) for folder, folders, files in root.walk()}
    assert walked["rino://exp 1"] == (["sub"], ["a.txt"])


def test_paths_are_joined_and_taken_apart(root: UPath, options: Any) -> None:
    path = root.joinpath("exp 1", "sub", "a.tar.gz")
    assert path == UPath("rino://exp 1/sub/a.tar.gz", **options)
    assert (path.stem, path.suffix, path.suffixes) == ("a.tar", ".gz", [".tar", ".gz"])
    assert path.parent.parent == root / "exp 1"
    assert path.parent.parent.parent == root
    assert root.parent == root
    assert path.with_suffix(".zip").name == "a.tar.zip"
    assert root.is_dir()
    assert path.is_absolute()


def test_folders_are_made_and_refused_like_local_ones(root: UPath) -> None:
    folder = root / "a" / "b"
    with pytest.raises(FileNotFoundError):
        folder.mkdir()
    folder.mkdir(parents=True)
    with pytest.raises(FileExistsError):
        folder.mkdir()
    folder.mkdir(exist_ok=True)
    (folder / "x.txt").touch()
    assert (folder / "x.txt").read_bytes() == b""
    with pytest.raises(FileExistsError):
        (folder / "x.txt").open("xb")
    with pytest.raises(FileNotFoundError):
        (folder / "nothing").read_bytes()
    with pytest.raises(FileNotFoundError):
        (folder / "nothing").unlink()
    (folder / "nothing").unlink(missing_ok=True)
    assert folder.is_dir()
    assert (folder / "x.txt").is_file()


def test_stat_knows_size_kind_and_times(root: UPath, fs: RinoFileSystem) -> None:
    path = root / "exp1" / "a.bin"
    path.write_bytes(b"12345")
    result = path.stat()
    assert result.st_size == 5
    assert result.st_mtime == fs.modified("exp1/a.bin").timestamp() > 1_700_000_000
    assert stat.S_ISREG(result.st_mode)
    assert stat.S_ISDIR(path.parent.stat().st_mode)
    with pytest.raises(FileNotFoundError):
        (root / "nothing").stat()


@pytest.mark.parametrize("target", ["c/d", "./c/d", "rino://c/d", PurePosixPath("c/d")])
def test_a_relative_target_counts_from_the_top(target: Any, root: UPath, fs: RinoFileSystem) -> None:
    (root / "a" / "b").write_bytes(b"here")
    (root / "c").mkdir()
    moved = (root / "a" / "b").rename(target)
    assert str(moved) == "rino://c/d"
    assert moved.read_bytes() == b"here"
    assert fs.find("") == ["c/d"]


def test_files_are_copied_between_local_and_remote(root: UPath, tmp_path: Path) -> None:
    (tmp_path / "a #1.txt").write_bytes(b"local")
    UPath(tmp_path / "a #1.txt").copy(root / "a #1.txt")
    assert (root / "a #1.txt").read_bytes() == b"local"
    (root / "a #1.txt").copy(UPath(tmp_path / "b.txt"))
    assert (tmp_path / "b.txt").read_bytes() == b"local"


def test_a_pickled_path_leads_to_the_same_file(root: UPath) -> None:
    path = root / "exp 1" / "a.txt"
    path.write_text("here")
    again = pickle.loads(pickle.dumps(path))
    assert again == path
    assert again.read_text() == "here"


@pytest.mark.usefixtures("configured")
def test_a_configured_token_is_in_no_path(server: LiveServer) -> None:
    path = UPath("rino://exp 1/a.txt")
    path.write_text("here")
    assert server.token not in repr(path) + str(path) + path.as_uri()
    assert server.token.encode() not in pickle.dumps(path)
    assert pickle.loads(pickle.dumps(path)).read_text() == "here"


def test_a_refusal_is_not_absence(server: LiveServer) -> None:
    path = UPath("rino://exp1/a", endpoint_url=server.endpoint_url, token="rino_of-nobody-at-all")
    for ask in (path.exists, path.is_file, path.is_dir, path.stat):
        with pytest.raises(PermissionError):
            ask()
