"""What a service implements to become a filesystem, and the values that go down to it and come back up.

Paths are those of the service: without a protocol, and without slashes around. A backend never calls the
filesystem that uses it.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, NamedTuple, NoReturn, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from rinofs.fs.files.reader import Source

    WriteBundle: TypeAlias = "Callable[[Sequence[Upload]], list[bool]]"

Info: TypeAlias = dict[str, Any]
"""Description of an object, as `info` returns it: ``name``, ``size``, ``type`` and fields of the service."""


class ListedEntry(NamedTuple):
    """What a listing tells about an object at least.

    Attributes
    ----------
    path : str
        Its path.
    type : str
        Its type, as in an `Info`.
    id : object
        What tells it from all other objects, as `identity_of` does.
    """

    path: str
    type: str
    id: object


def entry_of(info: Info) -> ListedEntry:
    """Return what an info tells of that."""
    return ListedEntry(info["name"], info["type"], identity_of(info))


def identity_of(info: Info) -> object:
    """Return what only one object of the service has, whatever path leads to it; None if nothing is known.

    Within a datapack this is the path: users choose the ids of nodes, and several nodes can have the same.
    """
    datapack = info.get("datapack")
    return info.get("id") if datapack is None else (datapack, info["name"].partition("/")[2])


ABSENT = (FileNotFoundError, NotADirectoryError)
"""The only errors that mean that an object does not exist."""


@dataclass(frozen=True, slots=True)
class Pinned:
    """One version of a file, ready to be read.

    Attributes
    ----------
    source : Source
        Its content.
    info : dict
        Description of the file.
    version_id : int, str or None
        Identifies this version; None if the version has not been resolved yet and is read by path.
    fresh : bool
        Whether this is certainly the current version, so that asking the service again finds no newer one.
    record : object
        The service's own record of the file; only the backend uses it.
    etag : str or None
        Value for `Upload.if_match` that stands for this content; None if the service does not report one.
    """

    source: Source
    info: Info
    version_id: int | str | None
    fresh: bool = True
    record: Any = None
    etag: str | None = None


@dataclass(frozen=True, slots=True)
class Upload:
    """A content to store at a path.

    Attributes
    ----------
    path : str
        Target path.
    source : binary file or bytes
        The content; a file is read from its current position.
    size : int
        Size of the content in bytes.
    exclusive : bool
        Whether to store it only if the path is free.
    if_match : str, optional
        The etag that the current content must have.
    metadata : mapping, optional
        Metadata to store with it, if the service supports metadata.
    tags : sequence of str, optional
        Tags to store with it, if the service supports tags.
    new_version : bool
        Whether to create a new version even if the content is unchanged, if the service keeps versions.
    like : object
        The `Pinned.record` of the file that this is a copy of.
    """

    path: str
    source: IO[bytes] | bytes
    size: int
    exclusive: bool = False
    if_match: str | None = None
    metadata: Mapping[str, Any] | None = None
    tags: Sequence[str] | None = None
    new_version: bool = False
    like: Any = None


class Sidecars(Protocol):
    """Local files that hold the metadata of the files beside them."""

    def is_sidecar(self, path: str) -> bool:
        """Return whether a local file is a sidecar of another one."""
        ...

    def read_sidecar(self, path: str) -> dict[str, Any] | None:
        """Return the metadata from the sidecar of a local file, or None.

        Raises
        ------
        ValueError, TypeError
            If the sidecar cannot be read as metadata.
        """
        ...

    def check_free(self, paths: Iterable[str]) -> None:
        """Raise FileExistsError if a file to be written has the name of another one's sidecar."""
        ...

    def write_sidecar(self, path: str, metadata: Mapping[str, Any]) -> None:
        """Write the sidecar of a local file."""
        ...


class Backend(Protocol):
    """A service, as `RemoteFileSystem` uses it. Methods with a body are optional: override them if supported.

    Attributes
    ----------
    sidecars : Sidecars or None
        Reads and writes metadata files beside local files; None if the service has no metadata.
    """

    sidecars: Sidecars | None = None

    def anew(self) -> Backend:
        """Return this backend for one operation, which uses nothing that was known before it."""
        return self

    # Metadata

    @abstractmethod
    def info(self, path: str) -> Info:
        """Describe the object at a path; raises FileNotFoundError if there is none."""

    @abstractmethod
    def list_folder(self, path: str) -> list[Info]:
        """List a folder; raises FileNotFoundError, or NotADirectoryError for a file."""

    def descendants(self, path: str) -> list[Info] | None:  # noqa: ARG002 - for services that can
        """Describe everything below a folder in one request; None if the service cannot."""
        return None

    def entries(self, path: str) -> Iterator[ListedEntry]:
        """Iterate over a folder's children, describing none; raises as `list_folder` does."""
        return map(entry_of, self.list_folder(path))

    def entries_below(self, path: str) -> Iterator[ListedEntry] | None:
        """Iterate over everything below a folder as `entries` does; None as for `descendants`."""
        infos = self.descendants(path)
        return None if infos is None else map(entry_of, infos)

    def earlier_versions(self, path: str) -> list[int | str]:  # noqa: ARG002 - for services that have some
        """Return the ids of the earlier versions of a file, oldest first; empty for a folder."""
        return []

    def look_up(self, paths: Iterable[str]) -> None:  # noqa: ARG002 - for services that can
        """Ask for many paths at once, as far as the service can, and remember them for what follows."""
        return

    def fill_sizes(self, infos: Iterable[Info]) -> None:  # noqa: ARG002 - for services that need it
        """Fill in sizes that are None because the service's listings do not contain them."""
        return

    def digests_of(self, info: Info) -> dict[str, str]:  # noqa: ARG002 - for services that tell them
        """Return the digests that an info contains: ``blake3``, ``sha256``, ``sha1`` or ``etag``, by name."""
        return {}

    def forget(self, path: str | None) -> None:  # noqa: ARG002 - for services that remember
        """Remove a path and everything below it from the caches; None stands for everything."""
        return

    def named(self, path: str) -> str:
        """Return a path to the same object whose last part is the object's name, which a copy of it gets."""
        return path

    # Reading

    @abstractmethod
    def pin(self, path: str, version_id: int | str | None = None, *, fresh: bool = False) -> Pinned:
        """Find a version of a file, by default the current one.

        Parameters
        ----------
        path : str
            Path.
        version_id : int or str, optional
            An earlier version.
        fresh : bool
            Whether to ask the service rather than a cache.

        Raises
        ------
        FileNotFoundError
            If the path does not exist.
        IsADirectoryError
            If the path is a folder.
        """

    def locate(self, path: str) -> Pinned:
        """Find the source to read the current content of a file from, with as few requests as possible."""
        return self.pin(path)

    def relocate(self, path: str, pinned: Pinned, error: Exception) -> Pinned:
        """Return a new source after an error that a stale cache may have caused; else raise the error."""
        return reraise(error) if pinned.fresh else self.pin(path, fresh=True)

    @abstractmethod
    def ukey(self, path: str) -> str:
        """Return a string that changes whenever the content of a file changes."""

    def read_small(self, paths: Sequence[str]) -> list[bytes | None]:
        """Read several small files at once; None for each that must be read on its own."""
        return [None] * len(paths)

    # Changes

    @abstractmethod
    def send(self, upload: Upload) -> None:
        """Store a content, creating parent folders.

        Raises
        ------
        FileExistsError
            If it is exclusive and the path exists.
        PreconditionError
            If it has an `if_match` that does not match the current content.
        IsADirectoryError, NotADirectoryError
            If the path is a folder, or a parent is a file.
        """

    def append(self, path: str, data: bytes) -> bool:  # noqa: ARG002 - for services that can
        """Append to a file on the server, creating it if needed.

        Returns
        -------
        bool
            False if the server cannot append; the caller then uploads the whole content with
            `Upload.if_match`.
        """
        return False

    def write_small(self) -> WriteBundle | None:
        """Return a function that stores several small files at once; None if the service cannot."""
        return None

    @abstractmethod
    def make_folder(self, path: str, *, exist_ok: bool) -> None:
        """Create a folder and its parents; raises FileExistsError if something exists there."""

    @abstractmethod
    def delete(self, paths: Sequence[str], *, recursive: bool) -> None:
        """Delete all of the paths, or none if one does not exist.

        Raises
        ------
        FileNotFoundError
            If a path does not exist.
        IsADirectoryError
            If a path is a folder and `recursive` is false.
        """

    def delete_copied(self, path: str, copied: Mapping[str, Info]) -> bool:  # noqa: ARG002 - as above
        """Delete a file or folder, but not what others have changed since it was copied.

        Parameters
        ----------
        path : str
            Path.
        copied : mapping
            Descriptions of what was copied, by path: the file, or the folder and everything below it.

        Returns
        -------
        bool
            False if the service cannot compare and delete in one step; then nothing was done.

        Raises
        ------
        ContentChangedError
            If something was changed or added since; then nothing was deleted.
        """
        return False

    def delete_empty(self, path: str) -> bool:
        """Delete a folder, unless something is in it; raises as `list_folder` does.

        Here, what others store in it between the two requests is deleted too.

        Returns
        -------
        bool
            False if something is in it.
        """
        self.forget(path)
        if self.list_folder(path):
            return False
        self.delete([path], recursive=True)
        return True

    def copy(self, source: str, target: str) -> bool:  # noqa: ARG002 - for services that can
        """Copy on the server: a file, replacing one at the target, or a folder to a path that does not exist.

        Returns
        -------
        bool
            False if the server cannot copy.
        """
        return False

    def move(self, source: str, target: str) -> bool:  # noqa: ARG002 - for services that can
        """Move on the server, with the rules of `copy`; False if the server cannot."""
        return False


def reraise(error: Exception) -> NoReturn:
    """Raise the given error unchanged."""
    raise error
