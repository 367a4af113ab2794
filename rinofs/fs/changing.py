"""Create, delete, copy and move."""

from __future__ import annotations

import errno
import tempfile
from contextlib import suppress
from typing import TYPE_CHECKING

from fsspec.callbacks import DEFAULT_CALLBACK
from fsspec.implementations.local import trailing_sep

from rinofs.errors import ContentChangedError, InvalidPathError, InvalidRequestError
from rinofs.fs.backend import ABSENT, Upload, identity_of
from rinofs.fs.reading import copy_to
from rinofs.fs.transfer.engine import copy_files
from rinofs.fs.transfer.plans import given, plan_copy, refuse_same_target
from rinofs.fs.transfer.pool import FileErrors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from rinofs.fs.backend import Backend, Info
    from rinofs.fs.browse import Browser
    from rinofs.fs.transfer.plans import Copy, Paths


class Changing:
    """Create, delete, copy and move objects of a backend, in one operation.

    Parameters
    ----------
    backend : Backend
        Carries out the changes; made for this operation by `Backend.anew`.
    browser : Browser
        Finds the objects.
    strip : callable
        Converts a path or URL to a backend path.
    url : callable
        Converts a path to its URL for messages.
    max_concurrency : int
        Maximum number of files copied at once.
    """

    def __init__(
        self,
        backend: Backend,
        browser: Browser,
        strip: Callable[[str], str],
        url: Callable[[str], str],
        max_concurrency: int,
    ) -> None:
        self._backend = backend
        self._browser = browser
        self._strip = strip
        self._url = url
        self._most = max_concurrency

    # Create and remove

    def mkdir(self, path: str, *, create_parents: bool) -> None:
        """Create a folder, and its parents if wanted; raises FileExistsError if it exists."""
        above = path.rpartition("/")[0]
        kind = "directory" if create_parents or not above else self._browser.type_of(above)
        if kind is None:
            raise FileNotFoundError(errno.ENOENT, "the parent folder does not exist", self._url(above))
        if kind != "directory":
            raise NotADirectoryError(errno.ENOTDIR, "not a folder", self._url(above))
        self._backend.make_folder(path, exist_ok=False)

    def rmdir(self, path: str) -> None:
        """Remove an empty folder; raises OSError if it is not empty."""
        if not self._backend.delete_empty(path):
            raise OSError(errno.ENOTEMPTY, "the folder is not empty", self._url(path))

    def rm_file(self, path: str) -> None:
        """Remove a file, or an empty folder."""
        if self._browser.is_folder(path):
            self.rmdir(path)
        else:
            self._backend.delete([path], recursive=False)

    def rm(self, paths: Sequence[str], *, recursive: bool, maxdepth: int | None) -> None:
        """Remove files and trees; with `maxdepth`, folders that are not empty afterwards stay."""
        if not (recursive and maxdepth is not None):
            self._backend.delete(list(self._browser.expand(paths)), recursive=recursive)
            return
        self._refuse_missing(paths)
        below = self._browser.expand(paths, recursive=recursive, maxdepth=maxdepth)
        folders = {path for path, info in below.items() if self._is_folder(path, info)}
        self._backend.delete([path for path in below if path not in folders], recursive=False)
        for folder in sorted(folders, reverse=True):
            self._backend.delete_empty(folder)

    def _is_folder(self, path: str, info: Info | None) -> bool:
        return self._browser.is_folder(path) if info is None else info["type"] == "directory"

    def _refuse_missing(self, paths: Sequence[str]) -> None:
        self._look_up(paths, ())
        for path in map(self._strip, paths):
            if not self._browser.is_pattern(path):
                self._backend.info(path)  # raises if it does not exist

    # Copy

    def cp_file(self, source: str, target: str) -> Info:
        """Copy a file on the server, replacing an existing one; for a folder, create an empty one.

        Returns the description of what was copied.
        """
        info = self._backend.info(source)
        if info["type"] == "directory":
            self._backend.make_folder(target, exist_ok=True)
        elif not self._backend.copy(source, target):
            return self.store_again(source, target)
        return info

    def store_again(self, source: str, target: str, version_id: int | str | None = None) -> Info:
        """Copy a file or an earlier version by download and upload, with its metadata and tags.

        Returns the description of what was copied.
        """
        pinned = self._backend.pin(source, version_id, fresh=True)
        with tempfile.TemporaryFile() as spool:
            copy_to(pinned.source, spool, DEFAULT_CALLBACK)
            size = spool.tell()
            spool.seek(0)
            metadata, tags = pinned.info.get("metadata"), pinned.info.get("tags")
            upload = Upload(target, spool, size, metadata=metadata, tags=tags, like=pinned.record)
            self._backend.send(upload)
        return pinned.info

    def copy(
        self,
        source: Paths,
        target: Paths,
        errors: FileErrors,
        *,
        recursive: bool,
        maxdepth: int | None = None,
        ignore: bool = False,
    ) -> dict[str, Info]:
        """Copy files concurrently; a whole folder in one request if the target does not exist.

        Parameters
        ----------
        source, target, recursive, maxdepth
            As for fsspec's ``copy``.
        errors : FileErrors
            How errors are handled.
        ignore : bool
            Whether to skip sources that no longer exist.

        Returns
        -------
        dict
            Descriptions of what was copied one by one, by path.
        """
        source = given(source)
        if isinstance(source, str):
            source = self._named(source)
        copies = plan_copy(self._browser, source, target, recursive, maxdepth)
        whole = recursive and maxdepth is None and isinstance(source, str)
        if whole and self._copied_whole(copies):
            return {}
        return self._copied_each(copies, errors, ignore=ignore)

    def _copied_each(self, copies: Sequence[Copy], errors: FileErrors, *, ignore: bool) -> dict[str, Info]:
        copied: dict[str, Info] = {}

        def copy(item: Copy) -> None:
            source = self._strip(item.source)
            try:
                copied[source] = self.cp_file(source, self._strip(item.target))
            except FileNotFoundError:
                if not ignore:
                    raise

        def make_folder(path: str) -> None:
            self._backend.make_folder(self._strip(path), exist_ok=True)

        self._look_up(
            [item.source for item in copies],
            [self._strip(item.target).rpartition("/")[0] for item in copies if not item.is_folder],
        )
        copy_files(copies, make_folder, copy, self._most, errors)
        return copied

    def _look_up(self, sources: Sequence[str], folders: Iterable[str]) -> None:
        """Ask at once for what would otherwise be asked for one by one; errors come up where it is used."""
        if len(sources) > 1:
            paths = dict.fromkeys([*map(self._strip, sources), *folders])
            with suppress(InvalidPathError):
                self._backend.look_up(paths)

    def _copied_whole(self, copies: Sequence[Copy]) -> bool:
        """Copy a folder in one request if its target does not exist; returns whether that was done."""
        if not copies or not copies[0].is_folder or not copies[0].source:
            return False
        source, target = copies[0].source, self._strip(copies[0].target)
        if not all(item.source == source or item.source.startswith(f"{source}/") for item in copies):
            return False
        if f"{target}/".startswith(f"{source}/") or self._browser.type_of(target) is not None:
            return False
        try:
            return self._backend.copy(source, target)
        except InvalidRequestError:
            return False  # by its ids, the target is below the source; what else it may be comes up again

    def _named(self, path: str) -> str:
        """Return a path to the same object whose last part is the object's name, which a copy of it gets."""
        slash = "/" if path.endswith("/") else ""
        return self._backend.named(self._strip(path)) + slash

    # Move

    def mv(self, paths: Sequence[str], target: str, *, recursive: bool) -> None:
        """Move or rename files and folders on the server.

        Parameters
        ----------
        paths : sequence of str
            Paths or patterns to move.
        target : str
            Target; an existing folder, or a path with a trailing slash, receives the sources.
        recursive : bool
            Whether to move folders too.
        """
        sources = [self._backend.named(path) for path in self._browser.expand(paths)]
        into, target = trailing_sep(target), self._strip(target)
        kind = "directory" if into or not target else self._browser.type_of(target)
        if len(sources) == 1 and kind is not None and self._is_same(sources[0], target):
            self._backend.info(target)  # raises if it does not exist
            return
        into = kind == "directory"
        if len(sources) > 1 and not into:
            raise NotADirectoryError(
                errno.ENOTDIR, "not a folder; several sources need a folder as target", self._url(target)
            )
        inside = {source: f"{target}/{source.rpartition('/')[2]}".lstrip("/") for source in sources}
        refuse_same_target(inside.items())
        self._look_up(sources, [target if into else target.rpartition("/")[0]])
        for source in sources:
            self._move(source, inside[source] if into else target, recursive=recursive)

    def _is_same(self, source: str, target: str) -> bool:
        """Return whether two paths lead to one object and name it alike; ids make this of different paths."""
        if source == target:
            return True
        try:
            if source.rpartition("/")[2] != self._backend.named(target).rpartition("/")[2]:
                return False
        except ABSENT:
            return False
        return self._leads_to(target, source)

    def _leads_to(self, path: str, other: str) -> bool:
        """Return whether a path leads to the object that another one leads to."""
        try:
            identity = identity_of(self._backend.info(path))
            return identity is not None and identity_of(self._backend.info(other)) == identity
        except ABSENT:
            return False

    def _refuse_into_itself(self, source: str, target: str) -> None:
        parts = target.split("/")
        above = ("/".join(parts[:count]) for count in range(1, len(parts)))
        if self._browser.is_folder(source) and any(self._leads_to(path, source) for path in above):
            raise self._into_itself(target)

    def _into_itself(self, target: str) -> OSError:
        return OSError(errno.EINVAL, "a folder cannot be moved into itself", self._url(target))

    def _move(self, source: str, target: str, *, recursive: bool) -> None:
        if not recursive and self._browser.is_folder(source):
            problem = "this is a folder: move it with recursive=True"
            raise IsADirectoryError(errno.EISDIR, problem, self._url(source))
        if source == target:
            self._backend.info(source)  # raises if it does not exist
            return
        if target.startswith(f"{source}/"):
            self._backend.info(source)  # raises if it does not exist
            raise self._into_itself(target)
        if not self._backend.move(source, target):
            self._refuse_into_itself(source, target)
            # What cannot be moved is stored again with its history, and what it replaces has another id then.
            target = self._backend.named(target)
            found = self._browser.find(source, withdirs=True)
            for version_id in self._backend.earlier_versions(source):
                with suppress(FileNotFoundError):  # another client may have deleted it
                    self.store_again(source, target, version_id)
            copied = self.copy(source, target, FileErrors("raise"), recursive=recursive)
            if not self._deleted(source, {**found, **copied}, recursive=recursive):
                problem = f"changed while it was moved; it stays, and what was copied is {self._url(target)}"
                raise ContentChangedError(problem, self._url(source))

    def _deleted(self, path: str, copied: Mapping[str, Info], *, recursive: bool) -> bool:
        """Delete what was copied; False if others have changed it since, or stored something in it."""
        try:
            if self._backend.delete_copied(path, copied):
                return True
        except ContentChangedError:
            return False
        self._backend.forget(path)
        if _states(self._browser.find(path, withdirs=True, strict=True)) != _states(copied):
            return False
        self._backend.delete([path], recursive=recursive)
        return True


def _states(infos: Mapping[str, Info]) -> dict[str, list[object]]:
    """Return, by path, what is different once a file has another content, metadata or tags."""
    return {path: [identity_of(info), *_state(info)] for path, info in infos.items()}


def _state(info: Info) -> list[object]:
    if info["type"] == "directory":
        return []
    version = info.get("etag") or info.get("modified")
    return [version, *(info.get(field) for field in ("size", "metadata", "tags"))]
