"""Read the files of an untrusted pack (zip or folder); names and sizes are checked."""

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
"""Maximum compression ratio of a zip, for sizes above a minimum that is always allowed."""

GRANTED = 256 * 1024**2


class PackFiles:
    """The files of a pack by path.

    Parameters
    ----------
    label : str
        Name of the pack for messages.
    files : dict
        Local paths by path in the pack.
    """

    def __init__(self, label: str, files: dict[str, Path]) -> None:
        self.label = label
        self.files = files
        self._by_name: dict[str, str] = {}
        for path in sorted(files, key=lambda each: (each.count("/"), each), reverse=True):
            self._by_name[posixpath.basename(path).lower()] = path

    def find(self, name: str, kind: str, beside: str) -> Path | None:
        """Return the file that a document refers to, None if it is missing.

        Tries the name as given, with the extension of its kind, and ignoring case; beside the document and
        then anywhere, since packs are flat.

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
    """Return the normalised path of a file in a pack.

    Raises
    ------
    InvalidDatapackError
        If it leads out of the pack.
    """
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or ".." in parts or "\0" in name or ":" in parts[0]:
        raise InvalidDatapackError(f"{label}: the name {name[:80]!r} points outside the pack")
    return "/".join(part for part in parts if part not in {"", "."})


@contextmanager
def unpacked(source: str) -> Iterator[PackFiles]:
    """Yield the files of a zip or a folder, given as local path or URL.

    Raises
    ------
    InvalidDatapackError
        If it is neither, or the zip expands to an implausible size.
    """
    fs, path = fsspec.url_to_fs(source)
    with tempfile.TemporaryDirectory(prefix="rinofs-") as staging:
        if fs.isdir(path):
            yield PackFiles(source, _of_folder(fs, path.rstrip("/"), source, Path(staging)))
            return
        if not isinstance(fs, LocalFileSystem):
            # zipfile seeks to the end first, and some web servers do not support ranges.
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
        elif Path(path).resolve().is_relative_to(home) and Path(path).is_file():  # no link out of the folder
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
                # Numbered, so that no name in the archive becomes a local path.
                found[inner] = staging / str(number)
                with archive.open(member) as packed, found[inner].open("xb") as target:
                    shutil.copyfileobj(packed, target, 1 << 20)
    except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        raise InvalidDatapackError(f"{label}: cannot read this zip file: {error}") from error
    return found


def _check(members: list[zipfile.ZipInfo], size: int, label: str) -> None:
    """Refuse a zip bomb; `zipfile` itself limits each member to its declared size."""
    total = sum(member.file_size for member in members)
    if len(members) > MOST_FILES or total > min(MOST_BYTES, GRANTED + MOST_RATIO * size):
        raise InvalidDatapackError(
            f"{label}: {total} bytes in {len(members)} files are too much for a zip file of {size} bytes"
        )
    # Overlapping members make a zip bomb with inconspicuous ratios
    # (https://www.bamsoftware.com/hacks/zipbomb/).
    if sum(member.compress_size for member in members) > size:
        raise InvalidDatapackError(f"{label}: files in this zip file overlap")
    if any(member.flag_bits & 1 for member in members):
        raise InvalidDatapackError(f"{label}: this zip file is encrypted")
