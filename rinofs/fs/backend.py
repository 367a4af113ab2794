"""What a service implements to become a filesystem, and the values that go down to it and come back up.

Paths are those of the service: without a protocol, and without slashes around. A backend never calls the
filesystem that uses it.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, NoReturn, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from rinofs.fs.files.reader import Source

    WriteBundle: TypeAlias = "Callable[[Sequence[Upload]], list[bool]]"

Info: TypeAlias = dict[str, Any]
"""What `info` and `ls` say of an object: ``name``, ``size``, ``type``, and what the service knows beyond."""

ABSENT = (FileNotFoundError, NotADirectoryError)
"""The only errors that mean that something is not there."""


@dataclass(frozen=True, slots=True)
class Pinned:
    """One version of a file, ready to be read.

    Attributes
    ----------
    source : Source
        Its content.
    info : dict
        What is known of the file.
    version_id : int, str or None
        What opens this version again; None if the content was not looked at yet, and is found by its path.
    fresh : bool
        Whether nothing newer can be found by looking again.
    record : object
        What the service itself knows of the file; only its backend looks into it.
    etag : str or None
        What `Upload.if_match` takes for this very content; None where the service does not say.
    """

    source: Source
    info: Info
    version_id: int | str | None
    fresh: bool = True
    record: Any = None
    etag: str | None = None


@dataclass(frozen=True, slots=True)
class Upload:
    """A content on its way to a path.

    Attributes
    ----------
    path : str
        Where it belongs.
    source : binary file or bytes
        The content; a file is read from its current position.
    size : int
        Its bytes.
    exclusive : bool
        Whether it may only be stored if nothing is there.
    if_match : str, optional
        The etag that the content in whose place it comes must have.
    metadata : mapping, optional
        Stored with it, where the service knows metadata.
    tags : sequence of str, optional
        Stored with it, where the service knows tags.
    new_version : bool
        Whether it is a new version even if the very content is there, where the service knows versions.
    like : object
        The `Pinned.record` of the file that it is a copy of.
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
    """Local files beside others, which hold the metadata of those."""

    def is_sidecar(self, path: str) -> bool:
        """Tell whether a local file describes the one beside it."""
        ...

    def read_sidecar(self, path: str) -> dict[str, Any] | None:
        """Return the metadata beside a local file, or None; raises ValueError or TypeError for others."""
        ...

    def check_free(self, paths: Iterable[str]) -> None:
        """Raise FileExistsError if one of the files to be written has the name of another one's metadata."""
        ...

    def write_sidecar(self, path: str, metadata: Mapping[str, Any]) -> None:
        """Write the metadata of a local file beside it."""
        ...


class Backend(Protocol):
    """A service, as `RemoteFileSystem` uses it. The methods with a body are for services that can do more.

    Attributes
    ----------
    sidecars : Sidecars or None
        How metadata are kept beside local files; None where the service has no metadata.
    """

    sidecars: Sidecars | None = None

    # Looking

    @abstractmethod
    def info(self, path: str) -> Info:
        """Describe what is at a path; raises FileNotFoundError if there is nothing."""

    @abstractmethod
    def list_folder(self, path: str) -> list[Info]:
        """Describe what is in a folder; raises FileNotFoundError, or NotADirectoryError for a file."""

    def names(self, path: str) -> list[str]:
        """Return the paths of what is in a folder; raises as `list_folder` does."""
        return [str(info["name"]) for info in self.list_folder(path)]

    def descendants(self, path: str) -> list[Info] | None:  # noqa: ARG002 - for services that can
        """Describe all that is below a folder, in one request; None where the service cannot."""
        return None

    def earlier_versions(self, path: str) -> list[int | str]:  # noqa: ARG002 - for services that have some
        """Return the ids of the earlier versions of a file, the oldest first; none of a folder."""
        return []

    def fill_sizes(self, infos: Iterable[Info]) -> None:  # noqa: ARG002 - for services that need it
        """Set the sizes that are None, where listings lack them but the service can be asked."""
        return

    def digests_of(self, info: Info) -> dict[str, str]:  # noqa: ARG002 - for services that tell them
        """Return the digests of a content that an info tells: ``sha256``, ``sha1`` or ``etag``, by name."""
        return {}

    def forget(self, path: str | None) -> None:  # noqa: ARG002 - for services that remember
        """Forget what is known of a path and all below it; None stands for everything."""
        return

    def named(self, path: str) -> str:
        """Return a path to the same object that ends in the name that a copy of it gets."""
        return path

    # Reading

    @abstractmethod
    def pin(self, path: str, version_id: int | str | None = None, *, fresh: bool = False) -> Pinned:
        """Find a version of a file, by default the current one.

        Parameters
        ----------
        path : str
            The path.
        version_id : int or str, optional
            An earlier version.
        fresh : bool
            Whether to ask the service, whatever is known.

        Raises
        ------
        FileNotFoundError
            If there is nothing.
        IsADirectoryError
            If it is a folder.
        """

    def locate(self, path: str) -> Pinned:
        """Find where to read the current content of a file, with as few requests as possible."""
        return self.pin(path)

    def relocate(self, path: str, pinned: Pinned, error: Exception) -> Pinned:
        """Return where to read instead, after an error that may come from what was known; else raise it."""
        return stand(error) if pinned.fresh else self.pin(path, fresh=True)

    @abstractmethod
    def ukey(self, path: str) -> str:
        """Return a text that changes with the content of a file."""

    def read_small(self, paths: Sequence[str]) -> list[bytes | None]:
        """Read several small files at once; None for those that have to be read alone."""
        return [None] * len(paths)

    # Changing

    @abstractmethod
    def send(self, upload: Upload) -> None:
        """Store a content under its path, making the folders on the way.

        Raises
        ------
        FileExistsError
            If it is exclusive and something is there.
        PreconditionError
            If it has an `if_match`, and another content is there, or none.
        IsADirectoryError, NotADirectoryError
            If there is a folder, or a file on the way.
        """

    def append(self, path: str, data: bytes) -> bool:  # noqa: ARG002 - for services that can
        """Let the content of a file grow, whatever it is by now, and make the file if there is none.

        Returns
        -------
        bool
            False if the service cannot do that at once; then contents are sent with `Upload.if_match`.
        """
        return False

    def write_small(self) -> WriteBundle | None:
        """Return what stores several small files at once; None where the service cannot."""
        return None

    @abstractmethod
    def make_folder(self, path: str, *, exist_ok: bool) -> None:
        """Make a folder and those on the way; raises FileExistsError if something is there."""

    @abstractmethod
    def delete(self, paths: Sequence[str], *, recursive: bool) -> None:
        """Delete all of the paths or, if one is missing, none.

        Raises
        ------
        FileNotFoundError
            If one is missing.
        IsADirectoryError
            If one is a folder, without `recursive`.
        """

    def copy(self, source: str, target: str) -> bool:  # noqa: ARG002 - for services that can
        """Copy on the server: a file, replacing one at the target, or a folder to where nothing is.

        Returns
        -------
        bool
            False if the server cannot.
        """
        return False

    def move(self, source: str, target: str) -> bool:  # noqa: ARG002 - for services that can
        """Move on the server, as `copy` copies; False if the server cannot."""
        return False


def stand(error: Exception) -> NoReturn:
    """Raise an error that was caught, as it was."""
    raise error
