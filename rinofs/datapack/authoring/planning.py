"""Plan the document and the files for trees of labelled arrays."""

from __future__ import annotations

import functools
import re
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import xarray as xr

from rinofs.datapack.authoring.describing import (
    columns_of,
    datatype_of_events,
    datatype_of_stream,
    is_published,
)
from rinofs.datapack.authoring.encoding import (
    FORMATS,
    FileFormat,
    check_column_fits,
    check_fits,
    encode_rows,
    encode_samples,
)
from rinofs.datapack.authoring.events import Events, events_of
from rinofs.datapack.authoring.streams import EVENT, stream_of
from rinofs.datapack.document import edits
from rinofs.datapack.document.model import Container, DataNode, Document, Node, Tree
from rinofs.datapack.document.naming import DOCUMENT_NAME, name_of_part, part_of_name
from rinofs.datapack.document.new import guess_mime
from rinofs.errors import InvalidOptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping
    from typing import BinaryIO

    from rinofs.datapack.datatypes.layouts import Datatype

_NodeT = TypeVar("_NodeT", Container, DataNode)

_UNFIT = re.compile(r'[<>:"\\|?*\x00-\x1f\x7f-\x9f\ud800-\udfff]')
_LONGEST = 120  # maximum length of a file name in characters, before its extension
_MOST_BYTES = 200  # file systems accept 255
_NUMBERED = re.compile(r"~\d+(?=(\.[^.]*)?$)")


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """A file to be written.

    Attributes
    ----------
    path : str
        Path of its node in the datapack.
    link : str
        Path relative to the folder of the document.
    write : callable
        Writes the content to a binary file.
    """

    path: str
    link: str
    write: Callable[[BinaryIO], None]


@dataclass(frozen=True, slots=True)
class PlannedDatapack:
    """A datapack to be written: document and files."""

    document: Document
    files: tuple[PlannedFile, ...]


def plan(
    source: xr.DataTree | xr.Dataset | xr.DataArray,
    format: str | Mapping[str, str],  # noqa: A002 - the word that xarray and pandas have for it
    name: str,
    files: Mapping[str, Callable[[BinaryIO], None]],
) -> PlannedDatapack:
    """Plan a datapack, and check as much as possible before anything is written.

    Parameters
    ----------
    source : xarray.DataTree, Dataset or DataArray
        Contents of the datapack.
    format : str or mapping
        A format, or formats by path; the longest matching path applies, an empty one is the default.
    name : str
        Name of the datapack.
    files : mapping
        Additional files by path, which are included unchanged.

    Raises
    ------
    InvalidDatapackError
        If a variable cannot be part of a datapack; the message names it.
    InvalidOptionError
        If a format does not exist or cannot represent a variable.
    """
    tree = _as_tree(source)
    planner = Planner(Formats(format))
    about = {key: _string(tree.attrs, key) for key in ("author", "description")}
    keywords = tree.attrs.get("keywords", ())
    words = [keywords] if isinstance(keywords, str) else [str(word) for word in keywords]
    document = Document.create(name, planner.nodes(tree, ""), keywords=words, **about)
    document = planner.with_files(document, files)
    planner.formats.check_all_used()
    _warn_of_left_out(tree, Tree(document))
    return PlannedDatapack(document, tuple(planner.files))


class Formats:
    """The format for each path."""

    def __init__(self, formats: str | Mapping[str, str]) -> None:
        chosen = {"": formats} if isinstance(formats, str) else {"": "json", **formats}
        unknown = {str(each) for each in chosen.values()} - set(FORMATS)
        if unknown:
            raise InvalidOptionError(f"unknown format {min(unknown)!r}; use {', '.join(FORMATS)}")
        self._chosen = {path.strip("/"): FORMATS[each] for path, each in chosen.items()}
        self._unused = set(self._chosen) - {""}

    def of(self, path: str) -> FileFormat:
        """Return the format for a path."""
        within = [each for each in self._chosen if each in {"", path} or path.startswith(f"{each}/")]
        self._unused -= set(within)
        return self._chosen[max(within, key=len)]

    def check_all_used(self) -> None:
        """Raise an error if there is a format for a path that does not exist."""
        if self._unused:
            raise InvalidOptionError(f"format: no stream at {min(self._unused)!r}")


class Planner:
    """Creates data nodes and plans their files.

    Parameters
    ----------
    formats : Formats
        Format for each path.

    Attributes
    ----------
    files : list of PlannedFile
        Files planned so far.
    """

    def __init__(self, formats: Formats) -> None:
        self.formats = formats
        self.files: list[PlannedFile] = []
        self._names = FileNames()

    def nodes(self, group: xr.DataTree, path: str) -> list[Node]:
        """Return the nodes for the variables and groups in a group."""
        found: list[Node] = []
        for key, part in _parts(group.to_dataset()).items():
            found.append(self.data_node(part, key, f"{path}{key}", ""))
        for key, child in group.children.items():
            found.append(self._node(child, str(key), f"{path}{key}"))
        return found

    def _node(self, group: xr.DataTree, key: str, path: str) -> Node:
        parts = _parts(group.to_dataset())
        name = _name(key, group.attrs)
        if len(parts) == 1 and not group.children:
            [part] = parts.values()
            return self.data_node(part, name, path, _string(group.attrs, "text"))
        node = Container.create(name, self.nodes(group, f"{path}/"), text=_string(group.attrs, "text"))
        return _identified(node, group.attrs)

    def data_node(self, part: xr.Dataset, name: str, path: str, text: str) -> DataNode:
        """Return the node for a stream or for events."""
        form = self.formats.of(path)
        laid = _laid_events(part, path, form) if EVENT in part.dims else _laid_stream(part, path, form)
        link = self._names.link(path, laid.form.extension)
        self.files.append(PlannedFile(path, link, laid.write))
        node = DataNode.create(
            name,
            link,
            text=text,
            mime=laid.form.mime,
            datatype=laid.datatype.id if laid.datatype else None,
            meta=_meta(laid),
        )
        return _identified(node, part.attrs)

    def file_node(
        self, name: str, path: str, extension: str, mime: str | None, write: Callable[[BinaryIO], None]
    ) -> DataNode:
        """Return the node for a file that is included unchanged."""
        link = self._names.link(path, extension)
        self.files.append(PlannedFile(path, link, write))
        return DataNode.create(name, link, mime=mime)

    def with_files(self, document: Document, files: Mapping[str, Callable[[BinaryIO], None]]) -> Document:
        """Return the document with nodes for additional files."""
        nodes = {}
        for path, write in files.items():
            path = path.strip("/")
            link = self._names.link(path)
            nodes[path] = DataNode.create("", link, mime=guess_mime(path))
            self.files.append(PlannedFile(path, link, write))
        return edits.add_all(document, nodes) if nodes else document


def _as_tree(source: xr.DataTree | xr.Dataset | xr.DataArray) -> xr.DataTree:
    if isinstance(source, xr.DataTree):
        return source
    if isinstance(source, xr.DataArray):
        source = source.to_dataset(name=source.name or "value")
    if not isinstance(source, xr.Dataset):
        raise InvalidOptionError(
            "a datapack is written from an xarray DataTree, Dataset or DataArray,"
            f" not {type(source).__name__}"
        )
    parts = _parts(source)
    name = part_of_name(_string(source.attrs, "name"))
    if len(parts) == 1 and name:
        parts = {name: source}
    return xr.DataTree.from_dict({f"/{part_of_name(key)}": part for key, part in parts.items()})


def _parts(dataset: xr.Dataset) -> dict[str, xr.Dataset]:
    """Split a dataset into the parts for one file each: every stream, or all columns of events."""
    if not dataset.data_vars and EVENT not in dataset.dims:
        return {}
    if EVENT in dataset.dims:
        return {_string(dataset.attrs, "name") or "events": dataset}
    alone = len(dataset.data_vars) == 1
    parts = {str(name): dataset[[name]] for name in dataset.data_vars}
    shared = dataset.attrs if alone else _of_all(dataset.attrs)
    return {key: _with_attrs(part, shared) for key, part in parts.items()}


def _of_all(attrs: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
    return {key: value for key, value in attrs.items() if key not in {"name", "id", "text"}}


def _with_attrs(dataset: xr.Dataset, attrs: Mapping[Hashable, Any]) -> xr.Dataset:
    return dataset.drop_attrs(deep=False).assign_attrs(attrs)


def _name(key: str, attrs: Mapping[Hashable, Any]) -> str:
    """Return the name for a group's node: its attribute ``name`` if that matches, else the group's name."""
    name = _string(attrs, "name")
    shown = part_of_name(name)
    return name if name and shown in {key, _NUMBERED.sub("", key)} else name_of_part(key)


@dataclass(frozen=True, slots=True)
class _PlannedContent:
    """The contents of a file, and the properties of its node."""

    form: FileFormat
    write: Callable[[BinaryIO], None]
    datatype: Datatype | None
    start: float = 0.0


def _laid_stream(part: xr.Dataset, path: str, form: FileFormat) -> _PlannedContent:
    [variable] = part.data_vars.values()
    stream = stream_of(variable, f"{path}: {variable.name}")
    check_fits(stream.samples(), form)
    write = functools.partial(encode_samples, stream.samples(), form)
    return _PlannedContent(form, write, datatype_of_stream(stream, part.attrs), stream.start)


def _laid_events(part: xr.Dataset, path: str, form: FileFormat) -> _PlannedContent:
    form = form if form.name == "json" else FORMATS["csv"]
    events = events_of(part, path)
    for field in events.fields:
        check_column_fits(field.values, f"{path}: {field.label}", form)
    datatype = datatype_of_events(events, part.attrs)
    labels = [column.label for column in columns_of(datatype)]
    return _PlannedContent(form, functools.partial(_write_rows, events, labels, form), datatype)


def _meta(laid: _PlannedContent) -> dict[str, Any] | None:
    meta: dict[str, Any] = {"start": laid.start} if laid.start else {}
    if laid.datatype is not None and not is_published(laid.datatype):
        meta["datatype"] = dict(laid.datatype.document)
    return meta or None


def _identified(node: _NodeT, attrs: Mapping[Hashable, Any]) -> _NodeT:
    identifier = _string(attrs, "id")
    return node.with_fields(id=identifier) if identifier else node


def _string(attrs: Mapping[Any, Any], key: str) -> str:
    value = attrs.get(key)
    return value if isinstance(value, str) else ""


def _write_rows(events: Events, labels: list[str], form: FileFormat, file: BinaryIO) -> None:
    encode_rows(events.rows(), labels, form, file)


def _warn_of_left_out(tree: xr.DataTree, written: Tree) -> None:
    for group in tree.subtree:
        before = f"{group.path.strip('/')}/".lstrip("/")
        other = group.attrs.get("other_files", ())
        missing = [f"{before}{part}" for part in other if f"{before}{part}" not in written]
        if missing:
            warnings.warn(
                f"files of the original datapack are not written: {', '.join(missing)};"
                " files={path: content} adds them",
                UserWarning,
                stacklevel=4,
            )


class FileNames:
    """The file names in a folder, which are valid on all systems."""

    def __init__(self) -> None:
        self._files = {DOCUMENT_NAME}
        self._folders: set[str] = set()

    def link(self, path: str, extension: str = "") -> str:
        """Reserve a file name that is similar to a path in the datapack.

        Parameters
        ----------
        path : str
            Path.
        extension : str, optional
            Extension of the file, instead of that of another format; by default the path's own.
        """
        parts = [_fit(name_of_part(part)) for part in path.split("/")]
        stem, dot, suffix = parts[-1].rpartition(".")
        if not extension:
            stem, extension = (stem, dot + suffix) if stem else (parts[-1], "")
        elif f".{suffix.lower()}" not in {form.extension for form in FORMATS.values()} or not stem:
            stem = parts[-1]
        link = _free(self._folder(parts[:-1]) + stem, extension, self._files | self._folders)
        self._files.add(link.lower())
        return link

    def _folder(self, parts: list[str]) -> str:
        folder = ""
        for part in parts:
            folder = _free(f"{folder}{part}", "", self._files)
            self._folders.add(folder.lower())
            folder += "/"
        return folder


def _free(stem: str, extension: str, taken: set[str]) -> str:
    # Some filesystems ignore case.
    chosen, number = f"{stem}{extension}", 2
    while chosen.lower() in taken:
        chosen, number = f"{stem}~{number}{extension}", number + 1
    return chosen


def _fit(name: str) -> str:
    fitting = _UNFIT.sub("_", name.replace("/", "_")).strip(" .")[:_LONGEST]
    return fitting.encode()[:_MOST_BYTES].decode(errors="ignore") or "_"
