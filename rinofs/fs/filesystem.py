"""The filesystem that fsspec and its users see, in front of any backend: every method, in fsspec's order."""

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
    from rinofs.fs.transfer.plans import Copy, Paths
    from rinofs.fs.transfer.pool import OnError

_OWN_OPTIONS = OPTION_NAMES | {"endpoint_url", "token", "profile"}
_DEFAULT = Options()
_TEXT_OPTIONS = ("encoding", "errors", "newline")


class RemoteFileSystem(AbstractFileSystem, metaclass=Instances):  # type: ignore[misc]
    """Files of a service. What fsspec's own documentation says of a method is not repeated here.

    Parameters
    ----------
    endpoint_url : str, optional
        Where the service is.
    token : str, optional
        The API or access token. By default the one in fsspec's configuration or environment, else that of
        the profile.
    profile : str, optional
        A stored login, as ``rinofs login`` makes them.
    timeout : float
        Seconds that the endpoint may be silent before a request fails.
    max_concurrency : int
        Requests under way at once, at most.
    use_listings_cache : bool
        Whether listings may be answered from memory.
    listings_expiry_time : float
        Seconds for which a listing may be answered from memory; 0 always asks.
    block_size : int
        Bytes that a sequential read asks for in one request, at most.
    cache_type : str
        ``rinofs``, shared by all files of the process, or the name of any of fsspec's own caches.
    verify_content : bool
        Whether whole files are checked against the digest that the service vouches for.
    parallel_ranges : int
        Connections that `get` and `get_file` use for one large file; 0 for up to four where one
        is held back.
    **fsspec_options
        fsspec's own; anything else is refused.

    Raises
    ------
    InvalidOptionError
        If an option does not exist or does not take the value.
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
        self._changing = Changing(self._backend, self._browser, strip, url, most)

    @abstractmethod
    def _connect(self, credentials: Credentials, url: Callable[[str], str]) -> Backend:
        """Return the backend for an endpoint and a user; nothing is sent.

        Parameters
        ----------
        credentials : Credentials
            Endpoint and token.
        url : callable
            Turns a path into what messages call it.
        """

    @property
    def fsid(self) -> str:
        """The endpoint and the user."""
        return f"{self.service.name}+{self.endpoint_url}#{self._identity}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.endpoint_url}>"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: where it is and whose, without the token."""
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
        bare = str(stringify_path(path))
        for protocol in cls._protocols():
            bare = bare.removeprefix(f"{protocol}://")
        return bare.strip("/")

    def unstrip_protocol(self, name: str | os.PathLike[str]) -> str:
        """Return the URL of a path."""
        return str(super().unstrip_protocol(stringify_path(name)))

    def url(self, path: str) -> str:
        """Return the URL of a path, for messages."""
        return self.unstrip_protocol(path)

    @classmethod
    def _parent(cls, path: str) -> str:
        return str(cls._strip_protocol(path)).rpartition("/")[0]

    def _path(self, path: Any, given: Mapping[str, Any]) -> str:
        """Return a bare path; ``refresh=True`` forgets what is known of it."""
        bare = str(self._strip_protocol(path))
        if given.get("refresh"):
            self.invalidate_cache(bare)
        return bare

    def invalidate_cache(self, path: str | None = None) -> None:
        """Forget what is known of a path and all below it, by default everything."""
        self._backend.forget(None if path is None else self._strip_protocol(path))
        super().invalidate_cache(path)

    # Folders

    def mkdir(self, path: str, create_parents: bool = True, **kwargs: Any) -> None:  # noqa: ARG002
        """Make a folder; raises FileExistsError if something is there."""
        self._changing.mkdir(self._strip_protocol(path), create_parents=create_parents)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Make a folder and those on the way; raises FileExistsError if it is there, unless `exist_ok`."""
        self._backend.make_folder(self._strip_protocol(path), exist_ok=exist_ok)

    def rmdir(self, path: str) -> None:
        """Remove a folder; raises OSError if there is something in it."""
        self._changing.rmdir(self._strip_protocol(path))

    # Looking around. These take ``refresh=True`` to ask the service even if the answer is in memory, and
    # ``sizes=False`` not to ask for sizes that listings lack.

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> list[Any]:
        """List a folder, or describe a file: infos as of `info` or, without `detail`, paths, in order."""
        path = self._path(path, kwargs)
        try:
            if not detail:
                return sorted(self._backend.names(path))
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
        """Go through a folder and all below it, as `os.walk` does; only what is not there is omitted."""
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
        """List all files below a path, in order; a file is found below itself."""
        infos = self._browser.find(self._path(path, kwargs), maxdepth, withdirs=withdirs)
        return self._told(infos, kwargs, detail=detail)

    def _told(self, infos: dict[str, Info], given: Mapping[str, Any], *, detail: bool) -> Any:
        if detail and given.get("sizes", True):
            self._backend.fill_sizes(infos.values())
        return infos if detail else list(infos)

    def du(
        self,
        path: str,
        total: bool = True,
        maxdepth: int | None = None,
        withdirs: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Return the bytes below a path: their sum, or by path."""
        infos = self.find(path, maxdepth, withdirs, detail=True, **kwargs)
        sizes = {name: info["size"] or 0 for name, info in infos.items()}
        return sum(sizes.values()) if total else sizes

    def glob(self, path: str, maxdepth: int | None = None, **kwargs: Any) -> Any:
        """List what matches a pattern; a path that exists as it is written is found if nothing matches."""
        literal = self._path(path, kwargs)
        infos = self._browser.glob(os.fspath(path), maxdepth)
        if not infos and has_magic(literal) and not self._browser.is_pattern(literal):
            infos = {literal: self._backend.info(literal)}
        if not kwargs.get("withdirs", True):
            infos = {name: info for name, info in infos.items() if info["type"] != "directory"}
        return self._told(infos, kwargs, detail=bool(kwargs.get("detail", False)))

    def exists(self, path: str, **kwargs: Any) -> bool:
        """Tell whether there is something at a path; what keeps it from being known is raised."""
        try:
            self._backend.info(self._path(path, kwargs))
        except ABSENT:
            return False
        return True

    def info(self, path: str, **kwargs: Any) -> Info:
        """Describe what is at a path.

        Returns
        -------
        dict
            ``name``, ``size`` in bytes, ``type`` (``file``, ``directory`` or ``other``), ``mtime`` where the
            service knows it, and what the service knows beyond.

        Raises
        ------
        NotFoundError
            If there is nothing.
        """
        info = self._backend.info(self._path(path, kwargs))
        if kwargs.get("sizes", True):
            self._backend.fill_sizes([info])
        return info

    def digests_of(self, info: Info) -> dict[str, str]:
        """Return the digests that an info tells of a content: ``sha256``, ``sha1`` or ``etag``, by name."""
        return self._backend.digests_of(info)

    def checksum(self, path: str) -> int:
        """Return a number that changes with the content of a file."""
        return int(self.ukey(path), 16)

    def isdir(self, path: str) -> bool:
        """Tell whether there is a folder at a path; what keeps it from being known is raised."""
        return self._browser.type_of(path) == "directory"

    def isfile(self, path: str) -> bool:
        """Tell whether there is a file at a path; what keeps it from being known is raised."""
        return self._browser.type_of(path) == "file"

    # Contents. Those that read take ``version_id`` for an earlier version, those that write ``metadata`` and
    # ``tags`` to store with the content, or ``sidecars=True`` for metadata in files beside the local ones,
    # ``new_version=True`` for a new version even if the very content is there, and ``if_match`` for the etag
    # that the content to be replaced must have; PreconditionError says that it is another one.

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any) -> bytes:
        """Return the content of a file, or a part of it as slices do: of one version, checked if whole."""
        return self._reading.read(self._strip_protocol(path), start, end, kwargs.get("version_id"))

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any) -> None:
        """Write a whole file; with mode ``create``, raises FileExistsError if something is there."""
        self._store(self._writing.upload_of(self._strip_protocol(path), value, mode, kwargs))

    def _store(self, upload: Upload) -> None:
        """Store a content now or, in a transaction, at its end."""
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
        """Write whole files, several at a time."""
        if not isinstance(path, dict) and value is None:
            raise ValueError("missing content; use pipe(path, value) or pipe({path: value, ...})")
        items = list(path.items()) if isinstance(path, dict) else [(path, cast("bytes", value))]
        stop = Stop()
        if write_mode(kwargs.get("mode", "overwrite")) is OpenMode.REPLACE and not self._intrans:
            items = self._writing.pipe_small(items, kwargs, stop)
        run(lambda item: self.pipe_file(*item, **kwargs), items, self.options.max_concurrency, stop)

    def cat_ranges(
        self,
        paths: list[str],
        starts: int | Sequence[int | None] | None,
        ends: int | Sequence[int | None] | None,
        max_gap: int | None = None,
        on_error: str = "return",
        **kwargs: Any,
    ) -> list[Any]:
        """Return parts of files; parts of one file are of one version, and share requests.

        `max_gap` is how many bytes between two parts are fetched along, 64 KiB by default. `on_error` puts
        an error in the place of its part (``return``), or raises it (``raise``).
        """
        if not isinstance(paths, list):
            raise TypeError("paths must be a list")
        version_id = kwargs.get("version_id")
        return self._reading.cat_ranges(paths, starts, ends, max_gap, on_error, version_id)

    def cat(
        self, path: str | list[str], recursive: bool = False, on_error: str = "raise", **kwargs: Any
    ) -> Any:
        """Return the content of a file, or of many by path."""
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
        """Download a file. It appears under its name only when it is complete and checked; a folder is made.

        What was written to `outfile`, or to an open file, before an error stays there. ``resume=True`` keeps
        what arrived of a large file if the download breaks off, and continues there the next time.
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
        """Download files, several at a time. Names that this machine cannot hold are changed, with a warning.

        `resume` is as for `get_file`. `on_error` raises the first error (``raise``), or goes on with the
        other files (``omit``) and returns errors by path (``return``); a function is called with the path
        and the error of each file that fails.
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
        """Upload a file, in constant memory; with mode ``create``, only if nothing is there."""
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
        """Upload files, several at a time; `on_error` is as for `get`."""
        errors = FileErrors(on_error)
        mode = kwargs.pop("mode", "overwrite")
        write_mode(mode)
        attributes_of(kwargs)  # what cannot be stored is refused before anything is sent
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
        """Copy a file on the server, replacing a file that is there; of a folder an empty one is made."""
        self._changing.cp_file(self._strip_protocol(path1), self._strip_protocol(path2))

    def copy(
        self,
        path1: Paths,
        path2: Paths,
        recursive: bool = False,
        maxdepth: int | None = None,
        on_error: OnError | None = None,
        **kwargs: Any,
    ) -> dict[str, Exception] | None:
        """Copy files on the server; a whole folder to where nothing is, in one request.

        `on_error` is as for `get`, and ``ignore``, the default if `recursive`, passes over what is not there.
        """
        on_error = on_error or ("ignore" if recursive else "raise")
        ignore = on_error == "ignore"
        errors = FileErrors("raise" if ignore else on_error)
        if isinstance(path1, str):
            path1 = self._changing.named(path1)
        copies: list[Copy] = plans.plan_copy(self._browser, path1, path2, recursive, maxdepth)
        whole = recursive and maxdepth is None and isinstance(path1, str)
        if not (whole and self._changing.copied_whole(copies)):
            self._changing.copy(
                copies, lambda source, target: self.cp_file(source, target, **kwargs), errors, ignore=ignore
            )
        return errors.result()

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
        return list(self._browser.expand(paths, recursive=recursive, maxdepth=maxdepth))

    def mv(
        self,
        path1: Paths,
        path2: str,
        recursive: bool = True,
        maxdepth: int | None = None,
        **kwargs: Any,  # noqa: ARG002 - fsspec's signature
    ) -> None:
        """Move or rename files and folders on the server; a file at the target is replaced."""
        if maxdepth is not None:
            raise NotImplementedError("maxdepth is not supported: a folder is moved as a whole")

        def copy(source: str, target: str) -> None:
            self.copy(source, target, recursive=recursive, on_error="raise")

        paths = path1 if isinstance(path1, list) else [os.fspath(path1)]
        self._changing.mv(paths, os.fspath(path2), copy, recursive=recursive)

    def rm_file(self, path: str) -> None:
        """Remove a file; an empty folder too, as fsspec's callers expect."""
        self._changing.rm_file(self._strip_protocol(path))

    def _rm(self, path: str) -> None:
        self.rm_file(path)

    def rm(self, path: Paths, recursive: bool = False, maxdepth: int | None = None) -> None:
        """Remove files, and folders with all below them; if one is missing, nothing is removed."""
        paths = path if isinstance(path, list) else [os.fspath(path)]
        self._changing.rm(paths, recursive=recursive, maxdepth=maxdepth)

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
        """Open a file; what is written to it is stored when it is closed, unless an exception is on its way.

        `mode` is ``r``, ``w`` (replaces), ``a`` (goes on) or ``x`` (only if nothing is there), with ``b`` for
        bytes. Beyond fsspec's options there are ``cache_type``, ``version_id``, ``metadata``, ``tags``,
        ``new_version`` and ``if_match``.
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
        """Make an empty file; raises NotImplementedError for one that is there and not to be emptied."""
        if not truncate and self.exists(path):
            raise NotImplementedError(
                f"{self.service.name} cannot set the time of a file without writing it: {self.url(path)}"
            )
        self.pipe_file(path, b"", **kwargs)

    # What identifies a file, or this filesystem

    def ukey(self, path: str) -> str:
        """Return a text that changes with the content of a file."""
        return self._backend.ukey(self._strip_protocol(path))

    def to_json(self, *, include_password: bool = False) -> str:
        """Return what makes this filesystem again, as JSON; with its token only if that is asked for."""
        return str(super().to_json(include_password=include_password))

    def to_dict(self, *, include_password: bool = False) -> dict[str, Any]:
        """Return what makes this filesystem again; with its token only if that is asked for.

        A token from fsspec's configuration or from a profile is never in it: where it is made again, there
        are others.
        """
        made_of: dict[str, Any] = super().to_dict(include_password=include_password)
        if not include_password:
            made_of.pop("token", None)
        return made_of

    def created(self, path: str) -> datetime:
        """Return when the first version of a file, or a folder, came to be, in UTC."""
        return self._time(path, "created")

    def modified(self, path: str) -> datetime:
        """Return when the content of a file came to be, in UTC."""
        return self._time(path, "modified")

    def _time(self, path: str, which: str) -> datetime:
        time: datetime | None = self._backend.info(self._strip_protocol(path)).get(which)
        if time is None:
            raise NotImplementedError(f"{self.url(path)}: the service does not tell when this was {which}")
        return time

    def sign(self, path: str, expiration: int = 100, **kwargs: Any) -> str:
        """Raise NotImplementedError: neither service has URLs that work without a login."""
        raise NotImplementedError(f"{self.url(path)}: {self.service.name} does not support signed URLs")
