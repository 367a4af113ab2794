"""The datatypes that are known by name or UUID: the published ones, and those of one's own folders."""

from __future__ import annotations

import difflib
import warnings
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rinofs.datapack.datatypes.datatype import Datatype, DatatypeWarning, parse_datatype
from rinofs.errors import UnknownDatatypeError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator


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
            raise UnknownDatatypeError(f"no datatype is called {name!r}; there is {known or 'none at all'}")
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
                f"datatype {datatype.name}: its id {datatype.id} is that of {holder.name};"
                " it is found by its name alone",
                DatatypeWarning,
                stacklevel=4,
            )
        elif datatype.id:
            self._by_id[datatype.id] = datatype
        self._by_name[datatype.name.lower()] = datatype


@cache
def _published() -> DatatypeRegistry:
    folder = files("rinofs.datapack").joinpath("data")
    documents = sorted((entry for entry in folder.iterdir()), key=lambda entry: entry.name)
    return DatatypeRegistry(parse_datatype(entry.read_bytes(), entry.name) for entry in documents)
