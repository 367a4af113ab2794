"""The fsspec filesystem over any backend: every method, in fsspec's order.

The module is long because fsspec has many methods with many parameters. Each has at most ten statements, and
hands its work to `browse`, `reading`, `writing` or `changing`.
"""

from __future__ import annotations

import io
import os
import shutil
from abc import abstractmethod
from glob import has_magic
from typing import IO, TYPE_CHECKING, Any, ClassVar, cast

from fsspec.callbacks import DEFAULT_CALLBACK
from fsspec.spec import AbstractFileSystem
from fsspec.utils import stringify_path

from rinofs.credentials import find_credentials
from rinofs.fs import display
from rinofs.fs.backend import ABSENT, Upload
from rinofs.fs.browse import Browser
from rinofs.fs.changing import Changing
from rinofs.fs.files.reader import RemoteReader
from rinofs.fs.files.writer import OpenMode, TextWriter, compressed
from rinofs.fs.instances import Instances, remake
from rinofs.fs.reading import Reading
from rinofs.fs.transfer import plans
from rinofs.fs.transfer.pool import FileErrors, Stop, run
from rinofs.fs.values import attributes_of
from rinofs.fs.writing.transaction import StagedTransaction
from rinofs.fs.writing.whole_files import Writing, write_mode
from rinofs.options import OPTION_NAMES, Options, check_cache_type, refuse_unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    from fsspec.callbacks import Callback

    from rinofs.credentials import Credentials, Service
    from rinofs.fs.backend import Backend, Info, Sidecars
    from rinofs.fs.transfer.plans import Paths
    from rinofs.fs.transfer.pool import OnError

_OWN_OPTIONS = OPTION_NAMES | {"endpoint_url", "token", "profile"}
_DEFAULT = Options()
_TEXT_OPTIONS = ("encoding", "errors", "newline")


class RemoteFileSystem(AbstractFileSystem, metaclass=Instances):  # type: ignore[misc]
    """Files of a service. See fsspec's documentation for what this page does not repeat.

    Parameters
    ----------
    endpoint_url : str, optional
        URL of the service.
    token : str, optional
        API or access token. By default from fsspec's configuration or environment, else from the profile.
    profile : str, optional
        Name of a login that ``rinofs login`` stored.
    timeout : float
        Seconds without any data from the endpoint until a request fails.
    max_concurrency : int
        Maximum number of concurrent requests.
    use_listings_cache : bool
        Whether to cache listings.
    listings_expiry_time : float
        Seconds until a cached listing expires; 0 disables the cache.
    block_size : int
        Maximum number of bytes that a sequential read requests at once.
    cache_type : str
        ``rinofs``, shared by all files of the process, or the name of one of fsspec's caches.
    verify_content : bool
        Whether to compare whole files with the service's digest.
    parallel_ranges : int
        Connections that `get` and `get_file` use for one large file; 0 for up to four if a single connection
        is slow.
    direct : bool
        Whether large contents are read from the object store of the server, where it has one.
    **fsspec_options
        Other options of fsspec; unknown options are refused.

    Raises
    ------
    InvalidOptionError
        If an option does not exist or its value is not valid.
    CredentialsError
        If there is no token for the endpoint.
    """

    service: ClassVar[Service]
    transaction_type = StagedTransaction
    root_marker = ""

    def __init__(
        self,
        *,
        endpoint_url: str | None = None,
        token: str | None = None,
        profile: str | None = None,
        timeout: float = _DEFAULT.timeout,
        max_concurrency: int = _DEFAULT.max_concurrency,
        use_listings_cache: bool = _DEFAULT.use_listings_cache,
        listings_expiry_time: float = _DEFAULT.listings_expiry_time,
        block_size: int = _DEFAULT.block_size,
        cache_type: str = _DEFAULT.cache_type,
        verify_content: bool = _DEFAULT.verify_content,
        parallel_ranges: int = _DEFAULT.parallel_ranges,
        direct: bool = _DEFAULT.direct,
        **fsspec_options: Any,
    ) -> None:
        refuse_unknown(fsspec_options, _OWN_OPTIONS)
        super().__init__()
        self.options = Options(
            timeout=timeout,
            max_concurrency=max_concurrency,
            use_listings_cache=use_listings_cache,
            listings_expiry_time=listings_expiry_time,
            block_size=block_size,
            cache_type=cache_type,
            verify_content=verify_content,
            parallel_ranges=parallel_ranges,
            direct=direct,
        )
        self.blocksize = self.options.block_size
        credentials = find_credentials(self.service, endpoint_url=endpoint_url, token=token, profile=profile)
        self.endpoint_url = credentials.endpoint_url
        self._identity = credentials.identity
        url, strip, most = f"{self._protocols()[0]}://{{}}".format, self._strip_protocol, max_concurrency
        self._backend = self._connect(credentials, url)
        self._browser = Browser(self._backend, strip, most)
        self._reading = Reading(self._backend, strip, self.options)
        self._writing = Writing(self._backend, strip, url, most)

    @abstractmethod
    def _connect(self, credentials: Credentials, url: Callable[[str], str]) -> Backend:
        """Return the backend for an endpoint and a user, without sending a request.

        Parameters
        ----------
        credentials : Credentials
            Endpoint and token.
        url : callable
            Converts a path to its URL for messages.
        """

    @property
    def _changing(self) -> Changing:
        """What carries out one change; it acts on nothing that was known before."""
        backend, strip, most = self._backend.anew(), self._strip_protocol, self.options.max_concurrency
        return Changing(backend, Browser(backend, strip, most), strip, self.url, most)

    @property
    def fsid(self) -> str:
        """Identifier of the filesystem: endpoint and user."""
        return f"{self.service.name}+{self.endpoint_url}#{self._identity}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.endpoint_url}>"

    def _repr_html_(self) -> str:
        """Return HTML for notebooks: endpoint and user, never the token."""
        user = self._identity.removeprefix("user:") if self._identity.startswith("user:") else None
        about = {"endpoint": self.endpoint_url, "user": user or "whose token was given"}
        return display.facts(type(self).__name__, about)

    def __reduce__(self) -> tuple[Any, ...]:
        return remake, (type(self), self.storage_options)

    # Paths

    @classmethod
    def _protocols(cls) -> tuple[str, ...]:
        return (cls.protocol,) if isinstance(cls.protocol, str) else tuple(cls.protocol)

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(item) for item in path]
        bare = stringify_path(path)
        if not isinstance(bare, str):
            raise TypeError(f"{path!r}: a path must be a string or os.PathLike, not {type(path).__name__}")
        for protocol in cls._protocols():
            bare = bare.removeprefix(f"{protocol}://")
        return bare.strip("/")

    def unstrip_protocol(self, name: str | os.PathLike[str]) -> str:
        """Return the URL of a path."""
        return str(super().unstrip_protocol(stringify_path(name)))

    def url(self, path: str) -> str:
        """Return the URL of a path, for messages."""
        return self.unstrip_protocol(path)

    def _path(self, path: Any, given: Mapping[str, Any]) -> str:
        """Return the path without protocol; ``refresh=True`` clears the caches for it."""
        bare = self._strip_protocol(path)
        if not isinstance(bare, str):
            raise TypeError(f"{path!r}: one path is expected, not a list")
        if given.get("refresh"):
            self.invalidate_cache(bare)
        return bare

    def invalidate_cache(self, path: str | None = None) -> None:
        """Remove a path and everything below it from the caches, by default everything."""
        self._backend.forget(None if path is None else self._strip_protocol(path))
        super().invalidate_cache(path)

    # Folders

    def mkdir(self, path: str, create_parents: bool = True, **kwargs: Any) -> None:  # noqa: ARG002
        """Create a folder; raises FileExistsError if the path exists."""
        self._changing.mkdir(self._strip_protocol(path), create_parents=create_parents)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Create a folder and its parents; raises FileExistsError if it exists, unless `exist_ok`."""
        self._backend.anew().make_folder(self._strip_protocol(path), exist_ok=exist_ok)

    def rmdir(self, path: str) -> None:
        """Remove an empty folder; raises OSError if it is not empty."""
        self._changing.rmdir(self._strip_protocol(path))

    # Metadata. These methods take ``refresh=True`` to bypass the cache, and ``sizes=False`` to omit requests
    # for sizes that listings do not contain.

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> list[Any]:
        """List a folder or describe a file: infos in order or, without `detail`, sorted paths."""
        path = self._path(path, kwargs)
        try:
            if not detail:
                return sorted(entry.path for entry in self._backend.entries(path))
            infos = self._backend.list_folder(path)
        except NotADirectoryError:
            infos = [self._backend.info(path)]
        infos.sort(key=lambda info: str(info["name"]))
        if detail and kwargs.get("sizes", True):
            self._backend.fill_sizes(infos)
        return infos if detail else [info["name"] for info in infos]

    def walk(
        self,
        path: str,
        maxdepth: int | None = None,
        topdown: bool = True,
        on_error: str | Callable[[OSError], Any] = "omit",
        **kwargs: Any,
    ) -> Iterator[tuple[str, Any, Any]]:
        """Walk a folder tree as `os.walk` does; by default, only missing folders are ignored."""
        detail = bool(kwargs.get("detail", False))
        path = self._path(path, kwargs)
        return self._browser.walk(path, maxdepth, topdown=topdown, on_error=on_error, detail=detail)

    def find(
        self,
        path: str,
        maxdepth: int | None = None,
        withdirs: bool = False,
        detail: bool = False,
        **kwargs: Any,
    ) -> Any:
        """List all files below a path, sorted; for a file, the file itself.

        What does not exist has no files. With ``detail=True`` and ``on_error="raise"``, a missing path raises
        FileNotFoundError, and so does a folder that disappears while others are listed.
        """
        path = self._path(path, kwargs)
        if not detail:
            return self._browser.find_paths(path, maxdepth, withdirs=withdirs)
        strict = kwargs.get("on_error") == "raise"
        return self._filled(self._browser.find(path, maxdepth, withdirs=withdirs, strict=strict), kwargs)

    def _filled(self, infos: dict[str, Info], given: Mapping[str, Any]) -> dict[str, Info]:
        if given.get("sizes", True):
            self._backend.fill_sizes(infos.values())
        return infos

    def du(
        self,
        path: str,
        total: bool = True,
        maxdepth: int | None = None,
        withdirs: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Return the size below a path in bytes: the sum, or by path."""
        infos = self.find(path, maxdepth, withdirs, detail=True, **kwargs)
        sizes = {name: info["size"] or 0 for name, info in infos.items()}
        return sum(sizes.values()) if total else sizes

    def glob(self, path: str, maxdepth: int | None = None, **kwargs: Any) -> Any:
        """List the matches of a pattern; if there are none, the path itself if it exists literally."""
        literal = self._path(path, kwargs)
        withdirs = bool(kwargs.get("withdirs", True))
        if not kwargs.get("detail", False):
            paths = self._browser.glob_paths(os.fspath(path), maxdepth, withdirs=withdirs)
            return paths or list(self._literally(literal, withdirs=withdirs))
        infos = self._browser.glob(os.fspath(path), maxdepth) or self._literally(literal, withdirs=True)
        if not withdirs:
            infos = {name: info for name, info in infos.items() if info["type"] != "directory"}
        return self._filled(infos, kwargs)

    def _literally(self, path: str, *, withdirs: bool) -> dict[str, Info]:
        """Return the info of a path with magic characters in its name, if there is one."""
        if not has_magic(path) or self._browser.is_pattern(path):
            return {}
        info = self._backend.info(path)
        return {path: info} if withdirs or info["type"] != "directory" else {}

    def exists(self, path: str, **kwargs: Any) -> bool:
        """Return whether a path exists; raises errors other than "not found"."""
        try:
            self._backend.info(self._path(path, kwargs))
        except ABSENT:
            return False
        return True

    def info(self, path: str, **kwargs: Any) -> Info:
        """Describe the object at a path.

        Returns
        -------
        dict
            ``name``, ``size`` in bytes, ``type`` (``file``, ``directory`` or ``other``), ``mtime`` in Unix
            seconds if the service reports it, and the service's own fields.

        Raises
        ------
        NotFoundError
            If the path does not exist.
        """
        info = self._backend.info(self._path(path, kwargs))
        if kwargs.get("sizes", True):
            self._backend.fill_sizes([info])
        return info

    def digests_of(self, info: Info) -> dict[str, str]:
        """Return the digests in an info: ``blake3``, ``sha256``, ``sha1`` or ``etag``, by name."""
        return self._backend.digests_of(info)

    def checksum(self, path: str) -> int:
        """Return an integer that changes whenever the content of a file changes."""
        return int(self.ukey(path), 16)

    def isdir(self, path: str) -> bool:
        """Return whether a path is a folder; raises errors other than "not found"."""
        return self._browser.type_of(path) == "directory"

    def isfile(self, path: str) -> bool:
        """Return whether a path is a file; raises errors other than "not found"."""
        return self._browser.type_of(path) == "file"

    # Contents. Methods that read take ``version_id`` for an earlier version. Methods that write take
    # ``metadata`` and ``tags``, ``sidecars=True`` for metadata from files beside the local ones,
    # ``new_version=True`` to create a version even if the content is unchanged, and ``if_match`` for the etag
    # that the current content must have; PreconditionError means that it has another one.

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any) -> bytes:
        """Return the content of a file or a slice of it, of one version; a whole content is verified."""
        return self._reading.read(self._strip_protocol(path), start, end, kwargs.get("version_id"))

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any) -> None:
        """Write a whole file; mode ``create`` raises FileExistsError if the path exists."""
        self._store(self._writing.upload_of(self._strip_protocol(path), value, mode, kwargs))

    def _store(self, upload: Upload) -> None:
        """Store a content now or, in a transaction, when it ends."""
        if not self._intrans:
            self._backend.send(upload)
            return
        mode = "xb" if upload.exclusive else "wb"
        storing: dict[str, Any] = {
            "metadata": upload.metadata,
            "tags": upload.tags,
            "new_version": upload.new_version,
            "if_match": upload.if_match,
        }
        with self.open(upload.path, mode, **storing) as file:
            source = upload.source
            shutil.copyfileobj(io.BytesIO(source) if isinstance(source, bytes) else source, file)

    def pipe(self, path: str | dict[str, bytes], value: bytes | None = None, **kwargs: Any) -> None:
        """Write whole files concurrently."""
        if not isinstance(path, dict) and value is None:
            raise ValueError("missing content; use pipe(path, value) or pipe({path: value, ...})")
        items = list(path.items()) if isinstance(path, dict) else [(path, cast("bytes", value))]
        self._writing.check(items)  # before anything is sent
        stop = Stop()
        if write_mode(kwargs.get("mode", "overwrite")) is OpenMode.REPLACE and not self._intrans:
            items = self._writing.pipe_small(items, kwargs, stop)
        run(lambda item: self.pipe_file(*item, **kwargs), items, self.options.max_concurrency, stop)

    def pipe_each(self, contents: Mapping[str, bytes]) -> dict[str, Exception]:
        """Write whole files, small ones together; go on after an error, and return the errors by path."""
        return self._writing.pipe_each(contents, self._store, bundled=not self._intrans)

    def cat_small(self, paths: Sequence[str]) -> list[bytes | None]:
        """Return the contents of small files by as few requests as possible.

        None stands for what has to be read by itself: it is large, it does not exist, or the service has no
        such request. `cat_file` reads it or says what is wrong.
        """
        return self._reading.small([self._strip_protocol(path) for path in paths])

    def cat_ranges(
        self,
        paths: list[str],
        starts: int | Sequence[int | None] | None,
        ends: int | Sequence[int | None] | None,
        max_gap: int | None = None,
        on_error: str = "return",
        **kwargs: Any,
    ) -> list[Any]:
        """Return ranges of files; ranges of one file have the same version and share requests.

        `max_gap` is the number of bytes between two ranges up to which one request fetches both, 64 KiB by
        default. `on_error` is ``return``, which returns an error in place of its range, or ``raise``.
        """
        if not isinstance(paths, list):
            raise TypeError("paths must be a list")
        version_id = kwargs.get("version_id")
        return self._reading.cat_ranges(paths, starts, ends, max_gap, on_error, version_id)

    def cat(
        self, path: str | list[str], recursive: bool = False, on_error: str = "raise", **kwargs: Any
    ) -> Any:
        """Return the content of a file, or a dict of contents by path."""
        paths = self.expand_path(path, recursive=recursive)
        bare = None if isinstance(path, list) else self._strip_protocol(path)
        if paths == [bare] and not (recursive and self.isdir(paths[0])):
            return self.cat_file(paths[0], **kwargs)
        if recursive:
            paths = [name for name in paths if not self.isdir(name)]
        return self._reading.cat(
            paths, lambda name: self.cat_file(name, **kwargs), on_error, bundled=not kwargs
        )

    def get_file(
        self,
        rpath: str,
        lpath: Any = None,
        callback: Callback = DEFAULT_CALLBACK,
        outfile: IO[bytes] | None = None,
        **kwargs: Any,
    ) -> None:
        """Download a file, or create a folder. The file appears only when it is complete and verified.

        Data written to `outfile`, or to an open file, before an error stays there. ``resume=True`` keeps the
        received part of a large file if the download is interrupted, and continues it the next time.
        """
        target = lpath if outfile is None else outfile
        path, resume = self._strip_protocol(rpath), kwargs.get("resume", False)
        self._reading.get_file(path, target, callback, Stop(), kwargs.get("version_id"), resume=resume)

    def get(
        self,
        rpath: Paths,
        lpath: Paths,
        recursive: bool = False,
        callback: Callback = DEFAULT_CALLBACK,
        maxdepth: int | None = None,
        *,
        resume: bool = False,
        on_error: OnError = "raise",
        **kwargs: Any,
    ) -> dict[str, Exception] | None:
        """Download files concurrently. Names that this system does not allow are changed, with a warning.

        `resume` is as for `get_file`. `on_error` is ``raise``, ``omit`` (continue with the other files),
        ``return`` (continue, and return the errors by path), or a function that is called with the path and
        the error of each failed file.
        """
        errors, sidecars = FileErrors(on_error), self._sidecars(kwargs)
        copies = plans.plan_get(self._browser, rpath, lpath, recursive, maxdepth)
        version_id = kwargs.get("version_id")
        self._reading.get(copies, callback, version_id, sidecars, resume=resume, errors=errors)
        return errors.result()

    def _sidecars(self, given: Mapping[str, Any]) -> Sidecars | None:
        return self._backend.sidecars if given.get("sidecars") else None

    def put_file(
        self,
        lpath: Any,
        rpath: str,
        callback: Callback = DEFAULT_CALLBACK,
        mode: str = "overwrite",
        **kwargs: Any,
    ) -> None:
        """Upload a file in constant memory; mode ``create`` raises FileExistsError if the path exists."""
        path, sidecars = self._strip_protocol(rpath), self._sidecars(kwargs)
        self._writing.put_file(lpath, path, callback, mode, kwargs, sidecars, self._store)

    def put(
        self,
        lpath: Paths,
        rpath: Paths,
        recursive: bool = False,
        callback: Callback = DEFAULT_CALLBACK,
        maxdepth: int | None = None,
        *,
        on_error: OnError = "raise",
        **kwargs: Any,
    ) -> dict[str, Exception] | None:
        """Upload files concurrently; `on_error` is as for `get`."""
        errors = FileErrors(on_error)
        mode = kwargs.pop("mode", "overwrite")
        write_mode(mode)
        attributes_of(kwargs)  # refuse invalid values before anything is sent
        copies = plans.plan_put(self._browser, lpath, rpath, recursive, maxdepth)
        sidecars, bundled = self._sidecars(kwargs), not self._intrans
        self._writing.put(
            copies, callback, mode, kwargs, sidecars, self._store, bundled=bundled, errors=errors
        )
        return errors.result()

    def head(self, path: str, size: int = 1024) -> bytes:
        """Return the first bytes of a file."""
        return self.cat_file(path, 0, size)

    def tail(self, path: str, size: int = 1024) -> bytes:
        """Return the last bytes of a file."""
        return self.cat_file(path, -size) if size else b""

    # Copying, moving, removing

    def cp_file(self, path1: str, path2: str, **kwargs: Any) -> None:  # noqa: ARG002 - fsspec's signature
        """Copy a file on the server, replacing an existing one; for a folder, create an empty one."""
        self._changing.cp_file(self._strip_protocol(path1), self._strip_protocol(path2))

    def copy(
        self,
        path1: Paths,
        path2: Paths,
        recursive: bool = False,
        maxdepth: int | None = None,
        on_error: OnError | None = None,
        **kwargs: Any,  # noqa: ARG002 - fsspec's signature
    ) -> dict[str, Exception] | None:
        """Copy files on the server; a whole folder in one request if the target does not exist.

        `on_error` is as for `get`; ``ignore``, the default with `recursive`, skips sources that do not exist.
        """
        on_error = on_error or ("ignore" if recursive else "raise")
        ignore = on_error == "ignore"
        errors = FileErrors("raise" if ignore else on_error)
        self._changing.copy(path1, path2, errors, recursive=recursive, maxdepth=maxdepth, ignore=ignore)
        return errors.result()

    def expand_path(
        self,
        path: str | list[str],
        recursive: bool = False,
        maxdepth: int | None = None,
        assume_literal: bool = False,
        **kwargs: Any,  # noqa: ARG002 - fsspec passes on what its callers give
    ) -> list[str]:
        """Expand patterns and folders to a list of paths; a path that exists is never a pattern."""
        paths = path if isinstance(path, list) else [path]
        if assume_literal and not recursive:
            return sorted(map(self._strip_protocol, paths))
        return list(self._browser.expand(paths, recursive=recursive, maxdepth=maxdepth))

    def mv(
        self,
        path1: Paths,
        path2: str,
        recursive: bool = True,
        maxdepth: int | None = None,
        **kwargs: Any,  # noqa: ARG002 - fsspec's signature
    ) -> None:
        """Move or rename files and folders on the server; an existing file at the target is replaced."""
        if maxdepth is not None:
            raise NotImplementedError("maxdepth is not supported: a folder is moved as a whole")
        paths = path1 if isinstance(path1, list) else [os.fspath(path1)]
        self._changing.mv(paths, os.fspath(path2), recursive=recursive)

    def rm_file(self, path: str) -> None:
        """Remove a file, or an empty folder, as fsspec's callers expect."""
        self._changing.rm_file(self._strip_protocol(path))

    def _rm(self, path: str) -> None:
        self.rm_file(path)

    def rm(self, path: Paths, recursive: bool = False, maxdepth: int | None = None) -> None:
        """Remove files and folder trees; if a path does not exist, nothing is removed."""
        paths = path if isinstance(path, list) else [os.fspath(path)]
        self._changing.rm(paths, recursive=recursive, maxdepth=maxdepth)

    @classmethod
    def _parent(cls, path: str) -> str:
        return str(cls._strip_protocol(path)).rpartition("/")[0]

    # Opening

    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        autocommit: bool = True,
        cache_options: dict[str, Any] | None = None,
        cache_type: str | None = None,
        **kwargs: Any,
    ) -> Any:
        if mode not in {"r", "rb"}:
            return self._writing.open(path, OpenMode.parse(mode), kwargs, autocommit=autocommit)
        if cache_type is not None:
            check_cache_type(cache_type)
        pinned = self._backend.pin(path, kwargs.get("version_id"))
        source = pinned.source.sized()
        return RemoteReader(
            self,
            path,
            source,
            info={**pinned.info, "size": source.size},
            version_id=pinned.version_id,
            block_size=block_size or self.options.block_size,
            cache_type=cache_type or self.options.cache_type,
            cache_options=cache_options,
        )

    def open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        cache_options: dict[str, Any] | None = None,
        compression: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """Open a file. Written data is stored when the file is closed, unless an exception is being handled.

        `mode` is ``r``, ``w`` (replace), ``a`` (append) or ``x`` (only if the path is free), with ``b`` for
        bytes. Additional options are ``cache_type``, ``version_id``, ``metadata``, ``tags``, ``new_version``
        and ``if_match``.
        """
        text = {name: kwargs.pop(name) for name in _TEXT_OPTIONS if name in kwargs}
        if mode in {"r", "rb", "rt"}:
            file = super().open(path, "rb", block_size, cache_options, compression, **kwargs)
            return file if "b" in mode else io.TextIOWrapper(file, **text)
        binary = OpenMode.parse(mode.replace("t", ""))
        writer = super().open(path, binary.value, block_size, cache_options, None, **kwargs)
        written = compressed(writer, path, compression) if compression else writer
        return written if "b" in mode else TextWriter(written, writer.fail, **text)

    def touch(self, path: str, truncate: bool = True, **kwargs: Any) -> None:
        """Create an empty file; with ``truncate=False``, raises NotImplementedError if the file exists."""
        if not truncate and self.exists(path):
            raise NotImplementedError(
                f"{self.service.name} cannot set the time of a file without writing it: {self.url(path)}"
            )
        self.pipe_file(path, b"", **kwargs)

    # Identity of files and of this filesystem

    def ukey(self, path: str) -> str:
        """Return a string that changes whenever the content of a file changes."""
        return self._backend.ukey(self._strip_protocol(path))

    def to_json(self, *, include_password: bool = False) -> str:
        """Return the options of this filesystem as JSON; with the token only if `include_password`."""
        return str(super().to_json(include_password=include_password))

    def to_dict(self, *, include_password: bool = False) -> dict[str, Any]:
        """Return the options of this filesystem; with the token only if `include_password`.

        A token from fsspec's configuration or from a profile is never included: the process that loads it has
        its own configuration.
        """
        made_of: dict[str, Any] = super().to_dict(include_password=include_password)
        if not include_password:
            made_of.pop("token", None)
        return made_of

    def created(self, path: str) -> datetime:
        """Return the creation time of a file or folder, in UTC; for a file, that of its first version."""
        return self._time(path, "created")

    def modified(self, path: str) -> datetime:
        """Return the time when the current content of a file was stored, in UTC."""
        return self._time(path, "modified")

    def _time(self, path: str, which: str) -> datetime:
        time: datetime | None = self._backend.info(self._strip_protocol(path)).get(which)
        if time is None:
            raise NotImplementedError(f"{self.url(path)}: the service does not tell when this was {which}")
        return time

    def sign(self, path: str, expiration: int = 100, **kwargs: Any) -> str:
        """Raise NotImplementedError: neither service has URLs that work without a login."""
        raise NotImplementedError(f"{self.url(path)}: {self.service.name} does not support signed URLs")
