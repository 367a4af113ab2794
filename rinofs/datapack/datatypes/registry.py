"""The datatypes that are known by name or UUID, and which of them a file is of."""

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
"""Names a folder or URL of datatypes that are always known."""


class DatatypeRegistry:
    """Datatypes by name and by UUID; a value that `extended` makes another of.

    Of two datatypes that claim one UUID the first keeps it, and the other is found by its name alone, since
    documents are copied and their ids forgotten. Of two with one name, the later one has it.

    Parameters
    ----------
    datatypes : iterable of Datatype
        What it knows.
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
        """Return a registry that knows further datatypes."""
        return DatatypeRegistry([*self, *more])

    def extended_by_folder(self, folder: str | os.PathLike[str]) -> DatatypeRegistry:
        """Return a registry that knows the datatypes of the ``.json`` files in a folder too.

        Raises
        ------
        InvalidDatapackError
            If a file is no datatype's document; the message names it.
        FileNotFoundError
            If there is no such folder.
        """
        paths = sorted(path for path in Path(folder).iterdir() if path.suffix == ".json")
        return self.extended(*(parse_datatype(path.read_bytes(), str(path)) for path in paths))

    def extended_by_url(self, url: str, **storage_options: Any) -> DatatypeRegistry:
        """Return a registry that knows the datatypes at a URL too.

        Parameters
        ----------
        url : str
            A document (``.json``), or a folder of documents, on any filesystem of fsspec.
        **storage_options
            Of that filesystem.

        Raises
        ------
        InvalidDatapackError
            If a file is no datatype's document; the message names it.
        FileNotFoundError
            If there is nothing at the URL.
        """
        from fsspec.core import url_to_fs

        fs, path = url_to_fs(url, **storage_options)
        whole = path.endswith(".json") and not fs.isdir(path)
        paths = [path] if whole else sorted(one for one in fs.ls(path, detail=False) if one.endswith(".json"))
        found = {one: fs.cat_file(one) for one in paths}
        return self.extended(*(parse_datatype(data, fs.unstrip_protocol(one)) for one, data in found.items()))

    def __getitem__(self, name: str) -> Datatype:
        """Return a datatype by UUID or name, either in any case.

        Raises
        ------
        UnknownDatatypeError
            If there is none; the message names similar ones.
        """
        found = self.get(name)
        if found is None:
            similar = difflib.get_close_matches(name.lower(), self._by_name, n=3)
            known = ", ".join(self._by_name[key].name for key in similar or self._by_name)
            raise UnknownDatatypeError(f"unknown datatype {name!r}; known: {known or 'none'}")
        return found

    def get(self, name: str) -> Datatype | None:
        """Return a datatype by UUID or name, None where there is none."""
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
    """Return the registry to look datatypes up in.

    Parameters
    ----------
    datatypes : DatatypeRegistry, str or path-like, optional
        A registry, or a folder or URL with documents to know beside the published ones. By default the one
        that the environment variable ``RINOFS_DATATYPES`` names.

    Raises
    ------
    InvalidOptionError
        If it is anything else.
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
    """Return the datatype that a user names.

    Parameters
    ----------
    datatype : Datatype, str, bytes or mapping
        The datatype, its name or UUID, or its document, as JSON text or as an object.
    registry : DatatypeRegistry
        Where names are looked up.

    Raises
    ------
    UnknownDatatypeError
        If none is called so.
    InvalidDatapackError
        If a document is none.
    InvalidOptionError
        If it is anything else.
    """
    if datatype is None or isinstance(datatype, Datatype):
        return datatype
    if isinstance(datatype, dict) or (isinstance(datatype, (str, bytes)) and _is_document(datatype)):
        return parse_datatype(datatype, "datatype=")
    if isinstance(datatype, str):
        return registry[datatype]
    raise InvalidOptionError(f"datatype= takes a name, a UUID or a document, not {type(datatype).__name__}")


def datatype_of_node(node: DataNode | None, registry: DatatypeRegistry, label: str) -> Datatype | None:
    """Return the datatype of a node: its own document's, else the registry's; warn where there is neither."""
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
