"""Making, removing, copying and moving in a filesystem of either service."""

from __future__ import annotations

import errno
import os
import tempfile
from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from fsspec.implementations.local import trailing_sep

from rinofs.errors import InvalidRequestError
from rinofs.fs import browse
from rinofs.fs.bulk import BulkFileSystem
from rinofs.fs.transfer import plans as transfer
from rinofs.fs.transfer.outgoing import Upload
from rinofs.fs.transfer.pool import run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rinofs.fs.transfer.plans import Copy, Paths


class ChangeableFileSystem(BulkFileSystem):
    """A filesystem in which everything can be done; the parameters are those of its base."""

    @abstractmethod
    def _make_folder(self, path: str, *, exist_ok: bool) -> None:
        """Make a folder and those on the way; raises FileExistsError if something is there."""

    @abstractmethod
    def _delete(self, paths: Sequence[str], *, recursive: bool) -> None:
        """Delete all of the paths or, if one is missing, none.

        Raises
        ------
        NotFoundError
            If one is missing.
        IsADirectoryError
            If one is a folder, without `recursive`.
        """

    @abstractmethod
    def _copy(self, source: str, target: str) -> bool:
        """Copy a file, replacing one at the target, or a folder to where nothing is, on the server.

        Returns
        -------
        bool
            False if the server cannot.
        """

    @abstractmethod
    def _move(self, source: str, target: str) -> bool:
        """Move a file, replacing one at the target, or a folder to where nothing is, on the server.

        Returns
        -------
        bool
            False if the server cannot.
        """

    def _named(self, path: str) -> str:
        """Return a path to the same place that ends in the name that a copy of it gets."""
        return path

    def mkdir(self, path: str, create_parents: bool = True, **kwargs: Any) -> None:  # noqa: ARG002
        """Make a folder.

        Parameters
        ----------
        path : str
            The path.
        create_parents : bool
            Whether to make the folders on the way too.
        **kwargs
            Nothing that the service knows.

        Raises
        ------
        FileExistsError
            If there is something already.
        NotFoundError
            If the folder above is missing and is not to be made.
        """
        path = self._strip_protocol(path)
        above = self._parent(path)
        if not create_parents and above and not self.isdir(above):
            if self.exists(above):
                raise NotADirectoryError(errno.ENOTDIR, "this is not a folder", self.url(above))
            raise FileNotFoundError(errno.ENOENT, "the folder above is missing", self.url(above))
        self._make_folder(path, exist_ok=False)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Make a folder and those on the way; raises FileExistsError if it is there, unless `exist_ok`."""
        self._make_folder(self._strip_protocol(path), exist_ok=exist_ok)

    def rmdir(self, path: str) -> None:
        """Remove an empty folder.

        Raises
        ------
        NotADirectoryError
            If it is not a folder.
        OSError
            If there is something in it.
        """
        path = self._strip_protocol(path)
        self.invalidate_cache(path)
        if self.ls_folder(path):
            raise OSError(errno.ENOTEMPTY, "the folder is not empty", self.url(path))
        self._delete([path], recursive=True)

    def rm_file(self, path: str) -> None:
        """Remove a file; an empty folder too, as fsspec's callers expect."""
        path = self._strip_protocol(path)
        if self.isdir(path):
            self.rmdir(path)
        else:
            self._delete([path], recursive=False)

    def rm(self, path: Paths, recursive: bool = False, maxdepth: int | None = None) -> None:
        """Remove files, and folders with all below them.

        Parameters
        ----------
        path : str or list of str
            Paths or patterns.
        recursive : bool
            Whether to remove folders.
        maxdepth : int, optional
            Levels to go down; folders that are not empty after that stay.

        Raises
        ------
        NotFoundError
            If one of them is not there; nothing is removed then.
        IsADirectoryError
            If one of them is a folder, without `recursive`.
        """
        paths = path if isinstance(path, list) else [os.fspath(path)]
        if not (recursive and maxdepth is not None):
            self._delete(self.expand_path(paths), recursive=recursive)
            return
        found = browse.expand(self, paths, recursive, maxdepth)
        folders = {name for name in found if self.isdir(name)}
        self._delete([name for name in found if name not in folders], recursive=False)
        for folder in sorted(folders, reverse=True):
            self.invalidate_cache(folder)
            if not self.ls_folder(folder):
                self._delete([folder], recursive=True)

    def cp_file(self, path1: str, path2: str, **kwargs: Any) -> None:  # noqa: ARG002 - fsspec's signature
        """Copy a file on the server, replacing a file that is there; of a folder an empty one is made."""
        source, target = self._strip_protocol(path1), self._strip_protocol(path2)
        if self.info(source)["type"] == "directory":
            self.makedirs(target, exist_ok=True)
        elif not self._copy(source, target):
            self._store_again(source, target)

    def _store_again(self, source: str, target: str, version_id: int | str | None = None) -> None:
        """Download a file, or an earlier version, and upload it with its metadata and tags."""
        info = self._pinned(source, version_id).info
        with tempfile.TemporaryFile() as spool:
            self.get_file(source, outfile=spool, version_id=version_id)
            size = spool.tell()
            spool.seek(0)
            self._send(Upload(target, spool, size, metadata=info.get("metadata"), tags=info.get("tags")))

    def copy(
        self,
        path1: Paths,
        path2: Paths,
        recursive: bool = False,
        maxdepth: int | None = None,
        on_error: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Copy files on the server; a whole folder to where nothing is, in one request.

        Parameters
        ----------
        path1 : str or list of str
            Paths or patterns.
        path2 : str or list of str
            A path for all, or one for each.
        recursive : bool
            Whether to copy all that is below.
        maxdepth : int, optional
            Levels to go down; all by default.
        on_error : str, optional
            ``raise`` or ``ignore``, for what is not there; by default ignored if `recursive`.
        **kwargs
            Passed to `cp_file`.
        """
        ignore = (on_error or ("ignore" if recursive else "raise")) == "ignore"
        if isinstance(path1, str):
            path1 = self._named(path1)
        copies = transfer.plan_copy(self, path1, path2, recursive, maxdepth)
        if recursive and maxdepth is None and isinstance(path1, str) and self._copied_whole(copies):
            return

        def copy(item: Copy) -> None:
            try:
                self.cp_file(item.source, item.target, **kwargs)
            except FileNotFoundError:
                if not ignore:
                    raise

        for folder in [item for item in copies if item.is_folder]:
            self.makedirs(folder.target, exist_ok=True)
        run(copy, [item for item in copies if not item.is_folder], self.options.max_concurrency)

    def _copied_whole(self, copies: Sequence[Copy]) -> bool:
        """Copy a folder as a whole if nothing is at its target yet; returns whether that was done."""
        if not copies or not copies[0].is_folder or not copies[0].source:
            return False
        source, target = copies[0].source, self._strip_protocol(copies[0].target)
        if not all(item.source == source or item.source.startswith(f"{source}/") for item in copies):
            return False
        if f"{target}/".startswith(f"{source}/") or self.exists(target):
            return False
        try:
            return self._copy(source, target)
        except InvalidRequestError:
            return False  # by its ids, the target is below the source; what else it may be comes up again

    def mv(
        self,
        path1: Paths,
        path2: str,
        recursive: bool = True,
        maxdepth: int | None = None,
        **kwargs: Any,  # noqa: ARG002 - fsspec's signature
    ) -> None:
        """Move or rename files and folders on the server; a file at the target is replaced.

        Parameters
        ----------
        path1 : str or list of str
            Paths or patterns.
        path2 : str
            Where it goes: a folder that is there, or ends in a slash, gets it put inside.
        recursive : bool
            Whether folders move too.
        maxdepth : int, optional
            Not possible: a folder moves as a whole.

        Raises
        ------
        NotFoundError
            If there is nothing to move.
        FileExistsError
            If there is a folder where a file or folder would be put.
        IsADirectoryError
            If it is a folder, without `recursive`.
        NotADirectoryError
            If several are to go to what is not a folder.
        """
        if maxdepth is not None:
            raise NotImplementedError("a folder moves as a whole: maxdepth is not possible")
        sources = self.expand_path(path1 if isinstance(path1, list) else [os.fspath(path1)])
        sources = [self._named(source) for source in sources]
        target = self._strip_protocol(path2)
        if sources == [target]:
            self.info(target)  # raises if there is nothing
            return
        into = not target or trailing_sep(str(path2)) or self.isdir(target)
        if len(sources) > 1 and not into:
            raise NotADirectoryError(errno.ENOTDIR, "several can only go into a folder", self.url(target))
        for source in sources:
            self._move_one(
                source, f"{target}/{source.rpartition('/')[2]}".lstrip("/") if into else target, recursive
            )

    def _move_one(self, source: str, target: str, recursive: bool) -> None:
        if not recursive and self.isdir(source):
            raise IsADirectoryError(
                errno.EISDIR, "this is a folder: move it with recursive=True", self.url(source)
            )
        if source == target:
            self.info(source)  # raises if there is nothing
            return
        if target.startswith(f"{source}/"):
            self.info(source)  # raises if there is nothing
            raise OSError(errno.EINVAL, "a folder cannot move into itself", self.url(target))
        if not self._move(source, target):
            self.copy(source, target, recursive=recursive, on_error="raise")
            self._delete([source], recursive=recursive)
