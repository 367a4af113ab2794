"""Find the node and file for a URL or path, in a datapack or as a single file."""

from __future__ import annotations

import errno
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import fsspec

from rinofs.datapack.document.model import Container, DataNode, Document, Tree, parse
from rinofs.datapack.document.naming import DOCUMENT_NAME
from rinofs.errors import InvalidDatapackError, InvalidOptionError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fsspec import AbstractFileSystem


_RECORDINGS = (".edf", ".bdf", ".xdf", ".xdfz", ".h5", ".hdf5", ".eaf", ".textgrid", ".vtt")


@dataclass(frozen=True, slots=True)
class Located:
    """A file and its description in a datapack.

    Attributes
    ----------
    fs : AbstractFileSystem
        Filesystem of the file.
    path : str
        Path in the filesystem.
    label : str
        Name for messages.
    node : DataNode or None
        Node in the document; None for a file outside of a datapack.
    """

    fs: AbstractFileSystem
    path: str
    label: str
    node: DataNode | None = None


@dataclass(frozen=True, slots=True)
class Pack:
    """A datapack or a part of it.

    Attributes
    ----------
    fs : AbstractFileSystem
        Filesystem of the files.
    tree : Tree
        Nodes of the document.
    root : str
        Path of the datapack in `fs`.
    inner : str
        Path of the part in the datapack; empty for the whole.
    """

    fs: AbstractFileSystem
    tree: Tree
    root: str
    inner: str

    def path(self, inner: str) -> str:
        """Return the path in `fs` for a path in the datapack."""
        return f"{self.root}/{inner}" if self.root and inner else self.root or inner

    def located(self, inner: str) -> Located:
        """Return the file for a data node.

        Raises
        ------
        FileNotFoundError
            If the node does not exist.
        InvalidDatapackError
            If it is not a data node.
        """
        found = self.tree.get(inner)
        label = shown(self.fs, self.path(inner))
        if isinstance(found, DataNode):
            return Located(self.fs, self.path(inner), label, found)
        if found is None:
            raise FileNotFoundError(errno.ENOENT, f"no such node{self._near(inner)}", label)
        inside = ", ".join(list(self.tree.children(inner))[:8]) or "nothing"
        kind = "container" if isinstance(found, Container) else "datapack"
        raise InvalidDatapackError(
            f"{label} is a {kind}: open it with open_datatree, or name one of the nodes in it ({inside})"
        )

    def _near(self, inner: str) -> str:
        parent = inner.rpartition("/")[0]
        found = self.tree.get(parent)
        if not isinstance(found, (Container, Document)):
            return ""
        return f"; there are {', '.join(list(self.tree.children(parent))[:8])}"

    def groups(self) -> Iterator[tuple[str, Document | Container | DataNode]]:
        """Yield the nodes of the part with their relative paths, the part itself first."""
        found = self.tree[self.inner]
        yield "", found
        if isinstance(found, DataNode):
            return
        skip = len(self.inner) + 1 if self.inner else 0
        for path, node in self.tree.walk(self.inner):
            yield path[skip:], node


def filesystem_of(name: Any, storage_options: Mapping[str, Any] | None) -> tuple[AbstractFileSystem, str]:
    """Return filesystem and path for a URL, a local path, or an open fsspec file.

    Raises
    ------
    InvalidOptionError
        If it has another type.
    """
    if isinstance(name, (str, os.PathLike)):
        fs, path = fsspec.url_to_fs(os.fspath(name), **dict(storage_options or {}))
        return fs, path
    fs, path = getattr(name, "fs", None), getattr(name, "path", None)
    if fs is None or not isinstance(path, str):
        raise InvalidOptionError(
            f"the engine 'datapack' opens URLs, paths and files of fsspec, not {type(name).__name__}"
        )
    return fs, path


def pack_of(fs: AbstractFileSystem, path: str) -> Pack | None:
    """Return the datapack for a path according to its protocol, None for other protocols."""
    if "datapack" in _protocols(fs):
        return Pack(fs, Tree(fs.document), "", "" if path == DOCUMENT_NAME else path)
    if "repovizz" in _protocols(fs):
        root, _, inner = path.partition("/")
        if not root:
            raise InvalidDatapackError(
                f"{shown(fs, path)} is not a datapack; name one, as in repovizz://NAME"
            )
        tree = Tree(parse(fs.cat_file(f"{root}/{DOCUMENT_NAME}")))
        return Pack(fs, tree, root, "" if inner == DOCUMENT_NAME else inner)
    return None


def pack_at(fs: AbstractFileSystem, path: str) -> Pack:
    """Return the datapack for the path of a document or its folder.

    Raises
    ------
    FileNotFoundError
        If there is none.
    InvalidDatapackError
        If it is not the document of a datapack.
    """
    within = pack_of(fs, path)
    if within is not None:
        return within
    document = path if path.endswith(".json") else f"{path.rstrip('/')}/{DOCUMENT_NAME}"
    if not fs.exists(document):
        raise FileNotFoundError(
            errno.ENOENT,
            "no datapack document here; open a single file with open_dataset",
            shown(fs, document),
        )
    # A new instance: a cached one may still have an earlier document.
    pack = fsspec.filesystem(
        "datapack",
        fo=document,
        target_protocol=_protocols(fs)[0],
        target_options=fs.storage_options,
        skip_instance_cache=True,
    )
    return Pack(pack, Tree(pack.document), "", "")


def is_single_file(fs: AbstractFileSystem, path: str) -> bool:
    """Return whether a path outside of a datapack has the name of a file with several streams."""
    return not {"datapack", "repovizz"} & set(_protocols(fs)) and path.lower().endswith(_RECORDINGS)


def located(fs: AbstractFileSystem, path: str) -> Located:
    """Return the file for a path.

    Raises
    ------
    FileNotFoundError
        If its datapack has no such node.
    InvalidDatapackError
        If it is a container or a datapack.
    """
    pack = pack_of(fs, path)
    if pack is None:
        if path.rpartition("/")[2] == DOCUMENT_NAME:
            return pack_at(fs, path).located("")
        return Located(fs, path, shown(fs, path))
    if pack.inner.startswith("repovizz:") and pack.tree.get(pack.inner) is None:
        return Located(fs, path, shown(fs, path))  # a content addressed by its hash has no node
    return pack.located(pack.inner)


def shown(fs: AbstractFileSystem, path: str) -> str:
    """Return the URL of a path for messages, without secrets."""
    if "datapack" in _protocols(fs):
        options = fs.storage_options
        document, protocol = str(options.get("fo", "")), options.get("target_protocol")
        prefix = f"{protocol}://" if protocol and "://" not in document else ""
        return f"datapack://{path}::{prefix}{_without_secrets(document)}"
    return _without_secrets(str(fs.unstrip_protocol(path)))


def _without_secrets(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        return url
    return re.sub(r"^(https?://)[^/@]*@", r"\1", url).partition("?")[0]


def _protocols(fs: AbstractFileSystem) -> list[str]:
    return [fs.protocol] if isinstance(fs.protocol, str) else list(fs.protocol)
