"""Files of an untrusted pack, a zip file or folder: names and sizes are checked."""

from __future__ import annotations

import posixpath
import shutil
import tempfile
import zipfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import fsspec
from fsspec.implementations.local import LocalFileSystem

from rinofs.errors import InvalidDatapackError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from fsspec import AbstractFileSystem

MOST_FILES = 20_000
MOST_BYTES = 64 * 1024**3
MOST_RATIO = 200
"""How many bytes may come out of one byte of a zip, above the bytes that are always granted."""

GRANTED = 256 * 1024**2


class PackFiles:
    """Files by their paths in a pack.

    Parameters
    ----------
    label : str
        What the pack is called in messages.
    files : dict
        Where they are on this machine, by their paths in the pack.
    """

    def __init__(self, label: str, files: dict[str, Path]) -> None:
        self.label = label
        self.files = files
        self._by_name: dict[str, str] = {}
        for path in sorted(files, key=lambda each: (each.count("/"), each), reverse=True):
            self._by_name[posixpath.basename(path).lower()] = path

    def find(self, name: str, kind: str, beside: str) -> Path | None:
        """Return the file that a document names, None if it is not there.

        As given, then with the extension of its kind, then without regard to case; beside the document, or
        anywhere, since packs are flat.

        Raises
        ------
        InvalidDatapackError
            If the name leads out of the pack.
        """
        folder = posixpath.dirname(beside)
        wanted = [name, f"{name}.{kind.lower()}"] if kind else [name]
        for each in wanted:
            path = inner_path(posixpath.join(folder, each), self.label)
            if path in self.files:
                return self.files[path]
        for each in wanted:
            if found := self._by_name.get(posixpath.basename(each).lower()):
                return self.files[found]
        return None


def inner_path(name: str, label: str) -> str:
    """Return a path within a pack.

    Raises
    ------
    InvalidDatapackError
        If it leads out of it.
    """
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or ".." in parts or "\0" in name or ":" in parts[0]:
        raise InvalidDatapackError(f"{label}: the name {name[:80]!r} points outside the pack")
    return "/".join(part for part in parts if part not in {"", "."})


@contextmanager
def unpacked(source: str) -> Iterator[PackFiles]:
    """Lend the files of a zip or a folder, here or at a URL.

    Raises
    ------
    InvalidDatapackError
        If it is neither, or more comes out of the zip than a pack can have.
    """
    fs, path = fsspec.url_to_fs(source)
    with tempfile.TemporaryDirectory(prefix="rinofs-") as staging:
        if fs.isdir(path):
            yield PackFiles(source, _of_folder(fs, path.rstrip("/"), source, Path(staging)))
            return
        if not isinstance(fs, LocalFileSystem):
            # A zip is read from its end, which not every server on the web can be asked for.
            copy = str(Path(staging) / "pack.zip")
            fs.get_file(path, copy)
            fs, path = LocalFileSystem(), copy
        with fs.open(path, "rb") as file:
            if not zipfile.is_zipfile(file):
                raise InvalidDatapackError(f"{source}: not a folder or zip file")
            file.seek(0)
            yield PackFiles(source, _of_zip(file, source, Path(staging)))


def _of_folder(fs: AbstractFileSystem, root: str, label: str, staging: Path) -> dict[str, Path]:
    entries = fs.find(root, detail=True)
    if len(entries) > MOST_FILES:
        raise InvalidDatapackError(f"{label}: {len(entries)} files are too many for a pack")
    found: dict[str, Path] = {}
    local = isinstance(fs, LocalFileSystem)
    home = Path(root).resolve() if local else staging
    for number, path in enumerate(entries):
        inner = inner_path(path[len(root) :].lstrip("/"), label)
        if not local:
            found[inner] = staging / str(number)
            fs.get_file(path, str(found[inner]))
        elif Path(path).resolve().is_relative_to(home) and Path(path).is_file():  # no link leads out
            found[inner] = Path(path)
    return found


def _of_zip(file: BinaryIO, label: str, staging: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    try:
        with zipfile.ZipFile(file) as archive:
            members = [each for each in archive.infolist() if not each.is_dir()]
            _check(members, file.seek(0, 2), label)
            for number, member in enumerate(members):
                inner = inner_path(member.filename, label)
                if inner.startswith("__MACOSX/"):
                    continue
                # Under a number: no name of the archive becomes one of this machine.
                found[inner] = staging / str(number)
                with archive.open(member) as packed, found[inner].open("xb") as target:
                    shutil.copyfileobj(packed, target, 1 << 20)
    except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        raise InvalidDatapackError(f"{label}: cannot read this zip file: {error}") from error
    return found


def _check(members: list[zipfile.ZipInfo], size: int, label: str) -> None:
    """Refuse what would fill the disk; `zipfile` lets no member give more than it says."""
    total = sum(member.file_size for member in members)
    if len(members) > MOST_FILES or total > min(MOST_BYTES, GRANTED + MOST_RATIO * size):
        raise InvalidDatapackError(
            f"{label}: {total} bytes in {len(members)} files are too much for a zip file of {size} bytes"
        )
    # Members that share their bytes: a zip that is small, and whose ratios are not suspicious.
    if sum(member.compress_size for member in members) > size:
        raise InvalidDatapackError(f"{label}: files in this zip file overlap")
    if any(member.flag_bits & 1 for member in members):
        raise InvalidDatapackError(f"{label}: this zip file is encrypted")
