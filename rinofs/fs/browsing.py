"""Looking around in a filesystem of either service."""

from __future__ import annotations

from glob import has_magic
from typing import TYPE_CHECKING, Any

from rinofs.errors import NotFoundError
from rinofs.fs import browse
from rinofs.fs.base import RemoteFileSystem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from rinofs.fs.browse import Info


class BrowsableFileSystem(RemoteFileSystem):
    """A filesystem in which one can look around; the parameters are those of its base."""

    def info(self, path: str, **kwargs: Any) -> Info:
        """Describe what is at a path.

        Parameters
        ----------
        path : str
            The path.
        **kwargs
            ``refresh=True`` asks the service even if the answer is in memory; ``sizes=False`` does not ask
            for a size that is not known.

        Returns
        -------
        dict
            ``name``, ``size`` in bytes, ``type`` (``file``, ``directory`` or ``other``) and what the service
            knows beyond.

        Raises
        ------
        NotFoundError
            If there is nothing.
        """
        path = self._strip_protocol(path)
        if kwargs.get("refresh"):
            self.invalidate_cache(path)
        info = self._info(path)
        if kwargs.get("sizes", True):
            self.measure([info])
        return info

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> list[Any]:
        """List a folder, or describe a file.

        Parameters
        ----------
        path : str
            The path.
        detail : bool
            Whether to return infos rather than paths.
        **kwargs
            ``refresh=True`` asks the service even if the answer is in memory.

        Returns
        -------
        list of dict or list of str
            What is there, in order of path.
        """
        path = self._strip_protocol(path)
        if kwargs.get("refresh"):
            self.invalidate_cache(path)
        try:
            if not detail:
                return sorted(self.names_in(path))
            infos = self.ls_folder(path)
        except NotADirectoryError:
            infos = [self._info(path)]
        infos.sort(key=lambda info: str(info["name"]))
        if detail and kwargs.get("sizes", True):
            self.measure(infos)
        return infos if detail else [info["name"] for info in infos]

    def exists(self, path: str, **kwargs: Any) -> bool:
        """Tell whether there is something at a path; what keeps it from being known is raised."""
        try:
            self.info(path, **{**kwargs, "sizes": False})
        except browse.ABSENT:
            return False
        return True

    def _type(self, path: str) -> str | None:
        try:
            return str(self.info(path, sizes=False)["type"])
        except browse.ABSENT:
            return None

    def isdir(self, path: str) -> bool:
        """Tell whether there is a folder at a path; what keeps it from being known is raised."""
        return self._type(path) == "directory"

    def isfile(self, path: str) -> bool:
        """Tell whether there is a file at a path; what keeps it from being known is raised."""
        return self._type(path) == "file"

    def find(
        self,
        path: str,
        maxdepth: int | None = None,
        withdirs: bool = False,
        detail: bool = False,
        **kwargs: Any,
    ) -> Any:
        """List all files below a path.

        Parameters
        ----------
        path : str
            Where to begin; a file is found below itself.
        maxdepth : int, optional
            Levels to go down; all by default.
        withdirs : bool
            Whether to list folders too.
        detail : bool
            Whether to return infos by path rather than paths.
        **kwargs
            ``refresh=True`` asks the service even if the answer is in memory.

        Returns
        -------
        list of str or dict
            The files in order of path; none if there is nothing at the path.
        """
        path = self._strip_protocol(path)
        if kwargs.get("refresh"):
            self.invalidate_cache(path)
        found = browse.find(self, path, maxdepth, withdirs)
        if detail and kwargs.get("sizes", True):
            self.measure(found.values())
        return found if detail else list(found)

    def walk(
        self,
        path: str,
        maxdepth: int | None = None,
        topdown: bool = True,
        on_error: str | Callable[[OSError], Any] = "omit",
        **kwargs: Any,
    ) -> Iterator[tuple[str, Any, Any]]:
        """Go through a folder and all below it, as `os.walk` does; only what is not there is omitted."""
        detail = bool(kwargs.get("detail", False))
        rows = browse.walk(self, self._strip_protocol(path), maxdepth, topdown, on_error, detail)
        return self._measured(rows) if detail else rows

    def _measured(self, rows: Iterator[tuple[str, Any, Any]]) -> Iterator[tuple[str, Any, Any]]:
        for row in rows:
            self.measure(row[2].values())
            yield row

    def glob(self, path: str, maxdepth: int | None = None, **kwargs: Any) -> Any:
        """List what matches a pattern; a path that exists as it is written is found if nothing matches."""
        sizes = kwargs.pop("sizes", True) and kwargs.get("detail", False)
        found = super().glob(path, maxdepth=maxdepth, **kwargs, sizes=False)
        if sizes:
            self.measure(found.values())
        literal = self._strip_protocol(path)
        if found or not has_magic(literal) or browse.is_pattern(self, literal):
            return found
        return {literal: self.info(literal)} if kwargs.get("detail") else [literal]

    def expand_path(
        self,
        path: str | list[str],
        recursive: bool = False,
        maxdepth: int | None = None,
        assume_literal: bool = False,
        **kwargs: Any,  # noqa: ARG002 - fsspec passes on what its callers give
    ) -> list[str]:
        """Turn paths and patterns into the paths that they stand for; one that exists is never a pattern."""
        paths = path if isinstance(path, list) else [path]
        if assume_literal and not recursive:
            return sorted(map(self._strip_protocol, paths))
        return list(browse.expand(self, paths, recursive, maxdepth))

    def du(
        self,
        path: str,
        total: bool = True,
        maxdepth: int | None = None,
        withdirs: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Return the bytes below a path: their sum, or by path."""
        found = self.find(path, maxdepth, withdirs, detail=True, **kwargs)
        sizes = {name: info["size"] or 0 for name, info in found.items()}
        return sum(sizes.values()) if total else sizes

    def created(self, path: str) -> datetime:
        """Return when the first version of a file, or a folder, came to be, in UTC."""
        return self._moment(path, "created")

    def modified(self, path: str) -> datetime:
        """Return when the content of a file came to be, in UTC."""
        return self._moment(path, "modified")

    def _moment(self, path: str, which: str) -> datetime:
        moment: datetime | None = self.info(path).get(which)
        if moment is None:
            raise NotFoundError(f"the service does not say when this was {which}", self.url(path))
        return moment
