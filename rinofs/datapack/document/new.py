"""Create a document for a folder of files."""

from __future__ import annotations

import errno
import mimetypes
from typing import TYPE_CHECKING, Any

from rinofs.datapack.document.model import Container, DataNode, Document, Node
from rinofs.datapack.document.naming import DOCUMENT_NAME
from rinofs.errors import InvalidPathError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fsspec import AbstractFileSystem


def new_document(
    fs: AbstractFileSystem,
    folder: str,
    *,
    name: str | None = None,
    author: str = "",
    description: str = "",
    keywords: Iterable[str] = (),
    leave_out: Iterable[str] = (DOCUMENT_NAME,),
) -> Document:
    """Return a document for the files in a folder.

    Subfolders become containers and files become data nodes with the same names, sorted by name; links are
    paths relative to the folder. Hidden files and folders are left out, as are symbolic links to anything but
    files.

    Parameters
    ----------
    fs : AbstractFileSystem
        Filesystem of the folder.
    folder : str
        Path of the folder.
    name : str, optional
        Name of the datapack; by default that of the folder.
    author, description : str, optional
        Author and description for the document.
    keywords : iterable of str, optional
        Keywords for searches.
    leave_out : iterable of str, optional
        Names to leave out at the top level of the folder; by default that of the document.

    Raises
    ------
    NotADirectoryError, FileNotFoundError
        If it is not a folder.
    InvalidPathError
        If a file name cannot be stored in a document.
    """
    folder = fs._strip_protocol(folder)  # noqa: SLF001 - fsspec's own way
    if not fs.isdir(folder):
        fs.info(folder)
        raise NotADirectoryError(errno.ENOTDIR, "not a folder", fs.unstrip_protocol(folder))
    left_out = set(leave_out)
    entries = [entry for entry in _entries(fs, folder) if _name(entry) not in left_out]
    children = _nodes(fs, entries, "")
    name = name if name is not None else folder.rstrip("/").rpartition("/")[2]
    return Document.create(name, children, author=author, description=description, keywords=keywords)


def guess_mime(name: str) -> str | None:
    """Guess the media type from a file name, None if unknown."""
    mime, encoding = mimetypes.guess_type(name)
    # A compressed file does not have the type of its uncompressed content.
    return mime if encoding is None else f"application/{encoding}"


def _nodes(fs: AbstractFileSystem, entries: list[dict[str, Any]], before: str) -> list[Node]:
    nodes: list[Node] = []
    for entry in entries:
        name = _name(entry)
        if entry["type"] == "directory":
            nodes.append(Container.create(name, _nodes(fs, _entries(fs, entry["name"]), f"{before}{name}/")))
        else:
            nodes.append(DataNode.create(name, before + name, mime=guess_mime(name)))
    return nodes


def _entries(fs: AbstractFileSystem, folder: str) -> list[dict[str, Any]]:
    listed = fs.ls(folder, detail=True)
    usable = [entry for entry in listed if _is_wanted(fs, entry)]
    return sorted(usable, key=_name)


def _is_wanted(fs: AbstractFileSystem, entry: dict[str, Any]) -> bool:
    if _name(entry).startswith("."):
        return False
    if not entry.get("islink", False):
        return entry["type"] in {"file", "directory"}
    try:
        return bool(fs.info(entry["name"])["type"] == "file")
    except FileNotFoundError:
        return False


def _name(entry: dict[str, Any]) -> str:
    name = str(entry["name"]).rstrip("/").rpartition("/")[2]
    try:
        name.encode()
    except UnicodeEncodeError:
        raise InvalidPathError(f"the name {name!r} is not valid Unicode: rename the file") from None
    return name
