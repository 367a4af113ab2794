"""Import repoVizz 1 packs: XML becomes a document, signals and annotations become streams and events.

Packs are untrusted: XML is parsed without entities, files are only read from inside the pack, and new file
names are generated.
"""

from __future__ import annotations

import functools
import posixpath
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import numpy as np
import xarray as xr
from fsspec.implementations.local import LocalFileSystem

from rinofs.datapack.arrays.times import time_coordinates
from rinofs.datapack.authoring.planning import Formats, PlannedDatapack, Planner
from rinofs.datapack.authoring.unpacking import unpacked
from rinofs.datapack.authoring.writing import resolve_target, write_plan
from rinofs.datapack.document.messages import shortened, warn
from rinofs.datapack.document.model import Container, DataNode, Document, Node
from rinofs.datapack.document.naming import part_of_name
from rinofs.datapack.document.new import guess_mime
from rinofs.datapack.formats.handles import FileHandle
from rinofs.datapack.formats.laboratory.repovizz1 import parse_signal
from rinofs.datapack.formats.laboratory.safe_xml import parse_xml
from rinofs.datapack.formats.recordings import is_repovizz1
from rinofs.datapack.formats.tables.cells import decimal_of
from rinofs.datapack.formats.wav import WavSamples, wav_layout
from rinofs.errors import InvalidDatapackError

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from pathlib import Path
    from typing import BinaryIO

    from rinofs.datapack.authoring.unpacking import PackFiles
    from rinofs.datapack.formats.laboratory.safe_xml import Element

_LARGEST_XML = 64 * 1024**2


@dataclass(frozen=True, slots=True)
class Imported:
    """Result of an import.

    Attributes
    ----------
    url : str
        URL to open the datapack: ``xr.open_datatree(url, engine="datapack")``.
    nodes : int
        Number of files in the datapack.
    missing : tuple of str
        Files that the pack refers to but does not contain.
    """

    url: str
    nodes: int
    missing: tuple[str, ...]


def import_pack(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    storage_options: Mapping[str, Any] | None = None,
) -> Imported:
    """Import a repoVizz 1 pack as a datapack.

    Parameters
    ----------
    source : str or path
        Zip file or folder, as local path or URL.
    target : str or path
        ``repovizz://NAME``, a local folder, or the URL of a folder.
    overwrite : bool, optional
        Whether to replace an existing target.
    storage_options : mapping, optional
        Options of the target's filesystem.

    Raises
    ------
    InvalidDatapackError
        If it is not a pack, or a file in it is corrupt; nothing is written.
    FileExistsError
        If the target exists.
    """
    fs, path = resolve_target(target, storage_options, overwrite=overwrite)
    place = str(source)
    if place.startswith(("http://", "https://")):
        place = unquote(urlsplit(place).path)
    name = place.rstrip("/").rpartition("/")[2]
    with unpacked(str(source)) as files:
        importer = _Importer(files)
        document = importer.document(name.removesuffix(".zip"))
        planned = PlannedDatapack(document, tuple(importer.planner.files))
        url = write_plan(planned, fs, path, overwrite=overwrite)
    return Imported(url, len(planned.files), tuple(importer.missing))


class _Element:
    """Attributes of an element; different programs write their names in different case."""

    def __init__(self, element: Element) -> None:
        self.kind = element.name
        self.attributes = {key.lower(): value.strip() for key, value in element.attributes.items()}
        self.children = [_Element(child) for child in element.children]

    def get(self, key: str) -> str:
        return self.attributes.get(key, "")

    @property
    def category(self) -> str:
        return self.get("category")

    @property
    def name(self) -> str:
        stem = posixpath.splitext(posixpath.basename(self.get("filename")))[0]
        return self.get("name") or self.category or stem or self.kind

    def number(self, key: str) -> float | None:
        try:
            number = decimal_of(self.get(key))
        except ValueError:
            return None
        return number if np.isfinite(number) and number > 0 else None

    def meta(self) -> dict[str, Any]:
        """Return the original properties, for the node's ``meta``."""
        keys = ("id", "category", "minval", "maxval")
        return {"repovizz1": {key: self.get(key) for key in keys if self.get(key)}}


@dataclass(slots=True)
class _PackInfo:
    """Properties of the pack."""

    name: str = ""
    title: str = ""
    keywords: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)


class _Importer:
    """Creates nodes for elements, and plans their files."""

    def __init__(self, files: PackFiles) -> None:
        self.planner = Planner(Formats("csv"))
        self.missing: list[str] = []
        self._files = files
        self._beside = ""

    def document(self, fallback: str) -> Document:
        """Return the document for the pack."""
        found = self._root()
        if found is None:
            return self._of_signals(fallback)
        self._beside, root = found
        about = _PackInfo()
        children = self._children(root, "", about)
        groups = [child for child in root.children if child.kind == "Generic"]
        stem = posixpath.splitext(posixpath.basename(self._beside))[0]
        name = about.name or (groups[0].name if len(groups) == 1 else stem)
        description = "\n".join([about.title, *about.lines]).strip()
        return Document.create(name, children, description=description, keywords=about.keywords)

    def _root(self) -> tuple[str, _Element] | None:
        """Return the path and root element of the pack's description, or None."""
        found = []
        for path, file in self._files.files.items():
            if not path.lower().endswith(".xml") or file.stat().st_size > _LARGEST_XML:
                continue
            data = file.read_bytes()
            if b"<ROOT" not in data:
                continue
            try:
                element = parse_xml(data)
            except InvalidDatapackError as error:
                raise InvalidDatapackError(f"{self._files.label}: {path}: {error}") from error
            if element.name == "ROOT":
                found.append((path, _Element(element)))
        if len(found) > 1:
            paths = ", ".join(path for path, _ in found)
            raise InvalidDatapackError(
                f"{self._files.label}: several XML files could describe the pack: {paths}"
            )
        return found[0] if found else None

    def _of_signals(self, name: str) -> Document:
        """Return the document for a folder that contains only signals."""
        nodes: list[Node] = []
        for path, file in self._files.files.items():
            with file.open("rb") as opened:
                is_signal = is_repovizz1(opened.read(4096))
            if is_signal:
                stem = posixpath.splitext(posixpath.basename(path))[0]
                nodes.append(self._signal(stem, self._place("", stem), file, None, {}))
        if not nodes:
            raise InvalidDatapackError(
                f"{self._files.label}: not a repoVizz 1 pack: it has no XML file with the root <ROOT>"
            )
        return Document.create(name, nodes)

    def _children(self, parent: _Element, path: str, about: _PackInfo) -> list[Node]:
        found: list[Node] = []
        for child in parent.children:
            if child.kind == "Generic" and child.category.upper() == "METADATA":
                found += self._metadata(child, path, about, top=not path)
            elif child.kind == "Generic":
                found.append(self._container(child, path))
            elif child.kind == "Description":
                about.lines.append(_line(child))
            elif child.get("filename"):
                node = self._file(child, path)
                found += [node] if node else []
        return found

    def _container(self, node: _Element, path: str) -> Container:
        inner = _PackInfo()
        place = self._place(path, node.name)
        children = self._children(node, f"{place}/", inner)
        container = Container.create(node.name, children, text="\n".join(inner.lines))
        return container.with_fields(meta=node.meta())

    def _metadata(self, node: _Element, path: str, about: _PackInfo, *, top: bool) -> list[Node]:
        """Read the metadata of the pack or a group; returns nodes for its files."""
        if top and not about.name:
            about.name = node.get("name")
        found: list[Node] = []
        for child in node.children:
            kind = child.category.upper()
            if child.kind == "Description" and kind == "TITLE" and top and not about.title:
                about.title = child.get("text")
            elif child.kind == "Description":
                about.lines.append(_line(child))
            elif child.kind == "Generic" and kind in {"KEYWORDS", "SIGNALS"}:
                tags = [tag.get("text") for tag in child.children if tag.kind == "Description"]
                about.keywords += [tag for tag in tags if tag and kind == "KEYWORDS"]
            elif child.kind == "Generic":
                found.append(self._container(child, path))
            elif child.get("filename"):
                made = self._file(child, path)
                found += [made] if made else []
        return found

    def _place(self, path: str, name: str) -> str:
        return f"{path}{part_of_name(name) or 'unnamed'}"

    def _file(self, node: _Element, path: str) -> DataNode | None:
        """Return the node for a file, None if the file is missing."""
        name = node.get("filename")
        file = self._files.find(name, node.get("filetype"), self._beside)
        if file is None:
            self.missing.append(name)
            warn(self._files.label, f"{name!r} is missing; {node.name!r} is left out")
            return None
        place = self._place(path, node.name)
        try:
            if node.kind == "Signal" and _begins_as_signal(file):
                return self._signal(node.name, place, file, node.number("samplerate"), node.meta())
            if node.kind == "Signal" and node.category.lower() == "audesc":
                return self._descriptor(node, place, file)
            if node.kind == "Annotation" and name.lower().endswith(".notes"):
                return self._notes(node, place, file)
        except InvalidDatapackError as error:
            raise InvalidDatapackError(f"{self._files.label}: {name}: {error}") from error
        return self._as_it_is(node, place, file)

    def _signal(
        self, name: str, place: str, file: Path, rate: float | None, meta: dict[str, Any]
    ) -> DataNode:
        signal = parse_signal(file.read_bytes())
        rate = signal.rate or rate
        if rate is None:
            raise InvalidDatapackError(
                "no sampling rate: neither the header (framerate=) nor the XML (SampleRate) has one"
            )
        if signal.display:
            low, high = signal.display
            own = meta.get("repovizz1", {})
            meta = {**meta, "repovizz1": {**own, "minval": low, "maxval": high}}
        return self._stream(name, place, signal.values[:, None], rate, signal.start, meta)

    def _descriptor(self, node: _Element, place: str, file: Path) -> DataNode:
        """Return the node for audio descriptors: values in a WAV file, frame by frame."""
        rate, size = node.number("samplerate"), int(node.number("framesize") or 1)
        if rate is None:
            raise InvalidDatapackError("SampleRate, the rate of its frames, is missing")
        handle = FileHandle(LocalFileSystem(), str(file))
        layout = wav_layout(handle.read, handle.size)
        if layout is None:
            raise InvalidDatapackError(
                "this WAV file is compressed; it cannot hold the values of a descriptor"
            )
        values: Any = WavSamples(handle, layout, scaled=False).read(0, layout.frames).reshape(-1)
        frames, rest = divmod(len(values), size)
        if rest:
            warn(
                self._files.label,
                f"{node.name!r}: the last {rest} values are not a complete frame; they are left out",
            )
        values = values[: frames * size].reshape(frames, size)
        return self._stream(node.name, place, values, rate, 0.0, node.meta())

    def _stream(
        self, name: str, place: str, values: Any, rate: float, start: float, meta: dict[str, Any]
    ) -> DataNode:
        count = values.shape[1]
        labels = [str(number) for number in range(1, count + 1)] if count > 1 else [name]
        dataset = xr.Dataset(
            {"value": (("time", "channel"), values, {"sampling_rate": rate})},
            coords=time_coordinates(len(values), rate, start, name="time", units="s"),
        ).assign_coords(channel=labels)
        return _with_meta(self.planner.data_node(dataset, name, place, ""), meta)

    def _notes(self, node: _Element, place: str, file: Path) -> DataNode:
        events = [_note(line, number) for number, line in enumerate(_lines(file), 1) if line.strip()]
        dataset = xr.Dataset(
            {
                "onset_time": ("event", np.array([each[0] for each in events], float), {"units": "s"}),
                "offset_time": ("event", np.array([each[1] for each in events], float), {"units": "s"}),
                "text": ("event", np.array([each[2] for each in events], dtype=object)),
            }
        )
        return _with_meta(self.planner.data_node(dataset, node.name, place, ""), node.meta())

    def _as_it_is(self, node: _Element, place: str, file: Path) -> DataNode:
        name = node.get("filename")
        kind = node.get("filetype").lower()
        extension = posixpath.splitext(name)[1] or (f".{kind}" if kind else "")
        mime = guess_mime(f"x{extension}")
        made = self.planner.file_node(node.name, place, extension, mime, functools.partial(_copy, file))
        return _with_meta(made, node.meta())


def _with_meta(node: DataNode, meta: dict[str, Any]) -> DataNode:
    return node.with_fields(meta={**node.meta, **meta}) if meta else node


def _line(node: _Element) -> str:
    text = node.get("text")
    return f"{node.category}: {text}" if node.category and node.category.upper() != "TITLE" else text


def _begins_as_signal(file: Path) -> bool:
    with file.open("rb") as opened:
        head = opened.read(4096)
    if is_repovizz1(head):
        return True
    if head.startswith((b"RIFF", b"RF64")):
        return False
    raise InvalidDatapackError(f"not a repoVizz signal: it begins with {shortened(repr(head[:40]))}")


def _lines(file: Path) -> list[str]:
    return file.read_bytes().decode("utf-8-sig", "replace").splitlines()


def _note(line: str, number: int) -> tuple[float, float, str]:
    parts = line.split(maxsplit=2)
    try:
        return decimal_of(parts[0]), decimal_of(parts[1]), parts[2].strip()
    except (ValueError, IndexError):
        text = shortened(repr(line))
        raise InvalidDatapackError(f"line {number} is {text}; onset, offset and pitch are expected") from None


def _copy(file: Path, target: BinaryIO) -> None:
    with file.open("rb") as opened:
        shutil.copyfileobj(opened, target, 1 << 20)
