"""What `info` and `ls` say of nodes."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from rinofs.datapack.document.document import DataNode, Document, Node
from rinofs.datapack.links import REPOVIZZ, Place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from fsspec import AbstractFileSystem

_FEW = 4
"""Files of one folder up to which each is asked about itself, rather than the folder listed."""


def entry_of(path: str, node: Document | Node) -> dict[str, Any]:
    """Return what `info` says of a node; the size of a file is not known yet."""
    if isinstance(node, Document):
        about = node.info
        own: dict[str, Any] = {"node_name": about.name, "text": about.description, "id": about.id}
    else:
        own = {"node_name": node.name, "text": node.text, "id": node.id}
    if not isinstance(node, DataNode):
        return {"name": path, "size": 0, "type": "directory", **own}
    of_file = {"link": node.link, "mime": node.mime, "datatype": node.datatype}
    return {"name": path, "size": None, "type": "file", **own, **of_file}


def measure(entries: Iterable[dict[str, Any]], place_of: Callable[[dict[str, Any]], Place | None]) -> None:
    """Set the sizes of files, asking their folders once where that is less to ask.

    Parameters
    ----------
    entries : iterable of dict
        What `entry_of` returned; the size stays None where it is not known, or where there is no file.
    place_of : callable
        Tells where the file of an entry is, None if that cannot be told.
    """
    folders: dict[tuple[int, str], list[tuple[dict[str, Any], Place]]] = defaultdict(list)
    for entry in entries:
        place = place_of(entry) if entry["type"] == "file" else None
        if place is not None:
            folder = place.fs._parent(place.path)  # noqa: SLF001 - fsspec's own way
            folders[id(place.fs), folder].append((entry, place))
    for (_, folder), files in folders.items():
        fs, path = files[0][1]
        # A datapack at the service does not list its files by their hashes.
        listable = len(files) > _FEW and not path.rpartition("/")[2].startswith(REPOVIZZ)
        listed = _listed_sizes(fs, folder) if listable else None
        for entry, place in files:
            entry["size"] = _size_of(place) if listed is None else listed.get(place.path)


def _size_of(place: Place) -> int | None:
    try:
        info: Mapping[str, Any] = place.fs.info(place.path)
    except FileNotFoundError:
        return None
    size = info.get("size")
    return size if isinstance(size, int) else None


def _listed_sizes(fs: AbstractFileSystem, folder: str) -> dict[str, int | None] | None:
    """Return the sizes of the files in a folder, None where the filesystem cannot list."""
    try:
        entries = fs.ls(folder, detail=True)
    except FileNotFoundError:
        return {}
    except NotImplementedError:
        return None
    return {entry["name"]: entry.get("size") for entry in entries}
