"""Datatypes by name or UUID, and the datatype of a file."""

from __future__ import annotations

import difflib
import os
import warnings
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rinofs.datapack.datatypes.datatype import Datatype, DatatypeWarning, parse_datatype
from rinofs.datapack.document.messages import warn
from rinofs.errors import InvalidDatapackError, InvalidOptionError, UnknownDatatypeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from rinofs.datapack.document.nodes import DataNode

ENVIRONMENT = "RINOFS_DATATYPES"
"""Environment variable with a folder or URL of additional datatypes."""


class DatatypeRegistry:
    """Datatypes by name and UUID; immutable, `extended` returns another registry.

    If two datatypes have the same UUID, the first keeps it, and the other can be found by name only: people
    copy documents and forget to change the id. If two have the same name, the later one gets it.

    Parameters
    ----------
    datatypes : iterable of Datatype
        Datatypes to register.
    """

    def __init__(self, datatypes: Iterable[Datatype] = ()) -> None:
        self._by_id: dict[str, Datatype] = {}
        self._by_name: dict[str, Datatype] = {}
        for datatype in datatypes:
            self._add(datatype)

    @classmethod
    def published(cls) -> DatatypeRegistry:
        """Return the registry of the datatypes that the service publishes."""
        return _published()

    def extended(self, *more: Datatype) -> DatatypeRegistry:
        """Return a registry with additional datatypes."""
        return DatatypeRegistry([*self, *more])

    def extended_by_folder(self, folder: str | os.PathLike[str]) -> DatatypeRegistry:
        """Return a registry with the datatypes in the ``.json`` files of a folder added.

        Raises
        ------
        InvalidDatapackError
            If a file is not a datatype's document; the message names it.
        FileNotFoundError
            If the folder does not exist.
        """
        paths = sorted(path for path in Path(folder).iterdir() if path.suffix == ".json")
        return self.extended(*(parse_datatype(path.read_bytes(), str(path)) for path in paths))

    def extended_by_url(self, url: str, **storage_options: Any) -> DatatypeRegistry:
        """Return a registry with the datatypes at a URL added.

        Parameters
        ----------
        url : str
            A document (``.json``) or a folder of documents, on any fsspec filesystem.
        **storage_options
            Options of the filesystem.

        Raises
        ------
        InvalidDatapackError
            If a file is not a datatype's document; the message names it.
        FileNotFoundError
            If the URL does not exist.
        """
        from fsspec.core import url_to_fs

        fs, path = url_to_fs(url, **storage_options)
        whole = path.endswith(".json") and not fs.isdir(path)
        paths = [path] if whole else sorted(one for one in fs.ls(path, detail=False) if one.endswith(".json"))
        found = {one: fs.cat_file(one) for one in paths}
        return self.extended(*(parse_datatype(data, fs.unstrip_protocol(one)) for one, data in found.items()))

    def __getitem__(self, name: str) -> Datatype:
        """Return a datatype by UUID or name, ignoring case.

        Raises
        ------
        UnknownDatatypeError
            If there is none; the message suggests similar names.
        """
        found = self.get(name)
        if found is None:
            similar = difflib.get_close_matches(name.lower(), self._by_name, n=3)
            known = ", ".join(self._by_name[key].name for key in similar or self._by_name)
            raise UnknownDatatypeError(f"unknown datatype {name!r}; known: {known or 'none'}")
        return found

    def get(self, name: str) -> Datatype | None:
        """Return a datatype by UUID or name, or None."""
        key = name.strip().lower()
        return self._by_id.get(key) or self._by_name.get(key)

    def __contains__(self, name: str) -> bool:
        return self.get(name) is not None

    def __iter__(self) -> Iterator[Datatype]:
        by_name = self._by_name.values()
        yield from self._by_id.values()
        yield from (found for found in by_name if not any(found is other for other in self._by_id.values()))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _add(self, datatype: Datatype) -> None:
        holder = self._by_id.get(datatype.id) if datatype.id else None
        if holder is not None and holder.name != datatype.name:
            warnings.warn(
                f"datatype {datatype.name}: {holder.name} has the same id {datatype.id};"
                " it can be found only by its name",
                DatatypeWarning,
                stacklevel=4,
            )
        elif datatype.id:
            self._by_id[datatype.id] = datatype
        self._by_name[datatype.name.lower()] = datatype


def registry_of(datatypes: Any = None) -> DatatypeRegistry:
    """Return the registry for an argument ``datatypes``.

    Parameters
    ----------
    datatypes : DatatypeRegistry, str or path-like, optional
        A registry, or a folder or URL of documents to add to the published datatypes. The default is the
        environment variable ``RINOFS_DATATYPES``.

    Raises
    ------
    InvalidOptionError
        If it has another type.
    """
    if isinstance(datatypes, DatatypeRegistry):
        return datatypes
    if datatypes is None:
        datatypes = os.environ.get(ENVIRONMENT) or None
    published = DatatypeRegistry.published()
    if datatypes is None:
        return published
    if not isinstance(datatypes, (str, os.PathLike)):
        raise InvalidOptionError(
            f"datatypes= takes a registry, a folder or a URL, not {type(datatypes).__name__}"
        )
    return published.extended_by_url(os.fspath(datatypes))


def given_datatype(datatype: Any, registry: DatatypeRegistry) -> Datatype | None:
    """Return the datatype for an argument ``datatype``.

    Parameters
    ----------
    datatype : Datatype, str, bytes or mapping
        A datatype, its name or UUID, or its document as JSON text or object.
    registry : DatatypeRegistry
        Registry for names.

    Raises
    ------
    UnknownDatatypeError
        If there is no datatype with this name.
    InvalidDatapackError
        If the document does not describe a datatype.
    InvalidOptionError
        If it has another type.
    """
    if datatype is None or isinstance(datatype, Datatype):
        return datatype
    if isinstance(datatype, dict) or (isinstance(datatype, (str, bytes)) and _is_document(datatype)):
        return parse_datatype(datatype, "datatype=")
    if isinstance(datatype, str):
        return registry[datatype]
    raise InvalidOptionError(f"datatype= takes a name, a UUID or a document, not {type(datatype).__name__}")


def datatype_of_node(node: DataNode | None, registry: DatatypeRegistry, label: str) -> Datatype | None:
    """Return the datatype of a node, from its own document or the registry; warn if it is in neither."""
    if node is None:
        return None
    own = _own(node.meta, label)
    if own is not None and (node.datatype is None or own.id == node.datatype.lower()):
        return own
    if node.datatype is None:
        return None
    found = registry.get(node.datatype)
    if found is None:
        warn(
            label,
            f"unknown datatype {node.datatype!r}; the file is read without it; set datatype= or datatypes=",
        )
    return found


def _own(meta: Mapping[str, Any], label: str) -> Datatype | None:
    document = meta.get("datatype")
    if not isinstance(document, dict):
        return None
    try:
        return parse_datatype(document, label)
    except InvalidDatapackError as error:
        warn(label, f"the datatype in its 'meta' is ignored: {error}")
        return None


def _is_document(text: str | bytes) -> bool:
    start = text.lstrip()[:1]
    return start in {"{", b"{"}


@cache
def _published() -> DatatypeRegistry:
    folder = files("rinofs.datapack").joinpath("data")
    documents = sorted((entry for entry in folder.iterdir()), key=lambda entry: entry.name)
    return DatatypeRegistry(parse_datatype(entry.read_bytes(), entry.name) for entry in documents)
