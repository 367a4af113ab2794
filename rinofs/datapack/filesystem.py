"""``datapack://``: the files of a datapack under the names of their nodes, wherever the files are."""

from __future__ import annotations

import difflib
import errno
import os
from collections.abc import Mapping
from glob import has_magic
from typing import TYPE_CHECKING, Any

import fsspec
from fsspec import AbstractFileSystem
from fsspec.implementations.local import make_path_posix, trailing_sep
from fsspec.utils import isfilelike, other_paths, stringify_path, tokenize

from rinofs.datapack.document.model import Container, DataNode, Document, Tree
from rinofs.datapack.document.naming import DOCUMENT_NAME
from rinofs.datapack.links import Links, Place, entry_of, fill_in_sizes
from rinofs.datapack.source import DocumentSource, Files
from rinofs.errors import InvalidOptionError, InvalidPathError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import NoReturn

_OF_FSSPEC = frozenset({"add_aliases", "add_docs", "asynchronous", "batch_size", "loop", "max_paths"})
_OWN = ("fo", "target_protocol", "target_options", "repovizz", "listings_expiry_time", "use_listings_cache")


class ReadOnlyFileSystem(AbstractFileSystem):  # type: ignore[misc]
    """Refuses changes with ``EROFS``; fsspec's base class silently ignores some of them."""

    def mkdir(self, path: str, create_parents: bool = True, **kwargs: Any) -> None:  # noqa: ARG002
        """Refuse: read-only."""
        _refuse_writing(path)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Refuse, unless the container exists and `exist_ok`: read-only."""
        if not (exist_ok and self.isdir(path)):
            _refuse_writing(path)

    def rmdir(self, path: str) -> None:
        """Refuse: read-only."""
        _refuse_writing(path)

    def rm_file(self, path: str) -> None:
        """Refuse: read-only."""
        _refuse_writing(path)

    def cp_file(self, path1: str, path2: str, **kwargs: Any) -> None:  # noqa: ARG002
        """Refuse: read-only."""
        _refuse_writing(path2)


class _AbsolutePath(type(AbstractFileSystem)):  # type: ignore[misc]
    """Makes the path of a local document absolute: instances are cached and pickled with their arguments.

    It is always the option ``fo``, so that an instance and its `storage_options` are the same either way.
    """

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if args and "fo" not in kwargs:
            kwargs["fo"], *args = args  # type: ignore[assignment]
        path = stringify_path(kwargs.get("fo", ""))
        is_local = kwargs.get("target_protocol") in {None, "file", "local"} and "://" not in str(path)
        if path and is_local:
            kwargs["fo"] = make_path_posix(path)
        return super().__call__(*args, **kwargs)


class DatapackFileSystem(ReadOnlyFileSystem, metaclass=_AbsolutePath):
    """A datapack as a read-only filesystem.

    Containers are directories and data nodes are files, named as `rinofs.datapack.document.naming` defines.
    The document is ``datapack.json`` at the top level, and is not listed.

    Parameters
    ----------
    fo : str
        Path or URL of the document; in a chained URL, the part after ``::``.
    target_protocol : str, optional
        Protocol of the document's filesystem, if not part of `fo`.
    target_options : mapping, optional
        Options of the document's filesystem.
    repovizz : AbstractFileSystem or mapping, optional
        Filesystem for ``repovizz:`` links, or options of a ``repovizz`` filesystem.
    listings_expiry_time : float, optional
        Seconds until the document is checked for changes again.
    use_listings_cache : bool, optional
        Whether to cache the document; if False, it is checked at every call.

    Raises
    ------
    InvalidOptionError
        If an option does not exist.

    Examples
    --------
    >>> fs = DatapackFileSystem("data/MYO/pack.json")  # doctest: +SKIP
    >>> fs.find("")  # doctest: +SKIP
    ['IMU/Accelerometer', 'video']
    """

    protocol = "datapack"
    root_marker = ""

    def __init__(
        self,
        fo: str | os.PathLike[str] = "",
        *,
        target_protocol: str | None = None,
        target_options: Mapping[str, Any] | None = None,
        repovizz: AbstractFileSystem | Mapping[str, Any] | None = None,
        listings_expiry_time: float = 10.0,
        use_listings_cache: bool = True,
        **fsspec_options: Any,
    ) -> None:
        if self._cached:
            return
        _refuse_unknown(fsspec_options)
        super().__init__(**fsspec_options)
        if not fo:
            raise InvalidOptionError(
                "datapack needs fo=, the document: datapack://PATH::file:///DIR/datapack.json"
            )
        options = dict(target_options or {})
        if target_protocol is None:
            self._target, path = fsspec.url_to_fs(stringify_path(fo), **options)
        else:
            self._target = fsspec.filesystem(target_protocol, **options)
            path = self._target._strip_protocol(stringify_path(fo))  # noqa: SLF001 - fsspec's own way
        self._repovizz = (
            fsspec.filesystem("repovizz", **repovizz) if isinstance(repovizz, Mapping) else repovizz
        )
        age = listings_expiry_time if use_listings_cache else 0.0
        self._source = DocumentSource(Place(self._target, path), age)
        self._files = Files(self._source, Links(self._target, path, self._repovizz))

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(each) for each in path]
        bare = stringify_path(path)
        if not isinstance(bare, str):
            raise TypeError(f"{path!r}: a path must be a string or os.PathLike, not {type(path).__name__}")
        return bare.removeprefix("datapack://").strip("/")

    @property
    def document(self) -> Document:
        """The current document."""
        return self._source.tree().document

    def invalidate_cache(self, path: str | None = None) -> None:
        """Check the document for changes at the next call."""
        self._source.forget()
        self._target.invalidate_cache()
        super().invalidate_cache(path)

    def ls(self, path: str, detail: bool = True, sizes: bool = True, **kwargs: Any) -> list[Any]:  # noqa: ARG002
        """List the nodes of a container, sorted by path.

        Parameters
        ----------
        path : str
            Path of a container or a file.
        detail : bool, optional
            Whether to return infos rather than paths.
        sizes : bool, optional
            Whether to request the sizes of files; they are None otherwise.
        """
        path = self._strip_protocol(path)
        tree = self._source.tree()
        found = tree[path] if path != DOCUMENT_NAME else None
        if found is None or isinstance(found, DataNode):
            entries = [self.info(path, sizes=sizes)]
        else:
            before = f"{path}/" if path else ""
            entries = [entry_of(before + part, node) for part, node in sorted(tree.children(path).items())]
            if detail and sizes:
                self._measure(tree, entries)
        return entries if detail else [entry["name"] for entry in entries]

    def info(self, path: str, sizes: bool = True, **kwargs: Any) -> dict[str, Any]:  # noqa: ARG002
        """Describe a node.

        Returns
        -------
        dict
            ``name`` (the path), ``type``, ``size`` in bytes (None if there is no file, or its size is not
            known), ``node_name``, ``text``, ``id``; for files also ``link``, ``mime`` and ``datatype`` (a
            UUID).
        """
        path = self._strip_protocol(path)
        tree = self._source.tree()
        if path == DOCUMENT_NAME:
            entry: dict[str, Any] = {"name": path, "type": "file", "size": None, "mime": "application/json"}
        else:
            entry = entry_of(path, tree[path])
        if sizes:
            self._measure(tree, [entry])
        return entry

    def exists(self, path: str, **kwargs: Any) -> bool:  # noqa: ARG002
        """Return whether a node exists; its file may be missing."""
        tree = self._source.tree_if_there()
        path = self._strip_protocol(path)
        return tree is not None and (path in tree or path == DOCUMENT_NAME)

    def isdir(self, path: str) -> bool:
        """Return whether a path is a container or the datapack itself."""
        tree = self._source.tree_if_there()
        return tree is not None and isinstance(tree.get(self._strip_protocol(path)), (Container, Document))

    def isfile(self, path: str) -> bool:
        """Return whether a path is a data node."""
        return self.exists(path) and not self.isdir(path)

    def walk(
        self,
        path: str,
        maxdepth: int | None = None,
        topdown: bool = True,
        detail: bool = False,
        **kwargs: Any,
    ) -> Iterator[tuple[str, Any, Any]]:
        """Walk through containers as ``os.walk`` does; requests sizes only with `detail`."""
        sizes = kwargs.pop("sizes", detail)
        # Not in fsspec's walk, which treats every error as an empty directory.
        tree = self._source.tree_if_there()
        for row in super().walk(path, maxdepth, topdown, detail=detail, sizes=False, **kwargs):
            if tree is not None and sizes:
                self._measure(tree, row[2].values())
            yield row

    def find(
        self,
        path: str,
        maxdepth: int | None = None,
        withdirs: bool = False,
        detail: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Return the paths of all files below a path, or a dict of their infos with `detail`."""
        sizes = kwargs.pop("sizes", detail)
        tree = self._source.tree_if_there()
        found = super().find(path, maxdepth, withdirs, detail=True, sizes=False, **kwargs)
        if tree is not None and detail and sizes:
            self._measure(tree, found.values())
        return found if detail else list(found)

    def glob(self, path: str, maxdepth: int | None = None, **kwargs: Any) -> Any:
        """Return the paths that match a pattern, or a dict of their infos with ``detail=True``."""
        kwargs.setdefault("sizes", kwargs.get("detail", False))
        return super().glob(path, maxdepth, **kwargs)

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any) -> bytes:
        """Return the content of a file, or a range of it."""
        path = self._strip_protocol(path)
        place = self._files.place(path)
        return self._of(path, lambda: place.fs.cat_file(place.path, start=start, end=end, **kwargs))  # type: ignore[no-any-return]

    def get(
        self, rpath: Any, lpath: Any, recursive: bool = False, maxdepth: int | None = None, **kwargs: Any
    ) -> None:
        """Copy files, patterns of files, or (with `recursive`) containers to a local path."""
        if isinstance(rpath, str) and not isinstance(lpath, list):
            rpath, lpath = _download_plan(self, rpath, lpath, recursive, maxdepth)
        super().get(rpath, lpath, recursive, maxdepth=maxdepth, **kwargs)

    def get_file(self, rpath: str, lpath: Any, **kwargs: Any) -> None:
        """Copy a file to a local path or file object; for a container, create a folder."""
        rpath = self._strip_protocol(rpath)
        if self.isdir(rpath):
            os.makedirs(lpath, exist_ok=True)  # noqa: PTH103 - as fsspec: lpath may be bytes or str
            return
        place = self._files.place(rpath)
        if not isfilelike(lpath):
            _make_parent(lpath)
        self._of(rpath, lambda: place.fs.get_file(place.path, lpath, **kwargs))

    def _open(self, path: str, mode: str = "rb", block_size: Any = None, **kwargs: Any) -> Any:
        if mode != "rb":
            _refuse_writing(path)
        kwargs.pop("autocommit", None)
        place = self._files.place(path)
        return self._of(path, lambda: place.fs.open(place.path, mode="rb", block_size=block_size, **kwargs))

    def ukey(self, path: str) -> str:
        """Return a string that changes whenever the content of a file changes."""
        path = self._strip_protocol(path)
        if self.isdir(path):
            return tokenize(self.info(path))  # type: ignore[no-any-return]
        place = self._files.place(path)
        return str(self._of(path, lambda: place.fs.ukey(place.path)))

    def checksum(self, path: str) -> int:
        """Return an integer that changes whenever the content of a file changes."""
        path = self._strip_protocol(path)
        place = self._files.place(path)
        return int(self._of(path, lambda: place.fs.checksum(place.path)))

    def created(self, path: str) -> Any:
        """Return the creation time of a file, if its filesystem reports it."""
        place = self._files.place(self._strip_protocol(path))
        return place.fs.created(place.path)

    def modified(self, path: str) -> Any:
        """Return the modification time of a file, if its filesystem reports it."""
        place = self._files.place(self._strip_protocol(path))
        return place.fs.modified(place.path)

    def to_dict(self, *, include_password: bool = True) -> dict[str, Any]:
        """Return the options as JSON values; inner filesystems decide whether to include their secrets."""
        shown: dict[str, Any] = super().to_dict(include_password=include_password)
        for option, fs in (("target_options", self._target), ("repovizz", self._repovizz)):
            if fs is not None and isinstance(self.storage_options.get(option), Mapping):
                inner = fs.to_dict(include_password=include_password)
                shown[option] = {key: inner[key] for key in inner.keys() - {"cls", "protocol", "args"}}
        return shown

    def _of(self, path: str, work: Callable[[], Any]) -> Any:
        try:
            return work()
        except FileNotFoundError as error:
            if path == DOCUMENT_NAME:
                raise
            link = self.info(path, sizes=False)["link"]
            message = f"the file of this node does not exist: {link}"
            raise FileNotFoundError(errno.ENOENT, message, path) from error

    def _measure(self, tree: Tree, entries: Iterable[dict[str, Any]]) -> None:
        """Set the sizes of files."""
        fill_in_sizes(entries, lambda entry: self._files.usable_place(tree, entry))


def _refuse_unknown(options: Mapping[str, Any]) -> None:
    for name in options.keys() - _OF_FSSPEC:
        similar = difflib.get_close_matches(name, _OWN, n=1)
        hint = f"did you mean {similar[0]!r}?" if similar else f"the options are {', '.join(_OWN)}"
        raise InvalidOptionError(f"unknown option {name!r}; {hint}")


def _refuse_writing(path: str) -> NoReturn:
    """Raise the error of a read-only filesystem."""
    message = "datapack:// is read-only; edit the document with rinofs.datapack.document.edits"
    raise OSError(errno.EROFS, message, path)


def _download_plan(
    fs: AbstractFileSystem, source: str, target: Any, recursive: bool, maxdepth: int | None
) -> tuple[list[str], list[str]]:
    """Assign a local path to each node that a path or pattern stands for, as fsspec's ``get`` defines it.

    Returns
    -------
    tuple of two lists of str
        Paths of nodes, and their targets.

    Raises
    ------
    InvalidPathError
        If a node's name would lead out of the target folder.
    """
    target = make_path_posix(stringify_path(target))
    path = fs._strip_protocol(source)  # noqa: SLF001 - fsspec's own way
    pattern = has_magic(path) and not fs.exists(path)
    if pattern:
        paths = fs.expand_path(path, recursive=recursive, maxdepth=maxdepth)
    else:
        below = fs.find(path, maxdepth=maxdepth, withdirs=True) if recursive else []
        paths = sorted({path, *below})
    if not recursive or maxdepth is not None:
        paths = [each for each in paths if not fs.isdir(each)]
    if not paths:
        return [], []
    into = trailing_sep(target) or os.path.isdir(target)  # noqa: PTH112 - posix, also on Windows
    inside = len(paths) == 1 if pattern else into and not trailing_sep(source)
    # fsspec would take the names at the top level for their parent folder if they had no leading slash.
    targets = other_paths([f"/{each}" for each in paths], target, exists=inside)
    for where in targets:
        _refuse_outside(target, where)
    return paths, targets


def _refuse_outside(target: str, where: str) -> None:
    # A name may contain a backslash, and with it "..", on systems where it separates names.
    inner, outer = os.path.abspath(where), os.path.abspath(target)  # noqa: PTH100
    if inner != outer and not inner.startswith(outer.rstrip(os.sep) + os.sep):
        raise InvalidPathError(f"{where!r} is outside {target!r}")


def _make_parent(lpath: Any) -> None:
    """Create the parent folder of a local path."""
    if parent := os.path.dirname(stringify_path(lpath).rstrip("/")):  # noqa: PTH120 - as fsspec
        os.makedirs(parent, exist_ok=True)  # noqa: PTH103
