"""Write labelled arrays as datapacks: to a local or remote folder, or to the service."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import secrets
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from rinofs.datapack.authoring.planning import plan
from rinofs.datapack.document.model import dump
from rinofs.datapack.document.naming import DOCUMENT_NAME, name_of_part
from rinofs.errors import InvalidOptionError, InvalidPathError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import BinaryIO, TypeAlias

    import xarray as xr
    from fsspec import AbstractFileSystem

    from rinofs.datapack.authoring.planning import PlannedDatapack

    Content: TypeAlias = bytes | str | os.PathLike[str]


def write(
    source: xr.DataTree | xr.Dataset | xr.DataArray,
    target: str | os.PathLike[str],
    format: str | Mapping[str, str] = "json",  # noqa: A002 - the word that xarray and pandas have for it
    *,
    files: Mapping[str, Content] | None = None,
    storage_options: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> str:
    """Write labelled arrays as a datapack.

    Groups become containers. Each variable over ``time`` and ``channel`` becomes a data node with a file and
    a datatype; a group with a single variable becomes that node. A dataset over ``event`` becomes one node.
    Data that was read with ``engine="datapack"`` is written unchanged. Other arrays need an evenly spaced
    ``time`` in seconds, or no ``time`` but the attribute ``sampling_rate`` in Hz. One further dimension is
    used as the channels.

    Writes everything or, after an error, nothing.

    Parameters
    ----------
    source : xarray.DataTree, Dataset or DataArray
        Contents. The attributes ``name``, ``text`` and ``id`` of datasets are stored in nodes; ``author``,
        ``description`` and ``keywords`` of the root are stored in the datapack's ``info``.
    target : str or path
        ``repovizz://NAME``, a local folder, or the URL of a folder.
    format : str or mapping
        ``json``, ``csv``, ``wav`` or ``npy``; or formats by path, where the longest matching path applies and
        an empty one is the default (``{"": "json", "voice": "wav"}``). Events are always JSON or CSV.
    files : mapping of str to bytes, str or path, optional
        Additional files by path in the datapack: contents, or local paths.
    storage_options : mapping, optional
        Options of the target's filesystem.
    overwrite : bool, optional
        Whether to replace an existing folder or datapack, after everything was written.

    Returns
    -------
    str
        URL to open it again: ``xr.open_datatree(write(...), engine="datapack")``.

    Raises
    ------
    InvalidDatapackError
        If a variable cannot be stored in a datapack; the message names it. Nothing is written.
    InvalidOptionError
        If a format cannot represent a variable.
    FileExistsError
        If the target exists.
    """
    fs, path = resolve_target(target, storage_options, overwrite=overwrite)
    part = path.rpartition("/")[2]
    name = name_of_part(part) if _is_service(fs) else _name(source) or part
    contents = {where: _copier(content) for where, content in (files or {}).items()}
    return write_plan(plan(source, format, name, contents), fs, path, overwrite=overwrite)


def resolve_target(
    target: str | os.PathLike[str], storage_options: Mapping[str, Any] | None, *, overwrite: bool
) -> tuple[AbstractFileSystem, str]:
    """Return the filesystem and path to write a datapack to.

    Raises
    ------
    InvalidPathError
        If the target is not allowed.
    FileExistsError
        If the target exists and must not be replaced.
    """
    fs, path = fsspec.url_to_fs(os.fspath(target), **(storage_options or {}))
    path = path.rstrip("/")
    part = path.rpartition("/")[2]
    if not part or (_is_service(fs) and part != path):
        wanted = "repovizz://NAME" if _is_service(fs) else "a folder with a name"
        raise InvalidPathError(f"{os.fspath(target)!r} cannot be a datapack: write to {wanted}")
    if not overwrite and fs.exists(path):
        raise FileExistsError(errno.EEXIST, "already exists", os.fspath(target))
    return fs, path


def _is_service(fs: AbstractFileSystem) -> bool:
    return "repovizz" in ((fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol)


def write_plan(planned: PlannedDatapack, fs: AbstractFileSystem, path: str, *, overwrite: bool) -> str:
    """Write a planned datapack, all or nothing; returns its URL."""
    if _is_service(fs):
        _write_to_service(planned, fs, path, overwrite=overwrite)
        return str(fs.unstrip_protocol(path))
    if isinstance(fs, LocalFileSystem):
        _write_here(planned, Path(path), overwrite=overwrite)
        return f"{path}/{DOCUMENT_NAME}"
    _write_to_folder(planned, fs, path, overwrite=overwrite)
    return f"{fs.unstrip_protocol(path)}/{DOCUMENT_NAME}"


def _name(source: object) -> str:
    # The name of a dataset is that of a node; the name of a tree is the datapack's.
    name = source.attrs.get("name") if hasattr(source, "children") and hasattr(source, "attrs") else None
    return name if isinstance(name, str) else ""


def _copier(content: Content) -> Callable[[BinaryIO], None]:
    if isinstance(content, (bytes, bytearray, memoryview)):
        return functools.partial(_write_bytes, content)
    if not isinstance(content, (str, os.PathLike)):
        raise InvalidOptionError(f"files: bytes, a path or a URL, not {type(content).__name__}")
    fs, path = fsspec.url_to_fs(os.fspath(content))
    if not fs.isfile(path):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), os.fspath(content))
    return functools.partial(_copy, fs, path)


def _write_bytes(content: bytes, file: BinaryIO) -> None:
    file.write(content)


def _copy(fs: AbstractFileSystem, path: str, file: BinaryIO) -> None:
    with fs.open(path, "rb") as opened:
        shutil.copyfileobj(opened, file, 1 << 20)


def _build(planned: PlannedDatapack, folder: Path) -> None:
    for file in planned.files:
        place = folder / file.link
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("xb") as opened:
            file.write(opened)
    (folder / DOCUMENT_NAME).write_text(dump(planned.document, indent=2) + "\n", "utf-8", newline="")


def _write_here(planned: PlannedDatapack, target: Path, *, overwrite: bool) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    # Beside the target, so that it can be renamed.
    staging = target.parent / f".{target.name}.{secrets.token_hex(4)}.part"
    staging.mkdir()
    try:
        _build(planned, staging)
        with _moved_aside(target, overwrite=overwrite):
            staging.rename(target)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


@contextlib.contextmanager
def _moved_aside(target: Path, *, overwrite: bool) -> Iterator[None]:
    """Move an existing target away, and restore it on failure."""
    if not overwrite or not target.exists():
        if target.exists():
            raise FileExistsError(errno.EEXIST, "already exists", str(target))
        yield
        return
    aside = target.parent / f".{target.name}.{secrets.token_hex(4)}.old"
    target.rename(aside)
    try:
        yield
    except BaseException:
        aside.rename(target)
        raise
    if aside.is_dir():
        shutil.rmtree(aside)
    else:
        aside.unlink()


def _write_to_service(
    planned: PlannedDatapack, fs: AbstractFileSystem, path: str, *, overwrite: bool
) -> None:
    with tempfile.TemporaryDirectory(prefix="rinofs-") as folder:
        _build(planned, Path(folder))
        replacing = overwrite and fs.exists(path)
        place = f"{path}.{secrets.token_hex(4)}.part" if replacing else path
        fs.push(f"{folder}/{DOCUMENT_NAME}", place, resume=False)
    if replacing:
        _put_in_place(fs, place, path)


def _write_to_folder(planned: PlannedDatapack, fs: AbstractFileSystem, path: str, *, overwrite: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="rinofs-") as folder:
        _build(planned, Path(folder))
        replacing = overwrite and fs.exists(path)
        place = f"{path}.{secrets.token_hex(4)}.part" if replacing else path
        links = [file.link for file in planned.files]
        try:
            for parent in sorted({f"{place}/{link}".rpartition("/")[0] for link in links} | {place}):
                fs.makedirs(parent, exist_ok=True)
            if links:
                fs.put([f"{folder}/{link}" for link in links], [f"{place}/{link}" for link in links])
            # Last, since a folder without a document is not a datapack.
            fs.put_file(f"{folder}/{DOCUMENT_NAME}", f"{place}/{DOCUMENT_NAME}")
        except BaseException as error:
            _take_back(fs, place, error)
            raise
    if replacing:
        _put_in_place(fs, place, path)


def _take_back(fs: AbstractFileSystem, path: str, error: BaseException) -> None:
    try:
        if fs.exists(path):
            fs.rm(path, recursive=True)
    except Exception as problem:  # noqa: BLE001 - the first error is the one to be raised
        error.add_note(f"a part of the datapack is left at {fs.unstrip_protocol(path)}: {problem}")


def _put_in_place(fs: AbstractFileSystem, staging: str, target: str) -> None:
    try:
        fs.rm(target, recursive=True)
        fs.mv(staging, target, recursive=True)
    except BaseException as error:
        error.add_note(f"the new datapack is complete, at {fs.unstrip_protocol(staging)}")
        raise
